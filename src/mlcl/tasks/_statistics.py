"""Statistics of scores: numbers in, intervals that hold for small samples and rank correlation with ties out."""

from __future__ import annotations

import math

import numpy as np

_Z = 1.959963984540054  # 97.5 % quantile of the normal distribution: intervals are 95 %


def wilson(share: float, n: int) -> tuple[float, float]:
    """95 % interval of a share of n trials (Wilson 1927); it holds near 0 and 1 too.

    For the mean of two shares over the same n trials it is on the safe side: that mean varies no more than one share.
    """
    centre = (share + _Z**2 / (2 * n)) / (1 + _Z**2 / n)
    half = _Z / (1 + _Z**2 / n) * math.sqrt(share * (1 - share) / n + _Z**2 / (4 * n**2))
    return max(0.0, centre - half), min(1.0, centre + half)


def spearman(x: np.ndarray, y: np.ndarray) -> float:
    """Spearman's rank correlation of two samples (N,), ties at their mean rank; 0 where one sample is constant."""
    left, right = _ranks(x), _ranks(y)
    left, right = left - left.mean(), right - right.mean()
    scale = math.sqrt(float(left @ left) * float(right @ right))
    return float(left @ right) / scale if scale else 0.0


def _ranks(values: np.ndarray) -> np.ndarray:
    """Ranks from 1 (N,), equal values sharing the mean of their places."""
    _, place, count = np.unique(np.asarray(values), return_inverse=True, return_counts=True)
    last = np.cumsum(count)
    return (last - (count - 1) / 2)[place.ravel()]


def spearman_interval(correlation: float, n: int) -> tuple[float, float]:
    """95 % interval of a Spearman correlation of n pairs, by Fisher's z with the variance of Bonett & Wright (2000)."""
    if n < 4:
        return -1.0, 1.0
    clipped = min(max(correlation, -1 + 1e-12), 1 - 1e-12)
    half = _Z * math.sqrt((1 + clipped**2 / 2) / (n - 3))
    return math.tanh(math.atanh(clipped) - half), math.tanh(math.atanh(clipped) + half)


def bootstrap_mean(values: np.ndarray, rounds: int = 2000) -> tuple[float, float]:
    """95 % percentile interval of the mean of values (N,) under resampling of the values; the same in every run."""
    values = np.asarray(values, dtype=np.float64)
    drawn = np.random.default_rng(0).integers(0, len(values), size=(rounds, len(values)))
    low, high = np.quantile(values[drawn].mean(axis=1), [0.025, 0.975])
    return float(low), float(high)
