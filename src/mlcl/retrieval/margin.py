"""Margin scores: a cosine judged against the neighbourhoods of both sides (Artetxe & Schwenk 2019, arXiv 1811.01136).

In: the neighbours of both directions. Out: for each query its best candidate by margin, and that score. Plain cosines
favour sentences that are close to everything ("hubs"); dividing by the mean similarity to the neighbours removes that.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

from mlcl.core.errors import UserError
from mlcl.retrieval.neighbours import Neighbours

Margin = Literal["ratio", "distance", "absolute"]
_SMALLEST = 1e-6  # the ratio is meant for positive mean similarities; below this it would blow up or change its sign


def margin_scores(cosine: np.ndarray, first_mean: np.ndarray, second_mean: np.ndarray, margin: str) -> np.ndarray:
    """Margin scores of pairs, elementwise.

    Args:
        cosine: Cosine of each pair.
        first_mean: Mean cosine of the first sentence to its k neighbours on the other side.
        second_mean: The same of the second sentence.
        margin: `ratio` (cosine / mean), `distance` (cosine - mean) or `absolute` (the cosine itself).

    Raises:
        UserError: unknown margin.
    """
    cosine = np.asarray(cosine, dtype=np.float64)
    if margin == "absolute":
        return cosine
    mean = (np.asarray(first_mean, dtype=np.float64) + np.asarray(second_mean, dtype=np.float64)) / 2
    if margin == "ratio":
        return cosine / np.maximum(mean, _SMALLEST)
    if margin == "distance":
        return cosine - mean
    raise UserError(f"unknown margin {margin!r}", remedy="known: ratio, distance, absolute")


def best_by_margin(forward: Neighbours, backward: Neighbours, margin: str) -> tuple[np.ndarray, np.ndarray]:
    """For each forward query its candidate with the largest margin score.

    Args:
        forward: Neighbours of N queries among M.
        backward: Neighbours of those M among the N.
        margin: See `margin_scores`.

    Returns:
        Index of the candidate (N,) and its score (N,) float64; of equal scores the closer neighbour wins.
    """
    query_mean = forward.scores.mean(axis=1, dtype=np.float64)  # (N,)
    key_mean = backward.scores.mean(axis=1, dtype=np.float64)  # (M,)
    scores = margin_scores(forward.scores, query_mean[:, None], key_mean[forward.index], margin)  # (N, k)
    best = scores.argmax(axis=1)[:, None]
    return np.take_along_axis(forward.index, best, 1)[:, 0], np.take_along_axis(scores, best, 1)[:, 0]
