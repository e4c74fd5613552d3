"""Several corpora as one: rows of all go in, in the order given; one corpus with groups over all of them comes out.

What a build would have done with their records together is done here: pairs and single texts that came before are
dropped and counted, records with the same first version, or that share half of their texts, become one group, and the
groups that the corpora had are kept. Texts stay on disk; 34 bytes for each text are in memory.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from mlcl.core.progress import track
from mlcl.core.text import key_hash, normalise_key
from mlcl.corpus import dedup
from mlcl.corpus.derive import DerivedCorpus
from mlcl.corpus.rows import SIDES, batches, text_columns
from mlcl.corpus.store import Corpus

Int = NDArray[np.int64]


class _Versions:
    """The versions of all records, as `dedup` wants them, and which row each belongs to."""

    def __init__(self) -> None:
        self.records, self.keys, self.languages = array("q"), array("q"), array("h")
        self.groups = array("q")  # those of the parents, apart for each parent
        self.row_of = array("q")  # the row that is written or not with this version; -1 for the sources of pairs
        self.row = 0
        self._tags: dict[str, int] = {}
        self._record = -1
        self._last: tuple[object, ...] | None = None

    def add(self, corpus: Corpus, offset: int, show: bool) -> int:
        """Append a corpus whose groups are moved by `offset`; returns its largest group so moved."""
        largest = offset - 1
        self._last = None
        for kind, _, batch in track(batches(corpus, text_columns("group")), f"reading {corpus.path}", show=show):
            groups = np.asarray(batch.column("group"))
            largest = max(largest, offset + int(groups.max(initial=-1)))
            moved = np.where(groups >= 0, groups + offset, -1).tolist()
            columns = [batch.column(name).to_pylist() for side in SIDES[kind] for name in side]
            for group, *sides in zip(moved, *columns, strict=True):
                if kind == "mono" or (group, *sides[:2]) != self._last or group < 0:
                    self._record += 1
                    self._last = (group, *sides[:2])
                    self._version(sides[0], sides[1], group, self.row if kind == "mono" else -1)
                if kind == "pairs":
                    self._version(sides[2], sides[3], group, self.row)
                self.row += 1
        return largest

    def _version(self, tag: str, text: str, group: int, row: int) -> None:
        self.records.append(self._record)
        self.languages.append(self._tags.setdefault(tag, len(self._tags)))
        self.keys.append(key_hash(normalise_key(text)))
        self.groups.append(group)
        self.row_of.append(row)


def merge(parents: Sequence[Corpus], folder: Path, show: bool = True) -> dict[str, Any]:
    """Write the corpora as one into a folder; returns the manifest.

    Args:
        parents: Two corpora or more; of equal texts, those of the first stay.
        folder: Usually the temporary folder of `core.files.atomic_directory`.
        show: Show progress bars.
    """
    versions = _Versions()
    offset = 0
    for corpus in parents:
        offset = versions.add(corpus, offset, show) + 1
    records, keys, before, row_of = (
        np.frombuffer(numbers, np.int64)
        for numbers in (versions.records, versions.keys, versions.groups, versions.row_of)
    )
    keep = dedup.keep_first(records, np.frombuffer(versions.languages, np.int16).astype(np.int64), keys)
    groups = np.full(len(keep), -1, np.int64)
    groups[keep] = _groups(records[keep], keys[keep], before[keep])

    stays, group_of = np.zeros(versions.row, bool), np.full(versions.row, -1, np.int64)
    of_a_row = row_of >= 0
    stays[row_of[of_a_row]], group_of[row_of[of_a_row]] = keep[of_a_row], groups[of_a_row]
    lost = _lost_sources(row_of, keep, versions.row)
    return _write(parents, DerivedCorpus(folder, parents), stays, group_of, lost, show)


def _groups(records: Int, keys: Int, before: Int) -> Int:
    """The group of each version (N,): components under what a build links and what the parents had linked."""
    linked = dedup.group_ids(records, keys)
    count, known = int(linked.max(initial=-1)) + 1, before >= 0
    _, old = np.unique(before[known], return_inverse=True)
    roots = dedup.connected_components(count + int(old.max(initial=-1)) + 1, linked[known], count + old)
    _, ids = np.unique(roots[linked], return_inverse=True)
    return ids.astype(np.int64)


def _lost_sources(row_of: Int, keep: NDArray[np.bool_], rows: int) -> NDArray[np.bool_]:
    """(rows,) where a record of pairs begins of which no row stays: its source is dropped with them."""
    sources = np.flatnonzero(row_of < 0)
    lost = np.zeros(rows, bool)
    lost[row_of[sources[~keep[sources]] + 1]] = True
    return lost


def _write(
    parents: Sequence[Corpus],
    out: DerivedCorpus,
    stays: NDArray[np.bool_],
    group_of: Int,
    lost: NDArray[np.bool_],
    show: bool,
) -> dict[str, Any]:
    first = 0
    for corpus in parents:
        rows = 0
        for kind, start, batch in track(batches(corpus), f"writing {corpus.path}", show=show):
            here = slice(first + start, first + start + batch.num_rows)
            rows = start + batch.num_rows
            for row in batch.filter(pa.array(~stays[here])).to_pylist():
                language, text = SIDES[kind][-1]
                out.tally.add("duplicate", row["origin"], row[language], row[text])
            for row in batch.filter(pa.array(lost[here])).to_pylist():
                out.tally.add("duplicate", row["origin"], row["source_lang"], row["source"])
            place = batch.schema.get_field_index("group")
            moved = pa.Table.from_batches([batch]).set_column(place, "group", pa.array(group_of[here]))
            out.write(kind, moved.filter(pa.array(stays[here])))
        first += rows
    return out.close()
