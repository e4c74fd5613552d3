from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from mlcl.tasks._statistics import bootstrap_mean, spearman, spearman_interval, wilson


@given(st.lists(st.tuples(st.integers(-4, 4), st.floats(-1e3, 1e3)), min_size=3, max_size=40))
@settings(max_examples=200, deadline=None)
def test_spearman_equals_scipy_ties_included(pairs):
    x, y = (np.array(side, dtype=float) for side in zip(*pairs, strict=True))
    if len(set(x)) == 1 or len(set(y)) == 1:
        assert spearman(x, y) == 0
    else:
        assert spearman(x, y) == pytest.approx(stats.spearmanr(x, y).statistic, abs=1e-9)


@pytest.mark.parametrize(("hits", "n"), [(0, 5), (5, 5), (3, 10), (640, 1000)])
def test_wilson_equals_scipy(hits, n):
    expected = stats.binomtest(hits, n).proportion_ci(method="wilson")
    assert wilson(hits / n, n) == pytest.approx((expected.low, expected.high), abs=1e-9)


def test_spearman_interval_covers_the_truth_about_95_times_in_100():
    generator = np.random.default_rng(0)
    truth = 6 / np.pi * np.arcsin(0.6 / 2)  # Spearman's rho of a normal pair with Pearson correlation 0.6
    inside = 0
    for _ in range(400):
        x, y = generator.multivariate_normal([0, 0], [[1, 0.6], [0.6, 1]], size=80).T
        low, high = spearman_interval(spearman(x, y), 80)
        inside += low <= truth <= high
    assert 0.91 <= inside / 400 <= 0.98
    assert spearman_interval(1.0, 10)[1] <= 1
    assert spearman_interval(0.3, 3) == (-1.0, 1.0)


def test_bootstrap_is_near_the_normal_interval_and_repeats():
    values = np.random.default_rng(1).normal(50, 10, size=100)
    low, high = bootstrap_mean(values)
    half = 1.96 * values.std() / 10
    assert (low, high) == pytest.approx((values.mean() - half, values.mean() + half), abs=0.3)
    assert bootstrap_mean(values) == (low, high)
