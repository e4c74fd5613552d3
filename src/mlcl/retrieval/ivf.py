"""Nearest neighbours in both directions for collections too large to compare each with each: FAISS cells.

In: unit vectors (N, D) and (M, D), in memory or memory-mapped. Out: `Neighbours`. Each side is put into cells around
centroids (inverted file, Jégou et al. 2011), with vectors shortened to product-quantised codes where there are many;
a query looks into some of the cells. The codes only propose: the cosines that are returned, and the choice among the
proposed, are exact.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from mlcl.retrieval.knn import Neighbours, checked_shapes

_BLOCK = 16_384
_TRAIN_PER_CELL = 64  # vectors that a centroid is learned from
_WHOLE_UP_TO = 50_000  # vectors that are kept as they are; more become codes of four bits for two values,
# which are compared 16 at a time in registers (André et al. 2018, arXiv 1812.09162): at 300,000 x 256 a fifth of the
# time of one byte for four values, of the same size, at the same recall
_PROPOSED = 8  # times k candidates whose exact cosines are computed


class BothWaysIvf:
    """Neighbours of each x among y and of each y among x, some queries at a time, so that it can be continued.

    Args:
        x: (N, D) unit vectors.
        y: (M, D) unit vectors.
        k: Neighbours per query; N or M where those are smaller.
        cells: Cells that a query looks into; more find more neighbours and take longer.

    Attributes:
        done: Queries whose neighbours are known; those of x come first.
        total: N + M.
    """

    def __init__(self, x: np.ndarray, y: np.ndarray, k: int, *, cells: int = 64) -> None:
        self._sides, self._cells = (x, y), cells
        self._found = [_nothing(len(x), checked_shapes(x, y, k)), _nothing(len(y), checked_shapes(y, x, k))]
        self._index: tuple[int, Any] | None = None  # the direction that it is for
        self.done, self.total = 0, len(x) + len(y)

    def advance(self) -> None:
        """Search for the next queries."""
        x, y = self._sides
        direction = int(self.done >= len(x))
        queries, keys = self._sides[direction], self._sides[1 - direction]
        start = self.done - direction * len(x)
        if self._index is None or self._index[0] != direction:
            self._index = None  # the memory of the other one
            self._index = direction, _index(keys, self._cells)
        block = np.ascontiguousarray(queries[start : start + _BLOCK], np.float32)
        found = self._found[direction]
        here = slice(start, start + len(block))
        found.scores[here], found.index[here] = _nearest(self._index[1], keys, block, found.index.shape[1])
        self.done += len(block)

    def state(self) -> dict[str, np.ndarray]:
        """What has been found so far, as `BothWays.state`."""
        forward, backward = self._found
        return {
            "done": np.array(self.done),
            "forward_scores": forward.scores,
            "forward_index": forward.index,
            "backward_scores": backward.scores,
            "backward_index": backward.index,
        }

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        """Go on from a `state` of the same vectors."""
        self._found = [Neighbours(state[f"{name}_scores"], state[f"{name}_index"]) for name in ("forward", "backward")]
        self.done = int(state["done"])

    def neighbours(self) -> tuple[Neighbours, Neighbours]:
        """Forward and backward neighbours, once `done` is `total`."""
        return self._found[0], self._found[1]


def nearest_both_ivf(x: np.ndarray, y: np.ndarray, k: int, *, cells: int = 64) -> tuple[Neighbours, Neighbours]:
    """Neighbours of each x among y and of each y among x, at once; see `BothWaysIvf`."""
    search = BothWaysIvf(x, y, k, cells=cells)
    while search.done < search.total:
        search.advance()
    return search.neighbours()


def _nothing(n: int, k: int) -> Neighbours:
    return Neighbours(np.full((n, k), -np.inf, np.float32), np.zeros((n, k), np.int64))


def _nearest(index: Any, keys: np.ndarray, block: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Scores and indices (n, k) of the k best keys of each query, of those in the cells that are looked into."""
    _, candidates = index.search(block, min(_PROPOSED * k, len(keys)))  # (n, proposed), -1 where the cells hold too few
    cosines = np.full(candidates.shape, -np.inf, np.float32)
    for first in range(0, len(block), 1024):  # (1024, proposed, D) floats at once
        here = slice(first, first + 1024)
        rows = keys[np.maximum(candidates[here], 0)]
        cosines[here] = np.einsum("nd,npd->np", block[here], rows)
    cosines[candidates < 0] = -np.inf
    order = np.lexsort((candidates, -cosines), axis=1)[:, :k]
    scores, found = np.take_along_axis(cosines, order, 1), np.take_along_axis(candidates, order, 1)
    missing = ~np.isfinite(scores)  # so few in the cells: the worst cosine there is, with the first key
    scores[missing], found[missing] = -1.0, 0
    return scores, found


def _index(keys: np.ndarray, probes: int) -> Any:
    """A trained FAISS index that holds the keys and looks into so many cells."""
    import faiss

    count, dimension = keys.shape
    cells = int(min(4 * math.sqrt(count), max(1, count // _TRAIN_PER_CELL), 65_536)) or 1
    quantizer = faiss.IndexFlatIP(dimension)
    index: Any
    if count <= _WHOLE_UP_TO or dimension % 2:
        index = faiss.IndexIVFFlat(quantizer, dimension, cells, faiss.METRIC_INNER_PRODUCT)
    else:
        index = faiss.IndexIVFPQFastScan(quantizer, dimension, cells, dimension // 2, 4, faiss.METRIC_INNER_PRODUCT)
    index.cp.min_points_per_centroid = 1
    chosen = np.sort(np.random.default_rng(0).permutation(count)[: cells * _TRAIN_PER_CELL])
    index.train(np.ascontiguousarray(keys[chosen], np.float32))
    for start in range(0, count, _BLOCK):
        index.add(np.ascontiguousarray(keys[start : start + _BLOCK], np.float32))
    index.nprobe = min(probes, cells)
    return index
