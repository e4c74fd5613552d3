"""The second pass of a build: the cleaned texts again, and of those that stay the rows of the corpus.

In: what was selected of the spool. Out: rows in a `CorpusWriter`, and duplicates counted as dropped.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from mlcl.core.progress import rated
from mlcl.corpus import dedup
from mlcl.corpus.selection import Selection
from mlcl.corpus.store import CorpusWriter
from mlcl.corpus.tally import Tally

_SAMPLES = 10  # texts of the largest group


def write_rows(selection: Selection, writer: CorpusWriter, tally: Tally, show: bool) -> list[str]:
    """Write the versions that are kept; returns samples of the largest group.

    What is not kept is a duplicate, or a near-duplicate where it would stay if only equal texts were duplicates.
    """
    largest = selection.largest["group"]
    samples: list[str] = []
    start = records_before = 0
    with rated("writing", len(selection.keep), "texts", show) as progress:
        for table in selection.batches():
            part = slice(start, start + table.num_rows)
            start += table.num_rows
            kept, exact = selection.keep[part], selection.exact[part]
            for reason, lost in (("duplicate", ~kept & ~exact), ("near-duplicate", ~kept & exact)):
                for row in table.filter(pa.array(lost)).select(["origin", "lang", "text"]).to_pylist():
                    tally.add(reason, row["origin"], row["lang"], row["text"])

            first = dedup.first_version(table["record"].to_numpy())
            group, records = _groups(first, kept, selection.record_groups[records_before:])
            records_before += records
            alone = np.bincount(first, minlength=len(first))[first] == 1
            targets = np.flatnonzero(kept & (first != np.arange(len(first))))
            writer.write_pairs(_pairs(table, first[targets], targets, group))
            writer.write_mono(_mono(table, np.flatnonzero(kept & alone), group))

            if len(samples) < _SAMPLES:
                members = table.filter(pa.array(group == largest)).slice(0, _SAMPLES - len(samples)).to_pylist()
                samples += [f"{row['lang']}: {row['text'][:160]}" for row in members]
            progress(start, table.num_rows)
    return samples


def _groups(
    first: NDArray[np.int64], kept: NDArray[np.bool_], record_groups: NDArray[np.integer]
) -> tuple[NDArray[np.int64], int]:
    """The group of each version (n,), -1 where it is not kept, and how many records are kept."""
    group = np.full(len(first), -1, dtype=np.int64)
    records = dedup.numbered(first[kept])
    group[kept] = record_groups[records]
    return group, int(records[-1]) + 1 if len(records) else 0


def _pairs(
    table: pa.Table, sources: NDArray[np.int64], targets: NDArray[np.int64], group: NDArray[np.int64]
) -> pa.Table:
    source, target = table.take(pa.array(sources)), table.take(pa.array(targets))
    return pa.table(
        {
            "source_lang": source["lang"],
            "target_lang": target["lang"],
            "source": source["text"],
            "target": target["text"],
            "group": group[targets],
            "document": source["document"],
            "origin": source["origin"],
            "negatives": source["negatives"],
        }
    )


def _mono(table: pa.Table, rows: NDArray[np.int64], group: NDArray[np.int64]) -> pa.Table:
    alone = table.take(pa.array(rows))
    return alone.drop_columns(["negatives"]).append_column("group", pa.array(group[rows]))
