"""A reproducible random sample of rows: a corpus and a selection go in, row numbers come out.

The corpus is read once, column by column; in memory are as many numbers as the sample has rows. Every row that the
selection has is as likely as any other, and the same seed gives the same rows.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pyarrow as pa

from mlcl.corpus.rows import SIDES, Selection, batches
from mlcl.corpus.store import Corpus


def choose(corpus: Corpus, selection: Selection, size: int, seed: int) -> tuple[np.ndarray, int]:
    """Sorted row numbers (at most `size`,) of a sample, and how many rows the selection has.

    Each row has a random number, and the rows with the smallest stay (bottom-k sampling), so that one pass is enough.
    """
    rng = np.random.default_rng(seed)
    columns = {kind: [*(language for language, _ in SIDES[kind]), "origin"] for kind in SIDES}
    numbers, rows, matching = np.empty(0), np.empty(0, np.int64), 0
    for kind, start, batch in batches(corpus, columns):
        mine = rng.random(batch.num_rows)
        matches = np.flatnonzero(selection.mask(kind, batch))
        matching += len(matches)
        numbers, rows = np.concatenate([numbers, mine[matches]]), np.concatenate([rows, start + matches])
        if len(rows) > size:
            smallest = np.argpartition(numbers, size)[:size] if size else np.empty(0, np.int64)
            numbers, rows = numbers[smallest], rows[smallest]
    return np.sort(rows), matching


def take(corpus: Corpus, rows: np.ndarray) -> Iterator[tuple[str, pa.RecordBatch]]:
    """(kind, rows) of the given sorted row numbers, batch by batch."""
    for kind, start, batch in batches(corpus):
        first, last = np.searchsorted(rows, [start, start + batch.num_rows])
        if last > first:
            yield kind, batch.take(pa.array(rows[first:last] - start))
