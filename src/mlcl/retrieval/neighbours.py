"""Neighbours that are found some at a time: the best so far of each query, and a search in both directions.

In: scores of queries with candidates, a tile of the matrix at a time or the final ones. Out: `Neighbours`. A search can
be stopped, kept in a file, and continued.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch

from mlcl.core.errors import UserError

_SPAN = 64  # candidates whose maximum decides whether they are looked at


@dataclass(frozen=True)
class Neighbours:
    """The k nearest neighbours of N queries.

    Attributes:
        scores: (N, k) float32, descending.
        index: (N, k) int64, rows of the searched vectors.
    """

    scores: np.ndarray
    index: np.ndarray


class TwoWaySearch(ABC):
    """Neighbours of each x among y and of each y among x, some queries at a time, so that it can be continued.

    Args:
        n: Number of x.
        m: Number of y.
        k: Neighbours per query; n or m where those are smaller.
        total: Queries that `advance` goes through.
        device: Where scores and indices are kept.

    Attributes:
        forward: The best so far of each x.
        backward: The best so far of each y.
        done: Queries that the search is through with, of `total`.
    """

    def __init__(self, n: int, m: int, k: int, total: int, device: torch.device) -> None:
        self.forward, self.backward = Best(n, min(k, m), device), Best(m, min(k, n), device)
        self.done, self.total = 0, total

    @abstractmethod
    def advance(self) -> None:
        """Go through the next queries."""

    def run(self) -> tuple[Neighbours, Neighbours]:
        """Forward and backward neighbours of all queries."""
        while self.done < self.total:
            self.advance()
        return self.neighbours()

    def neighbours(self) -> tuple[Neighbours, Neighbours]:
        """Forward and backward neighbours as far as they are known: all, once `done` is `total`."""
        return self.forward.neighbours(), self.backward.neighbours()

    def state(self) -> dict[str, np.ndarray]:
        """What has been found so far: `done` () and the scores and indices of both directions."""
        forward, backward = self.neighbours()
        return {
            "done": np.array(self.done),
            "forward_scores": forward.scores,
            "forward_index": forward.index,
            "backward_scores": backward.scores,
            "backward_index": backward.index,
        }

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        """Go on from a `state` of the same vectors.

        Raises:
            UserError: its arrays are of another shape.
        """
        for name, mine in self.state().items():
            if name != "done" and state[name].shape != mine.shape:
                raise UserError(f"the kept {name} have the shape {state[name].shape}, expected {mine.shape}")
        for name, best in (("forward", self.forward), ("backward", self.backward)):
            best.scores.copy_(torch.from_numpy(np.array(state[f"{name}_scores"])))
            best.index.copy_(torch.from_numpy(np.array(state[f"{name}_index"])))
        self.done = int(state["done"])


class Best:
    """The best k so far of N queries, on a device.

    Attributes:
        scores: (N, k) float32, descending.
        index: (N, k) int64.
    """

    def __init__(self, n: int, k: int, device: torch.device) -> None:
        self.scores = torch.full((n, k), -torch.inf, device=device)
        self.index = torch.full((n, k), -1, dtype=torch.int64, device=device)

    def neighbours(self) -> Neighbours:
        """What is known so far."""
        return Neighbours(self.scores.cpu().numpy(), self.index.cpu().numpy())

    def update(self, start: int, tile: torch.Tensor, offset: int) -> None:
        """Merge the scores (n, m) of queries from `start` on with candidates from `offset` on.

        Equal scores go to the lower index, if the tiles of a query come in ascending order of their candidates. What
        costs is a look at the maximum of every 64 candidates; where it is no better than the worst that a query has,
        and once many candidates have been seen it hardly ever is, nothing else is looked at.
        """
        k = self.scores.shape[1]
        maxima = _maxima_of_spans(tile)  # (n, spans)
        width = tile.shape[1] // maxima.shape[1]  # of a span
        floor = self._floor(start, tile, maxima)  # (n,)
        rows, spans = (maxima > floor[:, None]).nonzero().unbind(1)  # (p,) in ascending order of rows, then of spans
        if not len(rows):
            return
        scores = _spans_of(tile, rows, spans, width)  # (p, width)
        pairs, places = (scores > floor[rows, None]).nonzero().unbind(1)  # (h,) likewise
        scores, rows = scores[pairs, places], rows[pairs]
        index = offset + spans[pairs] * width + places

        # What a query has, then what it may get, in one row each: (r, k + most hits of a query)
        rows, row, hits = torch.unique_consecutive(rows, return_inverse=True, return_counts=True)
        place = k + torch.arange(len(row), device=row.device) - (hits.cumsum(0) - hits)[row]
        rows = rows + start
        shape = len(rows), k + int(hits.max())
        all_scores, all_index = scores.new_full(shape, -torch.inf), index.new_zeros(shape)
        all_scores[:, :k], all_index[:, :k] = self.scores[rows], self.index[rows]
        all_scores[row, place], all_index[row, place] = scores, index
        all_scores, order = all_scores.sort(dim=1, descending=True, stable=True)  # of equal ones, earlier ones first
        self.scores[rows] = all_scores[:, :k]
        self.index[rows] = all_index.gather(1, order[:, :k])

    def _floor(self, start: int, tile: torch.Tensor, maxima: torch.Tensor) -> torch.Tensor:
        """(n,) what the score of a candidate has to be above, to be one of the best k of a query."""
        k = self.scores.shape[1]
        worst = self.scores[start : start + len(tile), -1]
        if tile.shape[1] <= k or not bool((worst == -torch.inf).any()):
            return worst
        # A query that has not had k candidates yet: at least k scores of the tile are as good as the k-th maximum
        best = maxima if maxima.shape[1] >= k else tile
        kth = best.topk(k, dim=1).values[:, -1]
        return torch.maximum(worst, torch.nextafter(kth, torch.full_like(kth, -torch.inf)))


def _maxima_of_spans(tile: torch.Tensor) -> torch.Tensor:
    """(n, spans): the maximum of every 64 columns, or of all where 64 do not divide them."""
    n, m = tile.shape
    spans = (m // _SPAN, _SPAN) if m % _SPAN == 0 else (1, m)
    if tile.is_contiguous():
        return tile.unflatten(1, spans).amax(dim=2)
    return tile.T.unflatten(0, spans).amax(dim=1).T  # as it lies in memory: a tenth of the time of the other


def _spans_of(tile: torch.Tensor, rows: torch.Tensor, spans: torch.Tensor, width: int) -> torch.Tensor:
    """(p, width): spans (p,) of columns of rows (p,) of a tile, which may lie in memory by columns."""
    n, m = tile.shape
    if tile.is_contiguous():
        return tile.view(-1, width).index_select(0, rows * (m // width) + spans)
    columns = spans[:, None] * width + torch.arange(width, device=tile.device)
    return tile.T.flatten().take(columns * n + rows[:, None])
