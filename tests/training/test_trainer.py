"""The step against the formula, term by term; updates, schedules and data sets of text."""

from __future__ import annotations

import copy
import time
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from mlcl.core.errors import UserError
from mlcl.objectives import info_nce, masked_lm_loss
from mlcl.training.momentum import MomentumEncoder
from mlcl.training.schedule import timed_schedule
from mlcl.training.sources import TextSource, loader
from mlcl.training.text_groups import text_groups
from mlcl.training.trainer import MLCTrainer
from rows import ROWS, arguments, fresh_model, metrics


@pytest.mark.parametrize("weights", [(1.0, 0.0), (0.0, 1.0), (2.0, 0.5)])
def test_loss_is_the_weighted_sum_of_the_terms_each_under_its_own_mean(tokenizer, tmp_path, weights):
    w, lam = weights
    model = fresh_model(tokenizer)
    args = arguments(tmp_path, info_nce_weight=w, lm_weight=lam, temperature=0.1, margin=0.2, lm_share=1.0)
    trainer = MLCTrainer(model, args, ROWS, processing_class=tokenizer)
    batch = trainer.source[0]
    loss = trainer.compute_loss(model, batch)

    expected = torch.zeros(())
    sentences = batch.online.input_ids.split(batch.online.lengths.tolist())
    by_place = dict(zip(batch.online.order.tolist(), sentences, strict=True))
    if w:
        vectors = F.normalize(torch.cat([model(by_place[i][None]).embeddings for i in range(16)]), dim=-1)
        expected = expected + w * info_nce(vectors[:8], vectors[8:], temperature=0.1, margin=0.2, ids=batch.ids)
    if lam:
        labels = torch.full_like(batch.online.input_ids, -100).index_copy(0, batch.masked, batch.labels)
        labels = labels.split(batch.online.lengths.tolist())
        states = torch.cat([model.lm_head(model(ids[None]).last_hidden_state[0]) for ids in sentences])
        weight = model.get_input_embeddings().weight
        expected = expected + lam * masked_lm_loss(states, weight, torch.cat(labels), model.lm_head.bias)
    torch.testing.assert_close(loss, expected, rtol=1e-4, atol=1e-5)


def test_queue_and_momentum_move_once_per_update(tokenizer, tmp_path):
    model = fresh_model(tokenizer)
    args = arguments(
        tmp_path, gradient_accumulation_steps=2, max_steps=3, queue_size=100, momentum=0.9, lm_weight=0.0,
        per_device_train_batch_size=4,
    )  # fmt: skip
    trainer = MLCTrainer(model, args, ROWS, processing_class=tokenizer)
    updates = []
    original = trainer.momentum.update
    trainer.momentum.update = lambda online: (updates.append(len(trainer.queue)), original(online))
    trainer.train()
    assert updates == [0, 8, 16]  # two micro-batches of four, enqueued together after each update
    assert len(trainer.queue) == 24
    torch.testing.assert_close(trainer.queue.vectors.norm(dim=1), torch.ones(24))


def test_momentum_is_the_moving_average(tokenizer):
    online = fresh_model(tokenizer)
    average = MomentumEncoder(online, 0.75)
    before = copy.deepcopy(online.state_dict())
    with torch.no_grad():
        for parameter in online.parameters():
            parameter += 1.0
    average.update(online)
    for name, value in average.encoder.state_dict().items():
        torch.testing.assert_close(value, before[name] + 0.25)
    assert not any(parameter.requires_grad for parameter in average.parameters())
    assert not average.train().encoder.training


