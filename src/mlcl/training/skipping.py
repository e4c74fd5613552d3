"""Batches that know their number, and those that a run shall leave out.

In: a source of batches. Out: the same batches, numbered; a skipped one has no sentence.
"""

from __future__ import annotations

from torch.utils.data import Dataset

from mlcl.training.batching import Batch, make_batch


class Numbered(Dataset[Batch]):
    """Batches of a source with their numbers; those that shall be skipped have no sentence.

    A skipped batch keeps its number and its place, so all other batches and the length of the run are as they were.
    Where it is all of an update, that update has no gradient: the weights then move by the optimiser's momentum alone.
    """

    def __init__(self, source: Dataset[Batch], skip: frozenset[int] = frozenset()) -> None:
        self.source, self.skip = source, skip

    def __len__(self) -> int:
        return len(self.source)  # type: ignore[arg-type]

    def __getitem__(self, number: int) -> Batch:
        batch = self.source[number]
        if number in self.skip:
            batch = emptied(batch)
        batch.number = number
        return batch


def emptied(batch: Batch) -> Batch:
    """The batch without a sentence, in the same form."""
    empty = make_batch([], [], with_keys=batch.keys is not None)
    empty.columns = {name: rows[:0] for name, rows in batch.columns.items()}
    return empty
