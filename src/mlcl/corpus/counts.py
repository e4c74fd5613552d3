"""What a corpus holds, counted while its rows are written.

In: tables of rows in stored order. Out: sentences by language, rows by direction, lengths, texts by origin, for the
manifest. What was counted of parts of a corpus adds up to what is counted of the whole.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

LENGTH_EDGES = (0, 5, 10, 20, 30, 40, 60, 80, 100, 150, 200, 300, 500, 1000)
"""Left edges of the histogram of lengths in characters; the last bin is open."""

_SOURCE = ("group", "source_lang", "source")


class Counts:
    """Counts of rows.

    Attributes:
        texts_per_origin: Sentences by their origin.
    """

    def __init__(self) -> None:
        self._sentences: Counter[tuple[str, str]] = Counter()  # (kind, language) -> sentences
        self._directions: Counter[tuple[str, ...]] = Counter()
        self._lengths: dict[str, NDArray[np.int64]] = {}
        self.texts_per_origin: Counter[str] = Counter()
        self._last_source: tuple[Any, ...] | None = None

    def add(self, kind: str, table: pa.Table) -> None:
        """Count rows of a kind; neighbouring pairs with the same group and source are one record with one source."""
        if kind == "mono":
            self._add_texts(kind, table, "lang", "text")
            return
        self._directions.update(_count(table, "source_lang", "target_lang"))
        self._add_texts(kind, table, "target_lang", "target")
        self._add_texts(kind, self._new_sources(table), "source_lang", "source")

    def follow(self, table: pa.Table) -> None:
        """The pairs that are counted next follow the last row of this table, which was counted elsewhere."""
        if table.num_rows:
            self._last_source = tuple(table[name][-1].as_py() for name in _SOURCE)

    def state(self) -> dict[str, Any]:
        """All of it, for JSON; `add_state` takes it back."""
        return {
            "sentences": [[*key, count] for key, count in self._sentences.items()],
            "directions": [[*key, count] for key, count in self._directions.items()],
            "lengths": {tag: counts.tolist() for tag, counts in self._lengths.items()},
            "origins": dict(self.texts_per_origin),
        }

    def add_state(self, state: dict[str, Any]) -> None:
        """Add what was counted of other rows."""
        self._sentences.update({(kind, tag): count for kind, tag, count in state["sentences"]})
        self._directions.update({(source, target): count for source, target, count in state["directions"]})
        for tag, counts in state["lengths"].items():
            self._lengths[tag] = self._lengths.get(tag, 0) + np.asarray(counts, np.int64)
        self.texts_per_origin.update(state["origins"])

    def facts(self) -> dict[str, Any]:
        """For the manifest: `languages`, `language_pairs`, `lengths`."""
        tags = sorted({tag for _, tag in self._sentences})
        return {
            "languages": {tag: {kind: self._sentences[kind, tag] for kind in ("pairs", "mono")} for tag in tags},
            "language_pairs": [
                {"source_lang": source, "target_lang": target, "rows": rows}
                for (source, target), rows in sorted(self._directions.items())
            ],
            "lengths": {
                "edges": list(LENGTH_EDGES),
                "counts": {tag: counts.tolist() for tag, counts in sorted(self._lengths.items())},
            },
        }

    def _add_texts(self, kind: str, table: pa.Table, language: str, text: str) -> None:
        """Count sentences and their lengths by language, and sentences by origin."""
        self.texts_per_origin.update({origin: n for (origin,), n in _count(table, "origin").items()})
        self._sentences.update({(kind, tag): n for (tag,), n in _count(table, language).items()})
        bins = np.searchsorted(LENGTH_EDGES, pc.utf8_length(table[text]).to_numpy(), side="right") - 1
        encoded = table[language].combine_chunks().dictionary_encode()
        codes = encoded.indices.to_numpy()
        for code, tag in enumerate(encoded.dictionary.to_pylist()):
            counts = np.bincount(bins[codes == code], minlength=len(LENGTH_EDGES))
            self._lengths[tag] = self._lengths.get(tag, 0) + counts

    def _new_sources(self, table: pa.Table) -> pa.Table:
        """The rows whose source sentence is not that of the row before: each source counts once per record."""
        if not table.num_rows:
            return table
        columns = [table[name].combine_chunks() for name in _SOURCE]
        changed = pa.scalar(False)
        for column in columns:
            changed = pc.or_(changed, pc.not_equal(column[1:], column[:-1]))
        first = tuple(column[0].as_py() for column in columns)
        mask = pa.concat_arrays([pa.array([first != self._last_source]), changed])
        self.follow(table)
        return table.filter(mask)


def _count(table: pa.Table, *columns: str) -> Counter[tuple[str, ...]]:
    counted = table.group_by(list(columns)).aggregate([([], "count_all")]).to_pylist()
    return Counter({tuple(row[name] for name in columns): row["count_all"] for row in counted})
