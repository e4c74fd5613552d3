from __future__ import annotations

import numpy as np
import pytest

from mlcl.tasks._bootstrap import bootstrap_groups, bootstrap_ratio
from mlcl.tasks._statistics import bootstrap_mean


def test_groups_of_one_give_the_interval_of_the_mean():
    values = np.random.default_rng(0).normal([10, 5], [2, 1], size=(300, 2))
    low, high = bootstrap_groups(values, np.arange(300))
    for column in (0, 1):
        assert (low[column], high[column]) == pytest.approx(bootstrap_mean(values[:, column]), abs=0.05)


def test_repeated_values_in_a_group_do_not_narrow_the_interval():
    values = np.random.default_rng(1).integers(0, 2, size=60).astype(float)
    alone = np.ravel(bootstrap_groups(values[:, None], np.arange(60)))
    repeated = np.ravel(bootstrap_groups(np.repeat(values, 5)[:, None], np.repeat(np.arange(60), 5)))
    assert repeated == pytest.approx(alone, abs=0.03)
    naive = bootstrap_mean(np.repeat(values, 5))
    assert repeated[1] - repeated[0] > 1.8 * (naive[1] - naive[0])


def test_units_that_add_nothing_do_not_change_a_ratio():
    sums = np.random.default_rng(2).integers(0, 3, size=(80, 2))

    def ratio(totals):
        return totals[:, :1] / np.maximum(totals.sum(axis=1, keepdims=True), 1)

    padded = np.concatenate([sums, np.zeros((400, 2), int)])
    first = np.ravel(bootstrap_ratio(sums, ratio))
    assert np.ravel(bootstrap_ratio(padded, ratio)) == pytest.approx(first, abs=0.02)
    assert (np.ravel(bootstrap_ratio(sums, ratio)) == first).all()
