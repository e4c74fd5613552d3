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

from mlcl.retrieval.knn import Neighbours

_BLOCK = 16_384
_TRAIN_PER_CELL = 64  # vectors that a centroid is learned from
_WHOLE_UP_TO = 500_000  # vectors that are kept as they are; more become codes of a byte for four values
_PROPOSED = 4  # times k candidates whose exact cosines are computed


def nearest_both_ivf(x: np.ndarray, y: np.ndarray, k: int, *, cells: int = 64) -> tuple[Neighbours, Neighbours]:
    """Neighbours of each x among y and of each y among x.

    Args:
        x: (N, D) unit vectors.
        y: (M, D) unit vectors.
        k: Neighbours per query; N or M where those are smaller.
        cells: Cells that a query looks into; more find more neighbours and take longer.
    """
    return _search(y, x, k, cells), _search(x, y, k, cells)


def _search(keys: np.ndarray, queries: np.ndarray, k: int, cells: int) -> Neighbours:
    """The k best keys of each query, of those in the cells that are looked into."""
    k = min(k, len(keys))
    index = _index(keys)
    index.nprobe = min(cells, index.nlist)
    proposed = min(_PROPOSED * k, len(keys))
    scores = np.empty((len(queries), k), np.float32)
    found = np.empty((len(queries), k), np.int64)
    for start in range(0, len(queries), _BLOCK):
        block = np.ascontiguousarray(queries[start : start + _BLOCK], np.float32)
        _, candidates = index.search(block, proposed)  # (n, proposed), -1 where the cells hold too few
        cosines = np.full(candidates.shape, -np.inf, np.float32)
        for first in range(0, len(block), 1024):  # (1024, proposed, D) floats at once
            here = slice(first, first + 1024)
            rows = keys[np.maximum(candidates[here], 0)]
            cosines[here] = np.einsum("nd,npd->np", block[here], rows)
        cosines[candidates < 0] = -np.inf
        order = np.lexsort((candidates, -cosines), axis=1)[:, :k]
        scores[start : start + len(block)] = np.take_along_axis(cosines, order, 1)
        found[start : start + len(block)] = np.take_along_axis(candidates, order, 1)
    missing = ~np.isfinite(scores)  # so few in the cells: the worst cosine there is, with the first key
    scores[missing], found[missing] = -1.0, 0
    return Neighbours(scores, found)


def _index(keys: np.ndarray) -> Any:
    """A trained FAISS index that holds the keys."""
    import faiss

    count, dimension = keys.shape
    cells = int(min(4 * math.sqrt(count), max(1, count // _TRAIN_PER_CELL), 65_536)) or 1
    quantizer = faiss.IndexFlatIP(dimension)
    index: Any
    if count <= _WHOLE_UP_TO or dimension % 4:
        index = faiss.IndexIVFFlat(quantizer, dimension, cells, faiss.METRIC_INNER_PRODUCT)
    else:
        index = faiss.IndexIVFPQ(quantizer, dimension, cells, dimension // 4, 8, faiss.METRIC_INNER_PRODUCT)
    index.cp.min_points_per_centroid = 1
    chosen = np.sort(np.random.default_rng(0).permutation(count)[: cells * _TRAIN_PER_CELL])
    index.train(np.ascontiguousarray(keys[chosen], np.float32))
    for start in range(0, count, _BLOCK):
        index.add(np.ascontiguousarray(keys[start : start + _BLOCK], np.float32))
    return index
