"""Every family of backbones, from a checkpoint through training to use; `docs/backbones.md` shows what is tested."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import labelled
import layouts
from backbones import CHECKPOINTS, TEXTS, checkpoint
from conftest import _WORDS, ROOT
from mlcl.core.errors import UserError
from mlcl.model.config import MLCConfig
from mlcl.model.encoder import Encoder
from mlcl.model.language_model import language_model
from mlcl.model.model import MLCModel
from mlcl.stages import evaluate, finetune, pretrain
from mlcl.stages._models import with_prompt

DECODERS = [name for name, (kind, _) in CHECKPOINTS.items() if kind == "AutoModelForCausalLM"]
# transformers reads the tokenizer of any qwen2 folder as byte-level BPE, which ours is not; qwen3 goes the same way.
TABLE = [name for name in CHECKPOINTS if name != "qwen2"]
EVERY = pytest.mark.parametrize("model_type", TABLE)


def settings(start: Path, corpus: Path, out: Path, **changes) -> pretrain.Config:
    training = {
        "per_device_train_batch_size": 16, "max_steps": 30, "save_steps": 15, "learning_rate": 5e-3, "lm_share": 0.5,
        "max_length": 32, "eval_strategy": "no", "report_to": "none",
    }  # fmt: skip
    return pretrain.Config(
        corpus=str(corpus),
        out=str(out),
        model={"model_name": str(start)},
        sampling=pretrain.SamplingSettings(dev_groups=20),
        training=training,
        **changes,
    )


@pytest.fixture(scope="module")
def trained(tiny_corpus, tmp_path_factory):
    """model type -> the folder of a brief run of it, made once."""
    runs: dict[str, Path] = {}

    def trained(model_type: str) -> Path:
        if model_type not in runs:
            folder = tmp_path_factory.mktemp(model_type)
            start = checkpoint(model_type, folder / "start")
            pretrain.run(settings(start, tiny_corpus, folder / "run"))
            runs[model_type] = folder / "run"
        return runs[model_type]

    return trained


def weights(folder: Path) -> dict[str, torch.Tensor]:
    from safetensors.torch import load_file

    return load_file(folder / "model.safetensors")


@EVERY
def test_pretrain(model_type, trained):
    lines = [json.loads(line) for line in (trained(model_type) / "metrics.jsonl").read_text().splitlines()]
    logged = [line for line in lines if "info_nce" in line]
    for term in ("info_nce", "lm"):
        assert logged[-1][term] < logged[0][term]


@EVERY
def test_resume(model_type, trained, tiny_corpus, tmp_path):
    run = trained(model_type)
    shutil.copytree(run, tmp_path / "run", ignore=shutil.ignore_patterns("model", "checkpoint-30"))
    pretrain.run(settings(run.parent / "start", tiny_corpus, tmp_path / "run", resume=True))
    whole, resumed = weights(run / "model"), weights(tmp_path / "run" / "model")
    assert whole.keys() == resumed.keys()
    assert [name for name in whole if not torch.equal(whole[name], resumed[name])] == []


@EVERY
def test_encode(model_type, trained):
    """Each text alone by transformers' own model, pooled by hand, is what the batch gives."""
    from transformers import AutoModel, AutoTokenizer

    folder = trained(model_type) / "model"
    vectors = Encoder.from_pretrained(folder, device="cpu").encode(TEXTS, normalize=False)
    whole = language_model(folder) if model_type not in ("modernbert", "electra") else None
    model = MLCModel.from_pretrained(folder).eval()
    words = AutoTokenizer.from_pretrained(folder)
    for text, vector in zip(TEXTS, vectors, strict=True):
        ids = torch.tensor([words(text)["input_ids"]])
        if whole is None:
            body = AutoModel.from_config(model.backbone.config, attn_implementation="eager").eval()
            body.load_state_dict(model.backbone.state_dict(), strict=False)
        else:
            body = (
                whole.get_encoder()
                if model.config.pooling == "mean" and model.family.term in ("spans", "infilling")
                else whole.base_model
            )
        with torch.no_grad():
            states = body(input_ids=ids).last_hidden_state[0]
        expected = states[-1] if model.config.pooling == "last" else states.mean(0)
        np.testing.assert_allclose(vector, expected.numpy(), atol=2e-5)
    assert model.config.pooling == ("last" if model_type in DECODERS else "mean")


@EVERY
def test_evaluate(model_type, trained, tmp_path):
    """Sentences that the corpus has in all languages find their translation more often than by chance (1 in 20)."""
    rng = np.random.default_rng(5)
    chosen = [rng.permutation(12)[:5] for _ in range(20)]
    for code, tag in (("deu", "de"), ("eng", "en")):
        lines = [" ".join(_WORDS[tag][i] for i in choice) for choice in chosen]
        layouts.write(tmp_path / "data" / "tatoeba" / f"tatoeba.deu-eng.{code}", lines)
    out = evaluate.run(
        evaluate.Config(
            model=[str(trained(model_type) / "model")], data=str(tmp_path / "data"), out=str(tmp_path / "out"),
            tasks=["tatoeba"],
        )
    )  # fmt: skip
    rows = json.loads((out / "results.json").read_text(encoding="utf-8"))
    (value,) = (
        row["value"]
        for row in rows
        if (row["metric"], row["direction"]) == ("accuracy", "mean") and row["language"] == "de"
    )
    assert value > 0.2


