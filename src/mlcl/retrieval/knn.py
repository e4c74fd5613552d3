"""Exact nearest neighbours by blocked matrix products, in one or in both directions.

In: vectors (N, D) and (M, D), dense or sparse rows. Out: `Neighbours` with scores and indices, best first. Memory is
bounded by one block of similarities, whatever N and M. Equal scores go to the lower index, so results do not depend on
the number of threads or on the selection algorithm.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias, TypeGuard, Union

import numpy as np
import torch

from mlcl.core.errors import UserError

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

Vectors: TypeAlias = Union[np.ndarray, "csr_matrix"]
"""(N, D) rows: a dense float array, or a `scipy.sparse` CSR matrix."""

_ROWS, _COLUMNS = 1024, 8192  # one block of float32 similarities is 32 MiB
_SPAN = 64  # columns whose maximum decides whether they are looked at; divides both of the above


@dataclass(frozen=True)
class Neighbours:
    """The k nearest neighbours of N queries.

    Attributes:
        scores: (N, k) float32, descending.
        index: (N, k) int64, rows of the searched vectors.
    """

    scores: np.ndarray
    index: np.ndarray


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
    k = _checked(queries, keys, k)
    best = _Best(queries.shape[0], k)
    for start, block, offset in _blocks(queries, keys):
        best.update(start, block, offset)
    return best.neighbours()


def nearest_both(x: Vectors, y: Vectors, k: int) -> tuple[Neighbours, Neighbours]:
    """Neighbours of each x among y and of each y among x; every similarity is computed once.

    Args:
        x: (N, D).
        y: (M, D).
        k: Neighbours per query; N or M where those are smaller.
    """
    search = BothWays(x, y, k)
    while search.done < x.shape[0]:
        search.advance()
    return search.neighbours()


class BothWays:
    """Neighbours of each x among y and of each y among x, some rows of x at a time, so that it can be continued.

    Args:
        x: (N, D).
        y: (M, D).
        k: Neighbours per query; N or M where those are smaller.

    Attributes:
        done: Rows of x that have been compared with all of y.
    """

    def __init__(self, x: Vectors, y: Vectors, k: int) -> None:
        self._x, self._y = x, y
        self._forward = _Best(x.shape[0], _checked(x, y, k))
        self._backward = _Best(y.shape[0], _checked(y, x, k))
        self.done = 0

    def advance(self) -> None:
        """Compare the next rows of x."""
        start = self.done
        rows = self._x[start : start + _ROWS]
        for _, block, offset in _blocks(rows, self._y):
            self._forward.update(start, block, offset)
            self._backward.update(offset, block.T.contiguous(), start)
        self.done = start + rows.shape[0]

    def state(self) -> dict[str, np.ndarray]:
        """What has been found so far: `done` () and the scores and indices of both directions."""
        return {
            "done": np.array(self.done),
            "forward_scores": self._forward.scores.numpy(),
            "forward_index": self._forward.index.numpy(),
            "backward_scores": self._backward.scores.numpy(),
            "backward_index": self._backward.index.numpy(),
        }

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        """Go on from a `state` of the same vectors.

        Raises:
            UserError: its arrays are of another shape.
        """
        for name, mine in self.state().items():
            if name != "done" and state[name].shape != mine.shape:
                raise UserError(f"the kept {name} have the shape {state[name].shape}, expected {mine.shape}")
        for name, best in (("forward", self._forward), ("backward", self._backward)):
            best.scores = torch.from_numpy(np.array(state[f"{name}_scores"]))
            best.index = torch.from_numpy(np.array(state[f"{name}_index"]))
        self.done = int(state["done"])

    def neighbours(self) -> tuple[Neighbours, Neighbours]:
        """Forward and backward neighbours, once `done` is N."""
        return self._forward.neighbours(), self._backward.neighbours()


class _Best:
    """The best k so far of every query; blocks of keys must come in ascending order for the tie-break."""

    def __init__(self, n: int, k: int) -> None:
        self.scores = torch.full((n, k), -torch.inf)
        self.index = torch.full((n, k), -1, dtype=torch.int64)

    def update(self, start: int, block: torch.Tensor, offset: int) -> None:
        """Merge the similarities (n, m) of queries from `start` on with keys from `offset` on."""
        k = self.scores.shape[1]
        here = slice(start, start + block.shape[0])
        scores, index = _top(block, min(k, block.shape[1]))
        scores = torch.cat([self.scores[here], scores], dim=1)  # (n, 2k); earlier keys stand first
        index = torch.cat([self.index[here], index + offset], dim=1)
        scores, order = scores.sort(dim=1, descending=True, stable=True)
        self.scores[here] = scores[:, :k]
        self.index[here] = index.gather(1, order[:, :k])

    def neighbours(self) -> Neighbours:
        return Neighbours(self.scores.numpy(), self.index.numpy())


def _top(block: torch.Tensor, k: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The k largest of each row (n, m), descending, equal scores by index (`torch.topk` promises no such order)."""
    if k == 1:
        scores, index = block.max(dim=1, keepdim=True)  # documented to give the first of equal maxima
        return scores, index
    n, m = block.shape
    if m % _SPAN or m < 4 * k * _SPAN:
        scores, index = _sorted(*block.topk(k, dim=1))
        tied = (block >= scores[:, -1:]).sum(dim=1) > k
    else:
        # Selection costs more than the product, and a maximum is the cheapest pass over the block: the k largest
        # lie in the k spans of columns with the largest maxima.
        spans = block.view(n, m // _SPAN, _SPAN)
        maxima = spans.amax(dim=2)  # (n, m / span)
        chosen = maxima.topk(k, dim=1).indices.sort(dim=1).values  # (n, k)
        candidates = spans.gather(1, chosen[:, :, None].expand(n, k, _SPAN)).reshape(n, k * _SPAN)
        scores, place = _sorted(*candidates.topk(k, dim=1))
        index = chosen.gather(1, place // _SPAN) * _SPAN + place % _SPAN
        last = scores[:, -1:]
        tied = ((maxima >= last).sum(dim=1) > k) | ((candidates >= last).sum(dim=1) > k)
    # Rows with more candidates at the k-th score than places: which of them topk took is arbitrary
    rows = tied.nonzero().squeeze(1)
    if len(rows):
        full_scores, full_index = block[rows].sort(dim=1, descending=True, stable=True)
        scores[rows], index[rows] = full_scores[:, :k], full_index[:, :k]
    return scores, index


def _sorted(scores: torch.Tensor, index: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Rows (n, k) in descending order of the scores, equal scores by index."""
    index, order = index.sort(dim=1)
    scores, order = scores.gather(1, order).sort(dim=1, descending=True, stable=True)
    return scores, index.gather(1, order)


def _blocks(x: Vectors, y: Vectors) -> Any:
    """Yield `(first row of x, similarities (n, m), first row of y)`, both ascending."""
    sparse = _is_sparse(x) or _is_sparse(y)
    for start in range(0, x.shape[0], _ROWS):
        rows = x[start : start + _ROWS]
        for offset in range(0, y.shape[0], _COLUMNS):
            columns = y[offset : offset + _COLUMNS]
            if sparse:
                product = rows @ columns.T
                yield start, _tensor(product.toarray() if _is_sparse(product) else product), offset
            else:
                yield start, _tensor(rows) @ _tensor(columns).T, offset


def _tensor(rows: Any) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(rows, dtype=np.float32))


def _is_sparse(vectors: Any) -> TypeGuard[Any]:
    return hasattr(vectors, "tocsr")


def _checked(queries: Vectors, keys: Vectors, k: int) -> int:
    if k < 1:
        raise UserError(f"k={k}: the number of neighbours must be at least 1")
    if queries.ndim != 2 or keys.ndim != 2 or queries.shape[1] != keys.shape[1]:
        raise UserError(f"vectors of the shapes {queries.shape} and {keys.shape} cannot be compared, expected (N, D)")
    return min(k, keys.shape[0])
