"""The spool between the two passes of a build: cleaned texts in one file a unit, only numbers in memory.

In: the records of a unit, one by one. Out, over all units in their order: numpy arrays (record, language, key hash) of
all versions, block by block, and the texts, batch by batch. Neither a block nor a batch cuts a record, and where
batches are cut does not depend on where units were.
"""

from __future__ import annotations

import json
from array import array
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from mlcl.core.text import key_hash
from mlcl.corpus.clean import Version

_SCHEMA = pa.schema(
    [("lang", pa.string()), ("text", pa.string()), ("document", pa.string()), ("origin", pa.string()),
     ("negatives", pa.list_(pa.string())), ("record", pa.int64()), ("key", pa.int64())]
)  # fmt: skip
_NUMBERS = ("lang", "record", "key")

Int = NDArray[np.int64]
Block = tuple[Int, Int, Int]
"""Record number, language number and key hash of some versions, each (n,)."""


class UnitFile:
    """The versions of a unit, gathered in memory and written as one Arrow file."""

    def __init__(self) -> None:
        self._columns: dict[str, Any] = {name: [] for name in _SCHEMA.names}
        self._columns |= {"record": array("q"), "key": array("q")}
        self._records = 0

    def add(self, versions: Sequence[Version], document: str, origin: str, negatives: Sequence[str]) -> None:
        """Append one record."""
        columns = self._columns
        for place, version in enumerate(versions):
            columns["lang"].append(version.lang)
            columns["text"].append(version.text)
            columns["document"].append(document)
            columns["origin"].append(origin)
            columns["negatives"].append(list(negatives) if negatives and not place else None)
            columns["record"].append(self._records)
            columns["key"].append(key_hash(version.key))
        self._records += 1

    def write(self, path: Path, facts: dict[str, Any]) -> None:
        """Write the file, with facts that JSON can hold beside the texts."""
        metadata = {"facts": json.dumps({**facts, "records": self._records, "versions": len(self._columns["key"])})}
        schema = _SCHEMA.with_metadata(metadata)
        batch = pa.RecordBatch.from_pydict(self._columns, schema=schema)
        options = pa.ipc.IpcWriteOptions(compression="lz4")
        with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, schema, options=options) as writer:
            writer.write_batch(batch)


class Spool:
    """The units of a build, in order.

    Args:
        files: One for each unit.
        rows_per_batch: About how many versions are in memory at a time in the second pass.

    Attributes:
        facts: What was written beside the texts of each unit.
        versions: Number of versions.
    """

    def __init__(self, files: Sequence[Path], rows_per_batch: int = 65_536) -> None:
        self.files, self.rows_per_batch = files, rows_per_batch
        self.facts = [unit_facts(file) for file in files]
        self.versions = sum(facts["versions"] for facts in self.facts)

    def blocks(self) -> Iterator[Block]:
        """Record, language and key of every version, a unit at a time; languages are numbered as they first come."""
        tags: dict[str, int] = {}
        for table, first_record in self._tables(_NUMBERS):
            encoded = table["lang"].combine_chunks().dictionary_encode()
            numbers = [tags.setdefault(tag, len(tags)) for tag in encoded.dictionary.to_pylist()]
            languages = np.asarray(numbers, dtype=np.int64)[encoded.indices.to_numpy()]
            yield table["record"].to_numpy() + first_record, languages, table["key"].to_numpy()

    def batches(self) -> Iterator[pa.Table]:
        """The second pass: lang, text, document, origin, negatives and record number, in the order they came."""
        waiting: list[pa.Table] = []
        for table, first_record in self._tables(None):
            place = table.schema.get_field_index("record")
            records = pa.array(table["record"].to_numpy() + first_record)
            waiting.append(table.set_column(place, "record", records).drop_columns(["key"]))
            if sum(part.num_rows for part in waiting) >= self.rows_per_batch:
                rest = pa.concat_tables(waiting)
                while (cut := self._cut(rest)) is not None:
                    yield rest.slice(0, cut).combine_chunks()
                    rest = rest.slice(cut)
                waiting = [rest]
        if waiting and (rest := pa.concat_tables(waiting)).num_rows:
            yield rest.combine_chunks()

    def _cut(self, table: pa.Table) -> int | None:
        """Where the first record ends that makes a full batch; None where more rows have to come first."""
        records = table["record"].to_numpy()
        if len(records) < self.rows_per_batch:
            return None
        return int(np.searchsorted(records, records[self.rows_per_batch - 1], side="right"))

    def _tables(self, columns: Sequence[str] | None) -> Iterator[tuple[pa.Table, int]]:
        """The table of each unit, and the number of its first record."""
        first = 0
        chosen = None if columns is None else sorted(_SCHEMA.get_field_index(name) for name in columns)
        for file, facts in zip(self.files, self.facts, strict=True):
            with pa.OSFile(str(file), "rb") as source:
                options = pa.ipc.IpcReadOptions(included_fields=chosen)
                table = pa.ipc.open_file(source, options=options).read_all()
            yield table.replace_schema_metadata(None), first
            first += facts["records"]


def unit_facts(file: Path) -> dict[str, Any]:
    """What was written beside the texts of a unit."""
    with pa.OSFile(str(file), "rb") as source:
        return json.loads(pa.ipc.open_file(source).schema.metadata[b"facts"])  # type: ignore[no-any-return]