@EVERY
def test_finetune(model_type, trained, tmp_path, monkeypatch):
    task = labelled.task("classification", "made_up_classification")
    monkeypatch.setattr("mlcl.finetuning.data.labelled_task", lambda name: task)
    before = weights(trained(model_type) / "model")
    out = finetune.run(
        finetune.Config(
            model=str(trained(model_type) / "model"), task="made_up_classification", data=str(tmp_path),
            out=str(tmp_path / "out"), training=finetune.FitSettings(epochs=1, batch_size=16),
        )
    )  # fmt: skip
    after = weights(out / "model")
    moved = [
        name
        for name, weight in before.items()
        if f"mlc.{name}" in after and not torch.equal(after[f"mlc.{name}"], weight)
    ]
    assert any(name.startswith("backbone.") for name in moved)
    assert not any("lm_head" in name for name in after)


@EVERY
def test_sentence_transformers(model_type, trained):
    """Equal vectors, in a batch with padding and one by one."""
    library = pytest.importorskip("sentence_transformers")
    folder = trained(model_type) / "model"
    ours = Encoder.from_pretrained(folder, device="cpu").encode(TEXTS)
    theirs = library.SentenceTransformer(str(folder), device="cpu")
    np.testing.assert_allclose(theirs.encode(TEXTS), ours, atol=2e-5)
    np.testing.assert_allclose(theirs.encode(TEXTS[:1]), ours[:1], atol=2e-5)


@pytest.mark.parametrize("model_type", ["llama", "mt5"])
def test_adapters_are_resumed_as_they_were_and_merged_at_the_end(model_type, tiny_corpus, tmp_path):
    pytest.importorskip("peft")
    start = checkpoint(model_type, tmp_path / "start")
    config = settings(start, tiny_corpus, tmp_path / "run")
    brief = {**config.training, "max_steps": 4, "save_steps": 2}
    config = replace(config, model={**config.model, "lora": {"rank": 2}}, training=brief)
    pretrain.run(config)
    whole = weights(tmp_path / "run" / "model")
    assert MLCModel.from_pretrained(tmp_path / "run" / "checkpoint-2").config.lora == {"rank": 2}
    shutil.rmtree(tmp_path / "run" / "checkpoint-4")
    pretrain.run(replace(config, resume=True))
    resumed = weights(tmp_path / "run" / "model")
    assert not any("lora" in name or "base_layer" in name for name in whole)
    assert [name for name in whole if not torch.equal(whole[name], resumed[name])] == []
    before = MLCModel(MLCConfig(model_name=str(start))).state_dict()
    moved = {name for name in whole if not torch.equal(whole[name], before[name])}
    assert moved
    assert not any("embed" in name or "norm" in name for name in moved)


@pytest.mark.parametrize(
    ("model", "training", "message"),
    [({"backbone": {"model_type": "llama"}}, {}, "a fresh backbone are random"), ({}, {"fsdp": True}, "fsdp")],
)
def test_adapters_where_they_make_no_sense(model, training, message, tiny_corpus, tmp_path):
    config = settings(tmp_path / "nowhere", tiny_corpus, tmp_path / "run")
    config = replace(config, model={**(model or config.model), "lora": {}}, training={**config.training, **training})
    with pytest.raises(UserError, match=message):
        pretrain.run(config)
    assert not (tmp_path / "run").exists()


def test_a_prompt_with_the_name_of_a_task_is_put_before_its_texts():
    embed = with_prompt(lambda texts: texts, {"tatoeba": "translation: "}, "tatoeba")
    assert embed(["a", "b"]) == ["translation: a", "translation: b"]
    same = lambda texts: texts  # noqa: E731
    assert with_prompt(same, {"query": "query: "}, "tatoeba") is same


def test_the_table_of_the_documentation_is_what_is_tested():
    text = (ROOT / "docs" / "backbones.md").read_text(encoding="utf-8")
    table = [line.strip("|").split("|") for line in text.partition("\n\n## ")[0].splitlines() if line.startswith("|")]
    (_, *columns), _, *rows = ([cell.strip(" `") for cell in line] for line in table)
    marked = [name for name, test in globals().items() if EVERY.mark in getattr(test, "pytestmark", [])]
    assert columns == [name.removeprefix("test_").replace("_", "-") for name in marked]
    assert [name for name, *_ in rows] == TABLE
    assert all(cells == ["\u2713"] * len(columns) for _, *cells in rows)
