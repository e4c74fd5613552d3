"""A poisoned batch stops the run, is written down, and can be left out when the run is resumed."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from mlcl.core.errors import UserError
from mlcl.training.nan_guard import NanGuard, describe
from mlcl.training.skipping import Numbered
from mlcl.training.sources import TextSource
from mlcl.training.trainer import MLCTrainer
from rows import ROWS, arguments, fresh_model, metrics
from steps import Share

POISON = "password"
CLEAN = [{side: text.replace(POISON, "your") for side, text in row.items()} for row in ROWS]


@pytest.fixture
def poisoned(tokenizer):
    """Rows of which one has a word whose embedding is infinite, and a model with that embedding."""
    rows = [dict(row) for row in CLEAN]
    rows[17]["anchor"] += f" {POISON}"

    def model():
        fresh = fresh_model(tokenizer)
        (token,) = tokenizer(POISON, add_special_tokens=False)["input_ids"]
        with torch.no_grad():
            fresh.get_input_embeddings().weight[token] = torch.inf
        return fresh

    return rows, model


def run(folder, rows, model, tokenizer, resume=None, **options):
    defaults = {"max_steps": 5, "save_strategy": "steps", "save_steps": 1, "lm_weight": 0.0, "seed": 1}
    args = arguments(folder, **(defaults | options))
    trainer = MLCTrainer(model, args, rows, processing_class=tokenizer)
    trainer.train(resume_from_checkpoint=resume)
    return trainer


@pytest.mark.parametrize("mini_batch_tokens", [None, 60])
def test_a_poisoned_batch_stops_the_run_and_can_be_skipped(tokenizer, tmp_path, poisoned, mini_batch_tokens):
    rows, model = poisoned
    options = {"mini_batch_tokens": mini_batch_tokens}
    with pytest.raises(UserError, match=r"loss is not finite \(info_nce nan\).*--skip_batches") as stopped:
        run(tmp_path / "run", rows, model(), tokenizer, **options)
    assert "\n" not in str(stopped.value)
    (file,) = (tmp_path / "run").glob("bad-batch-*.json")
    facts = json.loads(file.read_text())
    number = facts["batch"]
    assert file.name == f"bad-batch-{number}.json"
    assert facts["step"] == number  # one batch an update
    assert facts["seed"] == 1
    texts = [pair["anchor"]["text"] for pair in facts["pairs"]]
    assert len(texts) == 8
    assert sum(POISON in text for text in texts) == 1
    assert not list((tmp_path / "run").glob(f"checkpoint-{number + 1}"))
    whole = [int(path.name.rpartition("-")[2]) for path in (tmp_path / "run").glob("checkpoint-*")]
    assert max(whole, default=0) == number

    resumed = run(
        tmp_path / "run", rows, model(), tokenizer, resume=True if number else None, skip_batches=[number], **options
    )
    steady = run(tmp_path / "steady", rows, model(), tokenizer, skip_batches=[number], **options)
    assert resumed.state.global_step == steady.state.global_step == 5
    for name, value in steady.model.state_dict().items():
        assert torch.equal(value, resumed.model.state_dict()[name]), name
    losses = [line["info_nce"] for line in metrics(tmp_path / "run") if "info_nce" in line]
    assert len(losses) == 5
    assert losses[number] == 0.0
    assert all(np.isfinite(losses))


def test_gradients_that_are_not_finite_name_every_batch_of_the_update(tokenizer, tmp_path):
    guard = NanGuard(tmp_path, None, seed=1)
    for number in (6, 7):
        batch = Share.draw(number, 3).batch()
        batch.number = number
        guard.check(batch, {"info_nce": torch.tensor(1.0)}, step=3)
    guard.check_gradients(2.0, step=3)
    with pytest.raises(UserError, match="--skip_batches 6,7"):
        guard.check_gradients(float("inf"), step=3)
    assert {path.name for path in tmp_path.iterdir()} == {"bad-batch-6.json", "bad-batch-7.json"}


def test_a_described_batch_has_all_of_its_sentences(tokenizer):
    share = Share.draw(5, 4, hard_negatives=2, lm=3)
    found = describe(share.batch(), None)
    assert [pair["anchor"]["ids"] for pair in found["pairs"]] == [ids.tolist() for ids in share.anchors]
    assert [pair["positive"]["ids"] for pair in found["pairs"]] == [ids.tolist() for ids in share.positives]
    assert [pair["group"] for pair in found["pairs"]] == share.ids
    assert [one["ids"] for one in found["hard_negatives"]] == [ids.tolist() for ids in share.hard_negatives]
    for one, original in zip(found["lm_inputs"], share.lm, strict=True):
        restored = np.array(one["ids"])
        for place, label in one["predicted"]:
            restored[place] = label
        assert len(one["predicted"]) == len(original[1::3])
        assert restored.tolist() == original.tolist()


def test_skipping_touches_the_other_batches_not(tokenizer, tmp_path):
    trainer = MLCTrainer(fresh_model(tokenizer), arguments(tmp_path), ROWS, processing_class=tokenizer)
    assert isinstance(trainer.source, TextSource)
    plain, skipping = Numbered(trainer.source), Numbered(trainer.source, frozenset({1}))
    assert len(skipping) == len(trainer.source)
    for number in range(3):
        batch, other = plain[number], skipping[number]
        assert batch.number == other.number == number
        assert torch.equal(batch.online.input_ids, other.online.input_ids) == (number != 1)
    assert skipping[1].pairs == 0
