"""Fits: they learn, keep the best epoch, resume bit for bit, and cached features are those of the model."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

import labelled
from mlcl.finetuning.encoding import Encoded, collate
from mlcl.finetuning.fit import Dev, fit
from mlcl.finetuning.prediction import predict, predict_logits, with_features
from mlcl.finetuning.settings import FitSettings, Tuning
from mlcl.finetuning.trainer import TaskTrainer, training_arguments
from mlcl.tasks._metrics import accuracy, span_f1

QUICK = FitSettings(epochs=6, batch_size=8, learning_rate=2e-3, head_learning_rate=1e-2, patience=0)


@pytest.fixture(autouse=True)
def _float32(request, monkeypatch):
    """Most tests here run in float32: bfloat16 kernels are compiled for every new shape."""
    if "bf16" not in request.fixturenames:
        for module in ("trainer", "prediction"):
            monkeypatch.setattr(f"mlcl.finetuning.{module}.bf16_pays", lambda: False)


@pytest.fixture
def bf16():
    """The precision that the machine likes best."""


def gold(kind, language, split):
    examples = labelled.MAKERS[kind](language, split)
    return [list(e.tags) if kind == "tagging" else e.label for e in examples]


def sets(encoder, kind):
    train, dev = (encoder.encode(labelled.MAKERS[kind]("en", split)) for split in ("train", "dev"))
    score = span_f1 if kind == "tagging" else accuracy
    return train, Dev([dev], lambda number, predicted: 100 * score(gold(kind, "en", "dev"), predicted))


def scores(folder):
    lines = (folder / "metrics.jsonl").read_text().split("\n")
    return [json.loads(line)["eval_score"] for line in lines if "eval_score" in line]


def weights(model):
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def same(first, second):
    return all(torch.equal(tensor, second[name]) for name, tensor in first.items()) and first.keys() == second.keys()


@pytest.mark.parametrize("method", ["full", "frozen", "gradual", "lora"])
def test_every_method_learns_and_keeps_the_best_epoch(make, tmp_path, method):
    if method == "lora":
        pytest.importorskip("peft")
    model, encoder, _ = make("tagging")
    before = weights(model)
    train, dev = sets(encoder, "tagging")
    start = dev(model)
    settings = FitSettings(**{**vars(QUICK), "class_weights": method == "full"})
    report = fit(model, train, dev, Tuning(method), settings, seed=1, folder=tmp_path)
    assert scores(tmp_path)
    assert dev(model) == pytest.approx(max(scores(tmp_path)), abs=1e-6) == pytest.approx(report.dev)
    assert report.dev > start + 10
    assert (report.examples, report.updates, report.epochs) == (48, 36, 6.0)
    after = weights(model)
    assert after.keys() == before.keys()
    still = {name for name in before if torch.equal(before[name], after[name])}
    inside = {name for name in before if name.startswith("mlc.")}
    if method == "frozen":
        assert still == inside
        assert report.trained == sum(tensor.numel() for name, tensor in before.items() if name.startswith("head."))
    elif method == "lora":
        linear = {name for name in inside if ".layer." in name and name.endswith("weight") and "Norm" not in name}
        assert inside - still == linear
    else:
        assert not any("layer.1" in name for name in still)


def test_gradual_unfreezing_leaves_the_bottom_alone_at_first(make, tmp_path):
    model, encoder, _ = make("classification")
    before = weights(model)
    train, _ = sets(encoder, "classification")
    settings = FitSettings(**{**vars(QUICK), "epochs": 2})
    fit(model, train, None, Tuning("gradual"), settings, seed=0, folder=tmp_path)
    moved = {name for name, tensor in model.state_dict().items() if not torch.equal(tensor, before[name])}
    assert not any("embeddings" in name for name in moved)
    assert any(".layer.0." in name for name in moved)


@pytest.mark.parametrize(
    ("kind", "head"), [("pair", "bi-encoder"), ("pair", "cross-encoder"), ("regression", "cosine")]
)
def test_pairs_learn(make, tmp_path, kind, head):
    from mlcl.tasks._statistics import spearman

    model, encoder, _ = make(kind, head)
    examples = 3 * labelled.MAKERS[kind]("en", "train")
    if head == "cross-encoder":  # to compare words across a sequence, two small layers need far longer
        examples = [replace(e, label=("same", "other")["your" in (e.pair or "")]) for e in examples]
    settings = FitSettings(**{**vars(QUICK), "epochs": 10})
    fit(model, encoder.encode(examples), None, Tuning(), settings, seed=0, folder=tmp_path)
    found, right = predict(model, encoder.encode(examples)), [example.label for example in examples]
    if kind == "regression":
        assert spearman(np.array(found), np.array(right)) > 0.6
        assert min(found) > -5.1
        assert max(found) < 5.1
    else:
        assert accuracy(right, found) > 0.9


def test_cached_features_are_what_the_head_sees(make, monkeypatch):
    monkeypatch.setattr("mlcl.finetuning.prediction.bf16_pays", lambda: False)
    for kind, head in (("tagging", None), ("pair", "bi-encoder"), ("regression", "cosine")):
        model, encoder, _ = make(kind, head)
        examples = encoder.encode(labelled.MAKERS[kind]("en", "dev"))
        cached = with_features(model, examples)
        assert all(not example.ids for example in cached)
        for direct, through in zip(predict_logits(model, examples), predict_logits(model, cached), strict=True):
            np.testing.assert_allclose(direct, through, atol=1e-5)
        batch, whole = collate(cached[:3]), collate(examples[:3])
        assert torch.equal(batch["labels"], whole["labels"])
        torch.testing.assert_close(model.eval()(**batch).logits, model(**whole).logits, atol=1e-5, rtol=1e-4)


class Killed(Exception):
    pass


@pytest.mark.parametrize("method", ["full", "frozen", "gradual"])
def test_a_killed_fit_resumes_bit_for_bit(make, tmp_path, method):
    settings = FitSettings(**{**vars(QUICK), "epochs": 3})
    steady, encoder, _ = make("tagging")
    train, dev = sets(encoder, "tagging")
    fit(steady, train, dev, Tuning(method), settings, seed=3, folder=tmp_path / "steady")

    def killing(number, predicted, calls=[]):  # noqa: B006
        calls.append(number)
        if len(calls) == 2:
            raise Killed
        return dev.score(number, predicted)

    killed, _, _ = make("tagging")
    with pytest.raises(Killed):
        fit(killed, train, Dev(dev.sets, killing), Tuning(method), settings, seed=3, folder=tmp_path / "killed")
    (checkpoint,) = (tmp_path / "killed").glob("checkpoint-*")
    if method == "frozen":
        assert sum(path.stat().st_size for path in checkpoint.glob("*.safetensors")) < 5_000, "the head alone"
    resumed, _, _ = make("tagging", seed=7)  # its fresh head does not matter
    report = fit(resumed, train, dev, Tuning(method), settings, seed=3, folder=tmp_path / "killed")
    assert report.updates == 18
    assert same(weights(steady), weights(resumed))
    assert scores(tmp_path / "steady") == scores(tmp_path / "killed")


def test_early_stopping_takes_the_best_and_stays_stopped(make, tmp_path):
    values = iter([50.0, 70.0, 60.0, 65.0, 99.0])
    model, encoder, _ = make("classification")
    train, dev = sets(encoder, "classification")
    settings = FitSettings(**{**vars(QUICK), "patience": 2})
    states = []

    def score(number, predicted):
        states.append(weights(model))
        return next(values)

    report = fit(model, train, Dev(dev.sets, score), Tuning(), settings, seed=0, folder=tmp_path)
    assert (report.epochs, report.dev) == (4.0, 70.0)
    assert same(weights(model), states[1])
    again, _, _ = make("classification", seed=5)
    report = fit(again, train, Dev(dev.sets, score), Tuning(), settings, seed=0, folder=tmp_path)
    assert (report.epochs, report.dev, len(states)) == (4.0, 70.0, 4)
    assert same(weights(again), states[1])


def test_a_run_that_was_moved_still_takes_the_best(make, tmp_path):
    values = iter([90.0, 70.0, 60.0])
    model, encoder, _ = make("classification")
    train, dev = sets(encoder, "classification")
    settings = FitSettings(**{**vars(QUICK), "epochs": 3, "patience": 0})
    states = []

    def score(number, predicted):
        if len(states) == 2:
            raise Killed
        states.append(weights(model))
        return next(values)

    with pytest.raises(Killed):
        fit(model, train, Dev(dev.sets, score), Tuning(), settings, seed=0, folder=tmp_path / "here")
    (tmp_path / "here").rename(tmp_path / "there")
    resumed, _, _ = make("classification", seed=5)
    last = Dev(dev.sets, lambda number, predicted: next(values))
    fit(resumed, train, last, Tuning(), settings, seed=0, folder=tmp_path / "there")
    assert same(weights(resumed), states[0])


def test_a_finished_fit_is_not_trained_again(make, tmp_path):
    model, encoder, _ = make("classification")
    train, dev = sets(encoder, "classification")
    settings = FitSettings(**{**vars(QUICK), "epochs": 2})
    fit(model, train, dev, Tuning(), settings, seed=0, folder=tmp_path)
    again, _, _ = make("classification", seed=5)
    report = fit(again, train, dev, Tuning(), settings, seed=0, folder=tmp_path)
    assert report.updates == 12
    assert same(weights(model), weights(again))


def test_the_seed_decides_the_order_alone(make, tmp_path):
    found = []
    for number, seed in enumerate((0, 0, 1)):
        model, encoder, _ = make("classification")
        train, _ = sets(encoder, "classification")
        settings = FitSettings(**{**vars(QUICK), "epochs": 1})
        fit(model, train, None, Tuning(), settings, seed=seed, folder=tmp_path / str(number))
        found.append(weights(model))
    assert same(found[0], found[1])
    assert not same(found[0], found[2])


def test_sentences_without_a_word_are_left_out_and_rows_are_sparse(make, tmp_path, monkeypatch, bf16):
    model, encoder, _ = make("tagging")
    train, _ = sets(encoder, "tagging")
    empty = encoder.encode([labelled.TaggedSentence((" ",), ("O",))])
    sparse = []
    clip = TaskTrainer._clip_grad_norm

    def spy(self, model):
        sparse.append(self.task_model.get_input_embeddings().weight.grad.is_sparse)
        return clip(self, model)

    monkeypatch.setattr(TaskTrainer, "_clip_grad_norm", spy)
    settings = FitSettings(**{**vars(QUICK), "epochs": 1})
    report = fit(model, [*train, *empty], None, Tuning(), settings, seed=0, folder=tmp_path)
    assert not len(empty[0].labels)
    assert report.examples == len(train)
    assert sparse
    assert all(sparse)
    assert not model.get_input_embeddings().sparse


def test_batches_hold_sentences_of_similar_length_and_all_of_them(make, tmp_path):
    model, encoder, _ = make("classification")
    lengths = [1 + number % 40 for number in range(320)]
    train = [Encoded((np.zeros(length, dtype=np.int32),), np.array([0])) for length in lengths]
    args = training_arguments(QUICK, tmp_path, len(train), 0, has_dev=False)
    order = list(TaskTrainer(model, args, train, QUICK, Tuning())._get_train_sampler())
    assert sorted(order) == list(range(320))
    batches = [[lengths[row] for row in order[start : start + 8]] for start in range(0, 320, 8)]
    assert np.mean([max(batch) - min(batch) for batch in batches]) < 5
    assert [max(batch) for batch in batches] != sorted((max(batch) for batch in batches), reverse=True)
