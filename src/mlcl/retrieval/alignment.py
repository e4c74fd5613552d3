"""Sentence alignment of two documents that translate one another, in order, with merges and gaps.

In: unit vectors of every sentence and of every run of up to K neighbouring sentences, on both sides. Out: beads, each a
run of source sentences and a run of target sentences, one of which may be empty. Cost and idea are those of Vecalign
(Thompson & Koehn 2019): the cosine distance of two runs, divided by their distances to other runs of the documents, so
that merging everything does not pay; a gap costs a fixed share of what a bead of random sentences does. The best path
is found by dynamic programming over anti-diagonals, inside a band around the path of the same documents at half
resolution; so time and memory grow linearly with the length of the documents.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

_SAMPLES = 32  # runs that a run's distances are compared with
_GAP = 0.45  # of a sentence; less than joining it to its neighbour's translation, which costs about 0.6
_WHOLE = 96  # documents up to this many sentences are searched everywhere
_BAND = 12  # sentences to either side of the coarse path


@dataclass(frozen=True)
class Bead:
    """A run of source sentences with the run of target sentences that translates it.

    Attributes:
        source: First and last + 1 source sentence; equal for an empty run.
        target: First and last + 1 target sentence.
        cost: Cost of the bead: about 1 for runs that have nothing to do with one another, near 0 for translations.
    """

    source: tuple[int, int]
    target: tuple[int, int]
    cost: float


def runs(sentences: Sequence[str], most: int, separator: str = " ") -> list[str]:
    """The texts to embed: all sentences, then all runs of two, and so on up to `most`.

    `align` wants the vectors of `runs(source, K)` and of `runs(target, K)` in this order.
    """
    return [
        separator.join(sentences[start : start + length])
        for length in range(1, most + 1)
        for start in range(len(sentences) - length + 1)
    ]


def align(source: np.ndarray, target: np.ndarray, n: int, m: int, *, most: int = 4, gap: float = _GAP) -> list[Bead]:
    """The cheapest sequence of beads that covers both documents.

    Args:
        source: (R, D) unit vectors of `runs` of the n source sentences.
        target: (S, D) unit vectors of `runs` of the m target sentences.
        n: Source sentences.
        m: Target sentences.
        most: Longest run, the same as for `runs`.
        gap: Cost of a sentence without translation; a bead of two sentences that say different things costs about 1.

    Raises:
        ValueError: the numbers of vectors are not those of `runs`.
    """
    x, y = _by_length(source, n, most), _by_length(target, m, most)
    if not n or not m:
        return [Bead((i, i + 1), (0, 0), 1.0) for i in range(n)] + [Bead((0, 0), (j, j + 1), 1.0) for j in range(m)]
    costs = _Costs(x, y)
    beads = [(a, b) for a in range(1, len(x) + 1) for b in range(1, len(y) + 1) if min(a, b) == 1]
    return _cheapest(costs, n, m, beads, gap, _band(x[0], y[0]))


def _by_length(vectors: np.ndarray, count: int, most: int) -> list[np.ndarray]:
    """Vectors of the runs of 1, 2, ... sentences, in that order."""
    sizes = [count - length + 1 for length in range(1, most + 1) if count >= length]
    if sum(sizes) != len(vectors):
        raise ValueError(f"{len(vectors)} vectors, but {count} sentences have {sum(sizes)} runs of up to {most}")
    return np.split(np.asarray(vectors, dtype=np.float32), np.cumsum(sizes)[:-1])


class _Costs:
    """Costs of beads: distance of two runs over the mean of their distances to other runs, times their lengths."""

    def __init__(self, x: list[np.ndarray], y: list[np.ndarray]) -> None:
        self._x, self._y = x, y
        chance = np.random.default_rng(0)
        some_x, some_y = (_some(rows, chance) for rows in (x[0], y[0]))
        self._x_means = [1 - (rows @ some_y.T).mean(axis=1) for rows in x]  # of each run of x to sentences of y
        self._y_means = [1 - (rows @ some_x.T).mean(axis=1) for rows in y]

    def of(self, starts: np.ndarray, target_starts: np.ndarray, a: int, b: int) -> np.ndarray:
        """Costs (P,) of beads of a source and b target sentences that start at the given places (P,)."""
        cosine = np.einsum("pd,pd->p", self._x[a - 1][starts], self._y[b - 1][target_starts])
        usual = (self._x_means[a - 1][starts] + self._y_means[b - 1][target_starts]) / 2
        return a * b * (1 - cosine) / np.maximum(usual, 1e-3)


def _some(rows: np.ndarray, chance: np.random.Generator) -> np.ndarray:
    return rows[chance.permutation(len(rows))[:_SAMPLES]]


Band = tuple[np.ndarray, np.ndarray]
"""For each anti-diagonal i + j = d the first and the last i that is looked at, (N + M + 1,) each."""


def _everywhere(n: int, m: int) -> Band:
    diagonals = np.arange(n + m + 1)
    return np.maximum(0, diagonals - m), np.minimum(n, diagonals)


def _band(x: np.ndarray, y: np.ndarray) -> Band:
    """Where to look: everywhere in short documents, else near the path at half resolution."""
    n, m = len(x), len(y)
    low, high = _everywhere(n, m)
    if max(n, m) <= _WHOLE:
        return low, high
    coarse_x, coarse_y = _halved(x), _halved(y)
    costs = _Costs([coarse_x], [coarse_y])
    path = _cheapest(costs, len(coarse_x), len(coarse_y), [(1, 1)], _GAP, _band(coarse_x, coarse_y))
    corners = [(2 * bead.source[0], 2 * bead.target[0]) for bead in path] + [(n, m)]
    i, j = np.minimum(np.array(corners), [n, m]).T
    centre = np.interp(np.arange(n + m + 1), i + j, i)
    return (
        np.clip(np.floor(centre).astype(int) - _BAND, low, high),
        np.clip(np.ceil(centre).astype(int) + _BAND, low, high),
    )


def _halved(rows: np.ndarray) -> np.ndarray:
    """Means of neighbouring vectors, of length 1 again."""
    pairs = np.add.reduceat(rows, np.arange(0, len(rows), 2))
    return pairs / np.maximum(np.linalg.norm(pairs, axis=1, keepdims=True), 1e-9)


def _cheapest(costs: _Costs, n: int, m: int, beads: Sequence[tuple[int, int]], skip: float, band: Band) -> list[Bead]:
    """The cheapest path from (0, 0) to (n, m) inside the band; a step is a bead or a gap of one sentence."""
    steps = [(1, 0), (0, 1), *beads]
    low, high = band
    total: list[np.ndarray] = []  # of each diagonal: cost of the best path to each i
    chosen: list[np.ndarray] = []  # and the step that it came by
    for d in range(n + m + 1):
        i = np.arange(low[d], high[d] + 1)
        best = np.full(len(i), np.inf, dtype=np.float64)
        step_of = np.full(len(i), -1, dtype=np.int8)
        if d == 0:
            best[:] = 0.0
        for number, (a, b) in enumerate(steps):
            before = d - a - b
            if before < 0:
                continue
            place = i - a - low[before]
            here = np.flatnonzero((place >= 0) & (place < len(total[before])) & (d - i - b >= 0) & (i - a >= 0))
            if not len(here):
                continue
            step_cost = costs.of(i[here] - a, d - i[here] - b, a, b) if a and b else np.full(len(here), skip)
            candidate = total[before][place[here]] + step_cost
            better = candidate < best[here]
            best[here[better]] = candidate[better]
            step_of[here[better]] = number
        total.append(best)
        chosen.append(step_of)
    path = []
    i_now, d = n, n + m
    while d > 0:
        place = i_now - low[d]
        a, b = steps[chosen[d][place]]
        j_now = d - i_now
        cost = total[d][place] - total[d - a - b][i_now - a - low[d - a - b]]
        path.append(Bead((i_now - a, i_now), (j_now - b, j_now), float(cost)))
        i_now, d = i_now - a, d - a - b
    return path[::-1]
