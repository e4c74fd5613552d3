"""Scores of retrieval against a slow twin and against the task `xquad`, and a fit that learns to retrieve."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import labelled
from mlcl.finetuning.data import Part
from mlcl.finetuning.fit import Dev, fit
from mlcl.finetuning.model import task_loss
from mlcl.finetuning.retrieval import METRICS, mean_average_precision, retrieval_rows
from mlcl.finetuning.scoring import headline
from mlcl.finetuning.settings import FitSettings, Tuning
from mlcl.retrieval.knn import unit
from mlcl.tasks._labelled import Example, Language
from mlcl.tasks.xquad import average_precision, ranks


def part(code, keys):
    examples = [Example(f"{code} question {n}", key, f"{code} passage {key}") for n, key in enumerate(keys)]
    return Part(labelled.task("retrieval"), Language(code, code, ("test",)), "test", examples)


def draw(seed, parts, dimension=4):
    """Unit vectors of questions, and of passages that are the same for the same key."""
    chance = np.random.default_rng(seed)
    found = []
    for one in parts:
        passages = {e.label: unit(chance.normal(size=(1, dimension)))[0] for e in one.examples}
        found.append([np.stack([unit(chance.normal(size=(1, dimension)))[0], passages[e.label]]) for e in one.examples])
    return found


def slow(parts, vectors):
    """Metric -> language -> mean, by loops."""
    pool = {}
    for one, found in zip(parts, vectors, strict=True):
        for example, pair in zip(one.examples, found, strict=True):
            pool.setdefault((one.language.code, example.label), pair[1])
    scores = {metric: {} for metric in METRICS}
    for one, found in zip(parts, vectors, strict=True):
        rows = []
        for example, pair in zip(one.examples, found, strict=True):
            order = sorted(pool, key=lambda place: -float(pair[0] @ pool[place]))
            places = [rank for rank, (_, key) in enumerate(order, 1) if key == example.label]
            home = [key for code, key in order if code == one.language.code].index(example.label) + 1
            precision = np.mean([hits / rank for hits, rank in enumerate(places, 1)])
            rows.append([precision, places[0] == 1, 1 / home, order[0][0] == one.language.code])
        for metric, value in zip(METRICS, np.mean(rows, axis=0), strict=True):
            scores[metric][one.language.code] = 100 * value
    return scores


@given(st.integers(0, 99), st.lists(st.lists(st.sampled_from("abcd"), min_size=1, max_size=6), min_size=1, max_size=3))
def test_scores_are_those_of_plain_loops(seed, keys):
    parts = [part(code, found) for code, found in zip(("en", "de", "fr"), keys, strict=False)]
    vectors = draw(seed, parts)
    expected = slow(parts, vectors)
    for row in retrieval_rows(parts, vectors):
        assert row.value == pytest.approx(expected[row.metric][row.language])
        assert row.low - 1e-9 <= row.value <= row.high + 1e-9


def test_scores_are_those_of_the_task_on_frozen_vectors():
    parts = [part(code, "aabbccdde") for code in ("en", "de")]
    vectors = draw(1, parts)
    rows = {(row.metric, row.language): row.value for row in retrieval_rows(parts, vectors)}
    passages = np.stack([dict(zip("aabbccdde", (pair[1] for pair in found), strict=True))[k]
                         for found in vectors for k in "abcde"])  # fmt: skip
    right = np.array(["abcde".index(key) for key in "aabbccdde"])
    for number, (one, found) in enumerate(zip(parts, vectors, strict=True)):
        mixed, alone, top = ranks(np.stack([pair[0] for pair in found]), passages, right, 2)
        code = one.language.code
        assert rows["map", code] == pytest.approx(100 * average_precision(mixed).mean())
        assert rows["map_own_language", code] == pytest.approx(100 * (1 / alone[:, number]).mean())
        assert rows["own_language_top1", code] == pytest.approx(100 * (top == number).mean())
    assert mean_average_precision(parts[0], vectors[0]) == pytest.approx(rows["map_own_language", "en"] / 100)


def test_other_questions_about_the_same_passage_are_no_negatives():
    vectors = torch.nn.functional.normalize(torch.randn(3, 2, 8, generator=torch.Generator().manual_seed(0)), dim=-1)
    same = task_loss("retrieval", vectors[[0, 0]].flatten(1), torch.tensor([5, 5]))
    other = task_loss("retrieval", vectors[[0, 1]].flatten(1), torch.tensor([5, 6]))
    assert same == 0
    assert other > 0


def test_a_fit_learns_to_retrieve(make, tmp_path):
    model, encoder, _ = make("retrieval")
    train, dev = (labelled.MAKERS["retrieval"]("en", split) for split in ("train", "dev"))
    held_out = Part(labelled.task("retrieval"), Language("en", "en", ("dev",)), "dev", dev)
    choosing = Dev([encoder.encode(dev)], lambda number, predicted: headline(held_out, predicted))
    before = choosing(model)
    settings = FitSettings(epochs=12, batch_size=12, learning_rate=2e-3, patience=0)
    report = fit(model, encoder.encode(train), choosing, Tuning(), settings, seed=0, folder=tmp_path)
    assert choosing(model) == pytest.approx(report.dev)
    assert report.dev > before + 10