def test_training_lowers_both_terms_and_raises_retrieval(tokenizer, tmp_path):
    model = fresh_model(tokenizer)
    args = arguments(tmp_path, max_steps=120, queue_size=64, eval_strategy="steps", eval_steps=60)
    trainer = MLCTrainer(model, args, ROWS, eval_dataset=ROWS, processing_class=tokenizer)
    before = trainer.evaluate()["eval_accuracy"]
    trainer.train()
    logged = metrics(tmp_path)
    steps = [line for line in logged if "info_nce" in line]
    assert len(steps) == 120
    for term in ("info_nce", "lm"):
        assert np.mean([line[term] for line in steps[-5:]]) < np.mean([line[term] for line in steps[:5]])
    assert trainer.evaluate()["eval_accuracy"] > max(before, 0.5)
    wanted = {"step", "loss", "info_nce", "lm", "lr", "pairs_per_second", "tokens_per_second", "padding_fraction"}
    assert wanted | {"peak_memory_bytes"} <= set(steps[0])


def test_rows_give_every_row_once_an_epoch_and_hard_negatives_at_the_end(tokenizer, tmp_path):
    rows = [{**row, "negative": f"{row['anchor']} password"} for row in ROWS]
    trainer = MLCTrainer(fresh_model(tokenizer), arguments(tmp_path, lm_weight=0.0), rows, processing_class=tokenizer)
    assert isinstance(trainer.source, TextSource)
    assert len(trainer.source) == 5
    batch = trainer.source[3]
    assert batch.hard_negatives == 8
    assert len(batch.online.lengths) == 24
    seen = [trainer.source[i].online.input_ids.sum().item() for i in range(5)]
    again = [trainer.source[i].online.input_ids.sum().item() for i in range(5, 10)]
    assert sum(seen) == sum(again)
    assert seen != again


def test_equal_texts_in_a_batch_are_one_group(tokenizer, tmp_path):
    rows = [{"anchor": "the page", "positive": f"seite {i % 2}"} for i in range(4)] + ROWS[:4]
    trainer = MLCTrainer(fresh_model(tokenizer), arguments(tmp_path, lm_weight=0.0), rows, processing_class=tokenizer)
    _, counts = torch.unique(trainer.source[0].ids, return_counts=True)
    assert sorted(counts.tolist()) == [1, 1, 1, 1, 4]


def test_a_group_id_means_the_same_in_every_batch():
    first, second = text_groups([("b", "a"), ("c", "d")]), text_groups([("x", "y"), ("c", "d"), ("a", "b")])
    assert first[1] == second[1]
    assert first[0] == second[2]
    assert len({*first.tolist(), *second.tolist()}) == 3
    assert (first >= 0).all()


def test_ranks_share_the_batches(tokenizer, tmp_path):
    trainer = MLCTrainer(fresh_model(tokenizer), arguments(tmp_path, lm_weight=0.0), ROWS, processing_class=tokenizer)
    numbers = [
        list(loader(trainer.source, rank=rank, world_size=2, workers=0, pin_memory=False).batch_sampler)
        for rank in (0, 1)
    ]
    assert numbers == [[[0], [2]], [[1], [3]]]


def test_clock_schedule_warms_up_by_steps_and_decays_by_time():
    parameter, passed = torch.nn.Parameter(torch.zeros(1)), 0.0
    optimizer = torch.optim.SGD([parameter], lr=1.0)
    args = SimpleNamespace(lr_scheduler_type="linear", warmup_steps=4, max_steps=10_000_000)
    schedule = timed_schedule(optimizer, args, lambda: passed)
    rates = []
    for passed in (0.0, 0.0, 0.0, 0.0, 0.5, 0.75, 1.2):  # noqa: B007 (read by the schedule)
        optimizer.step()
        schedule.step()
        rates.append(schedule.get_last_lr()[0])
    assert rates == pytest.approx([0.5, 0.75, 1.0, 1.0, 0.5, 0.25, 0.0], abs=1e-5)
    with pytest.raises(UserError, match="cannot follow"):
        timed_schedule(optimizer, SimpleNamespace(lr_scheduler_type="polynomial", warmup_steps=0), lambda: 0.0)


def test_a_time_budget_ends_the_run(tokenizer, tmp_path):
    args = arguments(tmp_path, max_steps=-1, max_minutes=0.03, lm_weight=0.0)
    trainer = MLCTrainer(fresh_model(tokenizer), args, ROWS, processing_class=tokenizer)
    start = time.monotonic()
    trainer.train()
    assert 1.5 < time.monotonic() - start < 60
    assert 0 < trainer.state.global_step < 10_000


