"""Exact nearest neighbours by blocked matrix products, in one or in both directions.

In: vectors (N, D) and (M, D), dense or sparse rows. Out: `Neighbours` with scores and indices, best first. Memory is
bounded by one block of similarities, whatever N and M. Equal scores go to the lower index, so results do not depend on
the number of threads or on the selection algorithm.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
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
    k, device = checked_shapes(queries, keys, k), torch.device("cpu")
    best = _Best(queries.shape[0], k, device)
    for start in range(0, queries.shape[0], _ROWS):
        for block, offset in _products(queries[start : start + _ROWS], keys, device):
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
    while search.done < search.total:
        search.advance()
    return search.neighbours()


class BothWays:
    """Neighbours of each x among y and of each y among x, some rows of x at a time, so that it can be continued.

    Args:
        x: (N, D).
        y: (M, D).
        k: Neighbours per query; N or M where those are smaller.
        device: Where the products are made, `cpu` or a GPU. All scores and indices are kept there; of the vectors,
            one block of each side.

    Attributes:
        done: Rows of x that have been compared with all of y.
        total: N.
    """

    def __init__(self, x: Vectors, y: Vectors, k: int, *, device: str | torch.device = "cpu") -> None:
        self._x, self._y = x, y
        self._device = torch.device(device)
        # What is copied to a GPU has to be worth it: each row of y serves so many rows of x
        self._rows = _ROWS if self._device.type == "cpu" else 8 * _ROWS
        self._forward = _Best(x.shape[0], checked_shapes(x, y, k), self._device)
        self._backward = _Best(y.shape[0], checked_shapes(y, x, k), self._device)
        self.done, self.total = 0, x.shape[0]

    def advance(self) -> None:
        """Compare the next rows of x."""
        start = self.done
        rows = self._x[start : start + self._rows]
        for block, offset in _products(rows, self._y, self._device):
            self._forward.update(start, block, offset)
            self._backward.update(offset, block.T.contiguous(), start)
        self.done = start + rows.shape[0]

    def state(self) -> dict[str, np.ndarray]:
        """What has been found so far: `done` () and the scores and indices of both directions."""
        return {
            "done": np.array(self.done),
            "forward_scores": self._forward.scores.cpu().numpy(),
            "forward_index": self._forward.index.cpu().numpy(),
            "backward_scores": self._backward.scores.cpu().numpy(),
            "backward_index": self._backward.index.cpu().numpy(),
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
            best.scores = torch.from_numpy(np.array(state[f"{name}_scores"])).to(self._device)
            best.index = torch.from_numpy(np.array(state[f"{name}_index"])).to(self._device)
        self.done = int(state["done"])

    def neighbours(self) -> tuple[Neighbours, Neighbours]:
        """Forward and backward neighbours, once `done` is `total`."""
        return self._forward.neighbours(), self._backward.neighbours()


class _Best:
    """The best k so far of every query; blocks of keys must come in ascending order for the tie-break."""

    def __init__(self, n: int, k: int, device: torch.device) -> None:
        self.scores = torch.full((n, k), -torch.inf, device=device)
        self.index = torch.full((n, k), -1, dtype=torch.int64, device=device)

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
        return Neighbours(self.scores.cpu().numpy(), self.index.cpu().numpy())


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


def _products(rows: Vectors, y: Vectors, device: torch.device) -> Iterator[tuple[torch.Tensor, int]]:
    """Yield `(similarities (n, m) of all rows with m of y, first of these in y)`, ascending."""
    sparse = _is_sparse(rows) or _is_sparse(y)
    queries: Any = rows if sparse else _tensor(rows, device)
    for offset in range(0, y.shape[0], _COLUMNS):
        columns = y[offset : offset + _COLUMNS]
        if sparse:
            product = queries @ columns.T
            yield _tensor(product.toarray() if _is_sparse(product) else product, device), offset
        else:
            yield queries @ _tensor(columns, device).T, offset


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
