"""Two models side by side: the tests agree with scipy, and their errors are as rare as they say."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from mlcl.stages._significance import compare, holm, sign_flip
from mlcl.tasks._statistics import wilson

HEADLINES = {"a": [("accuracy", "mean"), ("accuracy", "full")], "b": [("f1", "mining")]}


def row(model, language, value, task="a", half=2.0, **changes):
    metric, direction = HEADLINES[task][0]
    low, high = (None, None) if half is None else (value - half, value + half)
    return {
        "task": task, "split": "test", "language": language, "code": language, "direction": direction, "metric": metric,
        "value": value, "low": low, "high": high, "n": 100, "model": model, "seed": None, "train_language": None,
        **changes,
    }  # fmt: skip


@pytest.mark.parametrize("n", [6, 9, 40])
def test_sign_flips_agree_with_scipy(n):
    differences = np.random.default_rng(n).normal(0.4, 1, size=n)
    expected = stats.permutation_test(
        (differences,), np.mean, permutation_type="samples", n_resamples=20_000, rng=np.random.default_rng(1)
    ).pvalue
    assert sign_flip(differences) == pytest.approx(expected, abs=1e-12 if n < 14 else 0.01)


def test_equal_models_do_not_differ_and_better_ones_do():
    assert sign_flip(np.zeros(8)) == 1
    assert sign_flip(np.full(8, 0.5)) == 2 / 2**8
    assert 0 < sign_flip(np.full(60, 0.5)) < 0.001


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.6, 0.9]) == [1.0, 1.0]
    assert holm([]) == []


def test_languages_are_resampled_where_there_are_six():
    chance = np.random.default_rng(0)
    languages = [f"l{number}" for number in range(12)]
    hard = chance.uniform(10, 90, size=12)  # languages differ far more than the models do
    rows = [row("x", tag, value + 3 + chance.normal(0, 1)) for tag, value in zip(languages, hard, strict=True)]
    rows += [row("y", tag, value) for tag, value in zip(languages, hard, strict=True)]
    rows += [row("y", "only-here", 0.0), row("x", "avg:all", 100.0, code=""), row("y", "avg:all", 0.0, code="")]
    rows += [row("x", "l0", 5.0, metric="accuracy_other")]
    (found,) = compare(rows, HEADLINES, "x", "y")
    assert (found.n, found.resampled, found.first, found.second) == (12, "languages", "x", "y")
    assert found.low < found.difference < found.high
    assert found.difference == pytest.approx(3, abs=0.8)
    assert found.p == found.p_holm == pytest.approx(2 / 2**12)


def test_few_languages_combine_the_intervals_of_the_rows():
    rows = [row("x", "zh", 60.0, "b", 3.0), row("y", "zh", 50.0, "b", 4.0)]
    (found,) = compare(rows, HEADLINES, "x", "y")
    assert (found.n, found.resampled) == (1, "examples")
    assert (found.low, found.high) == pytest.approx((5, 15))  # 3 and 4 make 5
    assert found.p == pytest.approx(2 * stats.norm.sf(10 / (5 / 1.959963984540054)))
    (unknown,) = compare([{**one, "low": None, "high": None} for one in rows], HEADLINES, "x", "y")
    assert (unknown.difference, unknown.low, unknown.p, unknown.p_holm) == (10, None, None, None)


@pytest.mark.parametrize("languages", [["zh"], ["zh", "ja", "ko", "th"]])
def test_combined_intervals_err_on_the_safe_side(languages):
    """Two equal models on the same examples, and their translations: p < 0.05 less often than one time in twenty."""
    chance, n, rejected = np.random.default_rng(0), 200, 0
    for _ in range(400):
        easy = chance.normal(0, 1, size=n)  # what the models share
        rows = []
        for model in ("x", "y"):
            right = easy + chance.normal(0, 0.7, size=n) > 0
            low, high = wilson(right.mean(), n)
            rows += [row(model, tag, 100 * right.mean(), "b", low=100 * low, high=100 * high) for tag in languages]
        rejected += compare(rows, HEADLINES, "x", "y")[0].p < 0.05
    assert rejected / 400 < 0.05


def test_p_is_adjusted_over_the_tasks_of_a_pair():
    rows = [row(model, "zh", value, task, 1.0) for task in "ab" for model, value in (("x", 52.0), ("y", 50.0))]
    first, second = compare(rows, HEADLINES, "x", "y")
    assert first.p_holm == second.p_holm == pytest.approx(2 * first.p)
    assert compare(rows, HEADLINES, "x", "absent") == []


def test_a_split_and_a_language_of_labels_is_a_test_of_its_own():
    rows = [
        row(model, "zh", value, train_language=labels, split=split)
        for split in ("test", "dev")
        for labels in ("en", "es")
        for model, value in (("x", 52.0), ("y", 50.0))
    ]
    found = compare(rows, HEADLINES, "x", "y")
    assert [(one.split, one.n) for one in found] == [("test", 2), ("dev", 2)]
    tuned = [{**one, "direction": "full"} for one in rows]
    found = compare([*rows, *tuned], HEADLINES, "x", "y")
    assert [one.direction for one in found] == ["mean", "mean", "full", "full"]
