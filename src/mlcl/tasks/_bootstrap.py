"""Intervals of scores that are ratios of sums: values per unit in, 95 % intervals out; the same in every run.

The unit is what was sampled independently: a source sentence in mining, a paragraph with all its questions in question
answering. Resampling single questions would make the intervals too narrow.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

_AT_ONCE = 50


def bootstrap_ratio(
    sums: np.ndarray, score: Callable[[np.ndarray], np.ndarray], rounds: int = 2000
) -> tuple[np.ndarray, np.ndarray]:
    """95 % percentile intervals of scores that are computed from sums over units.

    Args:
        sums: (N, C) what each of N units adds to each of C sums.
        score: (R, C) totals of R resamples -> (R, S) their scores.
        rounds: Number of resamples.

    Returns:
        Lower and upper ends (S,).
    """
    generator = np.random.default_rng(0)
    sums = np.asarray(sums, dtype=np.float64)
    used = sums.any(axis=1)
    n, sums = len(sums), np.vstack([sums[used], np.zeros(sums.shape[1])])
    # Units that add nothing are drawn as one: a resample then needs one draw per unit that adds something.
    shares = np.append(np.full(len(sums) - 1, 1 / n), max(0.0, 1 - (len(sums) - 1) / n))
    scores = []
    for start in range(0, rounds, _AT_ONCE):
        counts = generator.multinomial(n, shares, size=min(_AT_ONCE, rounds - start))  # (R, units)
        scores.append(score(counts @ sums))
    low, high = np.quantile(np.concatenate(scores), [0.025, 0.975], axis=0)
    return low, high


def bootstrap_groups(values: np.ndarray, groups: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """95 % intervals of the means of values (N, S) under resampling of whole groups (N,), numbered from 0.

    Returns:
        Lower and upper ends (S,).
    """
    totals = np.zeros((int(groups.max()) + 1, values.shape[1] + 1))
    np.add.at(totals, groups, np.column_stack([values, np.ones(len(values))]))
    return bootstrap_ratio(totals, lambda sums: sums[:, :-1] / np.maximum(sums[:, -1:], 1))
