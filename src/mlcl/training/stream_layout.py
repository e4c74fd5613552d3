"""Which rows of a corpus each reader of a stream sees, and in which order: arithmetic, no reading.

    corpus    shards, cut into chunks of neighbouring rows that are read at once
    epoch     the chunks in an order of their own, as one long list of rows
    lane      an equal part of that list; each worker of each rank has one
    window    as many rows of a lane as the shuffle buffer holds

Everything follows from the sizes of the shards and (seed, epoch, lane, window), so a resumed run needs no state, and no
two lanes share a row.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

_CHUNK = 65_536  # rows of a chunk: a row group as a build writes it
_ORDER_STREAM = 5


@dataclass(frozen=True, slots=True)
class Span:
    """Neighbouring rows [start, stop) of a shard."""

    shard: int
    start: int
    stop: int


class Layout:
    """The lanes of one kind of rows.

    Args:
        shard_rows: Rows of each shard.
        lanes: Over all ranks.
        seed: Seed of the order.
        chunk: Most rows of a chunk.
    """

    def __init__(self, shard_rows: Sequence[int], lanes: int, seed: int, chunk: int = _CHUNK) -> None:
        self.lanes, self.seed = lanes, seed
        self.chunks = [
            Span(shard, start, min(start + chunk, rows))
            for shard, rows in enumerate(shard_rows)
            for start in range(0, rows, chunk)
        ]
        self.sizes = np.array([span.stop - span.start for span in self.chunks], dtype=np.int64)
        self.rows = int(self.sizes.sum())
        self._known: tuple[int, np.ndarray, np.ndarray] | None = None  # an epoch, its order and the ends of chunks

    def bounds(self, lane: int) -> tuple[int, int]:
        """Where a lane begins and ends in the list of an epoch; two lanes differ by at most one row."""
        return lane * self.rows // self.lanes, (lane + 1) * self.rows // self.lanes

    @property
    def longest(self) -> int:
        """Rows of the longest lane."""
        return -(-self.rows // self.lanes)

    def spans(self, epoch: int, lane: int, start: int, stop: int) -> list[Span]:
        """What to read for the rows [start, stop) of a lane; less where the lane ends before."""
        first, last = self.bounds(lane)
        start, stop = min(first + start, last), min(first + stop, last)
        order, ends = self._order(epoch)
        spans = []
        place = int(np.searchsorted(ends, start, side="right"))
        while start < stop:
            chunk = self.chunks[order[place]]
            chunk_start = int(ends[place]) - (chunk.stop - chunk.start)
            end = min(stop, int(ends[place]))
            spans.append(Span(chunk.shard, chunk.start + start - chunk_start, chunk.start + end - chunk_start))
            start, place = end, place + 1
        return spans

    def _order(self, epoch: int) -> tuple[np.ndarray, np.ndarray]:
        if self._known is None or self._known[0] != epoch:
            order = np.random.default_rng((self.seed, _ORDER_STREAM, epoch)).permutation(len(self.chunks))
            self._known = epoch, order, np.cumsum(self.sizes[order])
        return self._known[1:]


def repeats(expected: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """How often each row comes (n,), given how often it should on average (n,): the floor of that or one more.

    Their sum must be whole, and is kept. Systematic sampling: where every row should come once, every one does.
    """
    whole = np.floor(expected + 1e-9).astype(np.int64)
    rest = np.maximum(expected - whole, 0.0)
    missing = round(float(expected.sum())) - int(whole.sum())
    if missing > 0:
        order = np.lexsort((rng.random(len(rest)), rest))  # equal ones together: each kind gets its share to one row
        ends = np.cumsum(rest[order])
        points = (np.arange(missing) + rng.random()) * (ends[-1] / missing)
        np.add.at(whole, order[np.minimum(np.searchsorted(ends, points, side="right"), len(order) - 1)], 1)
    return whole
