"""Exact nearest neighbours by blocked matrix products, in one or in both directions.

In: vectors (N, D) and (M, D), dense or sparse rows. Out: `Neighbours` with scores and indices, best first. Memory is
bounded by one block of similarities, whatever N and M. Equal scores go to the lower index, so results do not depend on
the number of threads or on the selection algorithm.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, TypeAlias, TypeGuard, Union

import numpy as np
import torch

from mlcl.core.errors import UserError
from mlcl.retrieval.neighbours import Best, Neighbours, TwoWaySearch

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

Vectors: TypeAlias = Union[np.ndarray, "csr_matrix"]
"""(N, D) rows: a dense float array, or a `scipy.sparse` CSR matrix."""

_ROWS = _COLUMNS = 2048  # one tile of float32 similarities is 16 MiB, which a cache may hold


def unit(vectors: Vectors) -> Vectors:
    """Rows scaled to length 1, as float32; zero rows stay zero.

    Raises:
        UserError: not a matrix, or it has values that are not finite.
    """
    if _is_sparse(vectors):
        from scipy import sparse

        rows = vectors.tocsr().astype(np.float32)
        lengths = np.sqrt(np.asarray(rows.multiply(rows).sum(axis=1), dtype=np.float64)).ravel()
        return sparse.diags(1.0 / np.where(lengths > 0, lengths, 1.0)).dot(rows).astype(np.float32).tocsr()
    rows = np.asarray(vectors)
    if rows.ndim != 2:
        raise UserError(f"vectors have the shape {rows.shape}, expected (N, D)")
    # In float64, so that the squares of large half-precision values do not overflow
    lengths = np.sqrt(np.einsum("nd,nd->n", rows, rows, dtype=np.float64))
    if not np.isfinite(lengths).all():
        bad = int(np.flatnonzero(~np.isfinite(lengths))[0])
        raise UserError(f"vector {bad} has values that are not finite", remedy="check the encoder that made it")
    lengths[lengths == 0] = 1.0
    result = np.empty(rows.shape, np.float32)
    for start in range(0, len(rows), _ROWS):  # block by block, for the division makes float64
        block = slice(start, start + _ROWS)
        result[block] = rows[block] / lengths[block, None]
    return result


def nearest(queries: Vectors, keys: Vectors, k: int) -> Neighbours:
    """The `k` keys with the largest dot product (the cosine, for unit vectors) for each query.

    Args:
        queries: (N, D).
        keys: (M, D).
        k: Neighbours per query; M if M is smaller.
    """
    k, device = checked_shapes(queries, keys, k), torch.device("cpu")
    best = Best(queries.shape[0], k, device)
    for start in range(0, queries.shape[0], _ROWS):
        for tile, offset in _products(queries[start : start + _ROWS], keys, device):
            best.update(start, tile, offset)
    return best.neighbours()


def nearest_both(x: Vectors, y: Vectors, k: int) -> tuple[Neighbours, Neighbours]:
    """Neighbours of each x among y and of each y among x; every similarity is computed once.

    Args:
        x: (N, D).
        y: (M, D).
        k: Neighbours per query; N or M where those are smaller.
    """
    return BothWays(x, y, k).run()


class BothWays(TwoWaySearch):
    """The exact search: the next rows of x are compared with all of y, and every similarity serves both directions.

    Args:
        x: (N, D).
        y: (M, D).
        k: Neighbours per query; N or M where those are smaller.
        device: Where the products are made, `cpu` or a GPU. All scores and indices are kept there; of the vectors,
            one block of each side.
    """

    def __init__(self, x: Vectors, y: Vectors, k: int, *, device: str | torch.device = "cpu") -> None:
        checked_shapes(x, y, k)
        self._x, self._y = x, y
        self._device = torch.device(device)
        super().__init__(x.shape[0], y.shape[0], k, x.shape[0], self._device)
        # What is copied to a GPU has to be worth it: each row of y serves so many rows of x
        self._rows = _ROWS if self._device.type == "cpu" else 4 * _ROWS

    def advance(self) -> None:
        """Compare the next rows of x."""
        start = self.done
        rows = self._x[start : start + self._rows]
        for tile, offset in _products(rows, self._y, self._device):
            self.forward.update(start, tile, offset)
            self.backward.update(offset, tile.T, start)
        self.done = start + rows.shape[0]


def _products(rows: Vectors, y: Vectors, device: torch.device) -> Iterator[tuple[torch.Tensor, int]]:
    """Yield `(similarities (n, m) of all rows with m of y, first of these in y)`, ascending.

    Each takes the memory of the one before.
    """
    sparse = _is_sparse(rows) or _is_sparse(y)
    queries: Any = rows if sparse else _tensor(rows, device)
    place = torch.empty(0, device=device)
    for offset in range(0, y.shape[0], _COLUMNS):
        columns = y[offset : offset + _COLUMNS]
        if sparse:
            product = queries @ columns.T
            yield _tensor(product.toarray() if _is_sparse(product) else product, device), offset
        else:
            place = place.resize_(rows.shape[0], columns.shape[0])
            yield torch.mm(queries, _tensor(columns, device).T, out=place), offset


def _tensor(rows: Any, device: torch.device) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(rows, dtype=np.float32)).to(device)


def _is_sparse(vectors: Any) -> TypeGuard[Any]:
    return hasattr(vectors, "tocsr")


def checked_shapes(queries: Vectors, keys: Vectors, k: int) -> int:
    """How many neighbours each query can have, k or the number of keys.

    Raises:
        UserError: k below 1, or vectors that cannot be compared.
    """
    if k < 1:
        raise UserError(f"k={k}: the number of neighbours must be at least 1")
    if queries.ndim != 2 or keys.ndim != 2 or queries.shape[1] != keys.shape[1]:
        raise UserError(f"vectors of the shapes {queries.shape} and {keys.shape} cannot be compared, expected (N, D)")
    return min(k, keys.shape[0])
