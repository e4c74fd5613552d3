"""Few-shot and zero-shot: heads from the space, checked against plain numpy and scikit-learn."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import torch

import labelled
from mlcl.core.errors import UserError
from mlcl.finetuning import fewshot
from mlcl.finetuning.data import choose_shots
from mlcl.finetuning.encoding import Encoded
from mlcl.finetuning.prediction import predict, predict_logits
from mlcl.tasks._metrics import accuracy


@pytest.fixture(autouse=True)
def _exact(monkeypatch):
    monkeypatch.setattr("mlcl.finetuning.prediction.bf16_pays", lambda: False)
    monkeypatch.setattr("mlcl.finetuning.fewshot.bf16_pays", lambda: False)


def unit_vectors(model, examples):
    with torch.inference_mode():
        vectors = [model.mlc(torch.from_numpy(e.ids[0]).long()[None]).embeddings[0].numpy() for e in examples]
    return np.stack([vector / np.linalg.norm(vector) for vector in vectors])


def test_prototypes_are_the_nearest_means(make):
    model, encoder, _ = make("classification", method="prototypes")
    assert model.config.unit
    train, dev = (encoder.encode(labelled.classification("en", split)) for split in ("train", "dev"))
    fewshot.prototypes(model, train)
    model.eval()
    x, y = unit_vectors(model, train), np.array([int(e.labels[0]) for e in train])
    means = np.stack([x[y == label].mean(axis=0) for label in (0, 1)])
    cosines = unit_vectors(model, dev) @ (means / np.linalg.norm(means, axis=1, keepdims=True)).T
    np.testing.assert_allclose(np.concatenate(predict_logits(model, dev)), 20 * cosines, atol=1e-3)


@pytest.mark.parametrize("classes", [2, 3])
def test_the_logistic_head_is_scikit_learns(make, classes):
    linear_model = pytest.importorskip("sklearn.linear_model")
    labels = ["a", "b", "c", "d"][: classes + 1]  # the last one never occurs
    model, encoder, task = make("classification", method="contrastive")
    model.config.id2label = dict(enumerate(labels))
    model.head[1] = torch.nn.Linear(32, len(labels))
    train = encoder.encode(labelled.classification("en", "train"))
    train = [Encoded(e.ids, np.array([number % classes])) for number, e in enumerate(train)]
    fewshot.logistic_head(model, train)
    model.eval()
    x, y = unit_vectors(model, train), np.arange(len(train)) % classes
    library = linear_model.LogisticRegression(C=10.0, max_iter=2000, class_weight="balanced").fit(x, y)
    logits = np.concatenate(predict_logits(model, train))
    shares = np.exp(logits - logits.max(axis=1, keepdims=True))
    shares /= shares.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(shares[:, :classes], library.predict_proba(x), atol=2e-3)
    assert shares[:, classes].max() < 1e-6


def test_contrastive_few_shot_moves_the_encoder_and_learns(make):
    pytest.importorskip("sklearn")
    model, encoder, task = make("classification", method="contrastive")
    before = {name: tensor.clone() for name, tensor in model.mlc.state_dict().items()}
    shots = encoder.encode(choose_shots(labelled.classification("en", "train"), task.labels, 8, seed=0))
    updates = fewshot.contrastive(model, shots, learning_rate=2e-3, batch=8, seed=0)
    assert updates == 80
    assert any(not torch.equal(before[name], tensor) for name, tensor in model.mlc.state_dict().items())
    dev = labelled.classification("en", "dev")
    assert accuracy([e.label for e in dev], predict(model, encoder.encode(dev))) > 0.8
    x = unit_vectors(model.eval(), shots)
    y = np.array([int(e.labels[0]) for e in shots])
    cosines = x @ x.T
    assert cosines[y[:, None] == y].mean() > cosines[y[:, None] != y].mean() + 0.5


def test_drawn_pairs_are_two_texts_of_one_class(make):
    by_class = [np.array([0, 1, 2]), np.array([3]), np.array([4, 5])]
    anchors, positives, classes = fewshot._draw_pairs(by_class, 30, np.random.default_rng(0))
    assert Counter(classes.tolist()) == {0: 10, 1: 10, 2: 10}
    for anchor, positive, label in zip(anchors, positives, classes, strict=True):
        assert {anchor, positive} <= set(by_class[label].tolist())
        assert label == 1 or anchor != positive


def test_zero_shot_takes_the_nearest_description(make):
    model, encoder, _ = make("classification", method="zero-shot")
    fewshot.zero_shot(model, encoder, {"b": ["your password"], "a": ["the page", "deleted"]})
    assert predict(model, encoder.encode([labelled.Example("your password", "a")])) == ["b"]
    with pytest.raises(UserError, match="b not described; c no label.*the labels are a, b"):
        fewshot.zero_shot(model, encoder, {"a": ["x"], "c": ["y"]})
    with pytest.raises(UserError, match="description of 'b' is empty"):
        fewshot.zero_shot(model, encoder, {"a": ["x"], "b": [" "]})


def test_shots_are_k_of_each_class_and_differ_by_seed():
    examples = labelled.classification("en", "train")
    first, again, other = (choose_shots(examples, ("a", "b"), 5, seed) for seed in (0, 0, 1))
    assert Counter(example.label for example in first) == {"a": 5, "b": 5}
    assert first == again != other
    with pytest.raises(UserError, match=r"shots is 100, .* has \d+ examples of 'a'"):
        choose_shots(examples, ("a", "b"), 100, 0)
    with pytest.raises(UserError, match="has 0 examples of 'c'"):
        choose_shots(examples, ("a", "b", "c"), 1, 0)