def test_steps_that_end_before_the_clock_finish_the_schedule(tokenizer, tmp_path):
    args = arguments(tmp_path, max_steps=4, max_minutes=60.0, lm_weight=0.0, warmup_steps=0, logging_steps=1)
    trainer = MLCTrainer(fresh_model(tokenizer), args, ROWS, processing_class=tokenizer)
    trainer.train()
    rates = [line["lr"] / args.learning_rate for line in metrics(tmp_path) if "lr" in line]
    assert rates == pytest.approx([1.0, 0.75, 0.5, 0.25], abs=0.01)


def test_a_run_whose_time_is_used_up_trains_no_further_step(tokenizer, tmp_path):
    options = {"max_steps": -1, "max_minutes": 0.02, "learnable_temperature": True, "save_strategy": "steps"}
    first = MLCTrainer(fresh_model(tokenizer), arguments(tmp_path, **options), ROWS, processing_class=tokenizer)
    first.train()
    again = MLCTrainer(fresh_model(tokenizer), arguments(tmp_path, **options), ROWS, processing_class=tokenizer)
    again.train(resume_from_checkpoint=True)
    assert again.state.global_step == first.state.global_step > 0
    for name, value in again.model.state_dict().items():
        assert torch.equal(value, first.model.state_dict()[name])
    assert again.temperature.value == first.temperature.value != 0.05
    other = arguments(tmp_path, **options | {"learnable_temperature": False})
    other = MLCTrainer(fresh_model(tokenizer), other, ROWS, processing_class=tokenizer)
    with pytest.raises(UserError, match="disagree about the temperature"):
        other.train(resume_from_checkpoint=True)


@pytest.mark.parametrize(
    "options", [{}, {"mini_batch_tokens": 64}, {"fgm_radius": 0.1}], ids=["plain", "cached", "perturbed"]
)
def test_a_resumed_run_equals_one_that_was_not_stopped(tokenizer, tmp_path, options):
    options = {"learnable_temperature": True, "queue_size": 20, "max_steps": 6, "save_steps": 3} | options
    runs = []
    for resume in (None, str(tmp_path / "checkpoint-3")):
        args = arguments(tmp_path, save_strategy="steps" if resume is None else "no", **options)
        runs.append(MLCTrainer(fresh_model(tokenizer), args, ROWS, processing_class=tokenizer))
        runs[-1].train(resume_from_checkpoint=resume)
    for name, value in runs[0].model.state_dict().items():
        assert torch.equal(value, runs[1].model.state_dict()[name]), name
    assert runs[0].temperature.value == runs[1].temperature.value
    assert torch.equal(runs[0].queue.vectors, runs[1].queue.vectors)
    assert metrics(tmp_path)[-1]["step"] == 6


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"learnable_temperature": True, "temperature": 5.0, "mini_batch_tokens": 0}, "above 0; temperature is 5.0"),
        ({"temperature": 0.0, "mlm_probability": 2.0}, "temperature is 0.0.*mlm_probability is 2.0"),
        ({"info_nce_weight": 0.0, "lm_weight": 0.0}, "nothing would be trained"),
    ],
)
def test_arguments_that_cannot_be_trained_with_are_named_at_once(tmp_path, options, message):
    with pytest.raises(UserError, match=message):
        arguments(tmp_path, **options)


def test_data_that_does_not_fit_is_refused(tokenizer, tmp_path):
    model = fresh_model(tokenizer)
    with pytest.raises(UserError, match="no column positive; it has anchor, translation"):
        MLCTrainer(model, arguments(tmp_path), [{"anchor": "a", "translation": "b"}], processing_class=tokenizer)
    with pytest.raises(UserError, match="empty"):
        MLCTrainer(model, arguments(tmp_path), [], processing_class=tokenizer)
    with pytest.raises(UserError, match="need a tokenizer"):
        MLCTrainer(model, arguments(tmp_path, lm_weight=0.0), ROWS)
