"""Nearest neighbours in both directions for collections too large to compare each with each: FAISS cells.

In: unit vectors (N, D) and (M, D), in memory or memory-mapped. Out: `Neighbours`. Each side is put into cells around
centroids (inverted file, Jégou et al. 2011), with vectors shortened to product-quantised codes where there are many;
a query looks into some of the cells. The codes only propose: the cosines that are returned, and the choice among the
proposed, are exact.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch

from mlcl.retrieval.knn import checked_shapes
from mlcl.retrieval.neighbours import Neighbours, TwoWaySearch

_BLOCK = 16_384
_TRAIN_PER_CELL = 64  # vectors that a centroid is learned from
_WHOLE_UP_TO = 50_000  # vectors that are kept as they are; more become codes of four bits for two values,
# which are compared 16 at a time in registers (André et al. 2018, arXiv 1812.09162): at 300,000 x 256 a fifth of the
# time of one byte for four values, of the same size, at the same recall
_PROPOSED = 8  # times k candidates whose exact cosines are computed


class BothWaysIvf(TwoWaySearch):
    """The search in cells: the next queries, those of x and then those of y, look into some cells of the other side.

    Args:
        x: (N, D) unit vectors.
        y: (M, D) unit vectors.
        k: Neighbours per query; N or M where those are smaller.
        cells: Cells that a query looks into; more find more neighbours and take longer.
    """

    def __init__(self, x: np.ndarray, y: np.ndarray, k: int, *, cells: int = 64) -> None:
        checked_shapes(x, y, k)
        super().__init__(len(x), len(y), k, len(x) + len(y), torch.device("cpu"))
        self._sides, self._cells = (x, y), cells
        self._index: tuple[int, Any] | None = None  # the direction that it is for

    def advance(self) -> None:
        """Search for the next queries."""
        direction = int(self.done >= len(self._sides[0]))
        queries, keys = self._sides[direction], self._sides[1 - direction]
        if self._index is None or self._index[0] != direction:
            self._index = None  # the memory of the other one
            self._index = direction, _index(keys, self._cells)
        start = self.done - direction * len(self._sides[0])
        block = np.ascontiguousarray(queries[start : start + _BLOCK], np.float32)
        best = self.backward if direction else self.forward
        here = slice(start, start + len(block))
        scores, index = _nearest(self._index[1], keys, block, best.index.shape[1])
        best.scores[here], best.index[here] = torch.from_numpy(scores), torch.from_numpy(index)
        self.done += len(block)


def nearest_both_ivf(x: np.ndarray, y: np.ndarray, k: int, *, cells: int = 64) -> tuple[Neighbours, Neighbours]:
    """Neighbours of each x among y and of each y among x, at once; see `BothWaysIvf`."""
    return BothWaysIvf(x, y, k, cells=cells).run()


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
