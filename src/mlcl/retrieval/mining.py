"""Bitext mining: which source sentence translates which target sentence (Artetxe & Schwenk 2019, arXiv 1811.01136).

In: vectors of two monolingual collections. Out: candidate pairs with their margin scores, best first.
"""

from __future__ import annotations

import numpy as np

from mlcl.core.errors import UserError
from mlcl.retrieval.knn import Vectors, nearest_both, unit
from mlcl.retrieval.margin import best_by_margin
from mlcl.retrieval.neighbours import Neighbours

_RETRIEVALS = ("forward", "backward", "intersect", "max")


def mine(
    source_vectors: Vectors, target_vectors: Vectors, *, k: int = 4, margin: str = "ratio", retrieval: str = "max"
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Candidate translation pairs, scored by margin.

    Args:
        source_vectors: (N, D); lengths do not matter, rows are normalised here.
        target_vectors: (M, D).
        k: Size of the neighbourhoods.
        margin: `ratio`, `distance` or `absolute`.
        retrieval: `forward` gives the best target of every source, `backward` the best source of every target,
            `intersect` the pairs that both choose, `max` the pairs of both in order of their score, where each
            sentence is used once.

    Returns:
        `source_index`, `target_index` (int64) and `score` (float64), sorted by score descending, then by index.

    Raises:
        UserError: unknown option or shapes that do not fit.
    """
    check_retrieval(retrieval)
    source, target = unit(source_vectors), unit(target_vectors)
    if not source.shape[0] or not target.shape[0]:
        return np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.float64)
    return pairs_of(*nearest_both(source, target, k), margin=margin, retrieval=retrieval)


def check_retrieval(retrieval: str) -> None:
    """Refuse an unknown one."""
    if retrieval not in _RETRIEVALS:
        raise UserError(f"unknown retrieval {retrieval!r}", remedy=f"known: {', '.join(_RETRIEVALS)}")


def pairs_of(
    forward: Neighbours, backward: Neighbours, *, margin: str = "ratio", retrieval: str = "max"
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What `mine` returns, from the neighbours (N, k) of the sources and (M, k) of the targets."""
    check_retrieval(retrieval)
    to_target, forward_score = best_by_margin(forward, backward, margin)
    to_source, backward_score = best_by_margin(backward, forward, margin)
    sources, targets = np.arange(len(to_target)), np.arange(len(to_source))
    if retrieval == "forward":
        return _sorted(sources, to_target, forward_score)
    if retrieval == "backward":
        return _sorted(to_source, targets, backward_score)
    if retrieval == "intersect":
        mutual = to_source[to_target] == sources
        return _sorted(sources[mutual], to_target[mutual], forward_score[mutual])
    return _each_once(
        *_sorted(
            np.concatenate([sources, to_source]),
            np.concatenate([to_target, targets]),
            np.concatenate([forward_score, backward_score]),
        )
    )


def _sorted(source: np.ndarray, target: np.ndarray, score: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    order = np.lexsort((target, source, -score))
    return source[order], target[order], score[order]


def _each_once(source: np.ndarray, target: np.ndarray, score: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of pairs in order of preference, those whose sentences no earlier pair has used."""
    kept = []
    used_source: set[int] = set()
    used_target: set[int] = set()
    for place, (left, right) in enumerate(zip(source.tolist(), target.tolist(), strict=True)):
        if left not in used_source and right not in used_target:
            used_source.add(left)
            used_target.add(right)
            kept.append(place)
    return source[kept], target[kept], score[kept]
