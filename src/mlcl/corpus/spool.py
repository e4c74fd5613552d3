"""The spool between the two passes of a build: cleaned texts in one file a unit, only numbers in memory.

In: the records of a unit, one by one. Out, over all units in their order: numpy arrays (record, language, key hash) of
all versions and their texts, a unit at a time. A unit does not cut a record.
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

    Attributes:
        first_version: Number of the first version of each unit, and of all versions at the end (U + 1,).
        first_record: The same of records (U + 1,).
    """

    def __init__(self, files: Sequence[Path]) -> None:
        self.files = tuple(files)
        sizes = [(facts["versions"], facts["records"]) for facts in map(unit_facts, files)]
        self.first_version, self.first_record = np.cumsum([(0, 0), *sizes], axis=0, dtype=np.int64).T

    @property
    def versions(self) -> int:
        """Number of versions."""
        return int(self.first_version[-1])

    def blocks(self) -> Iterator[Block]:
        """Record, language and key of every version, a unit at a time; languages are numbered as they first come."""
        tags: dict[str, int] = {}
        for table in self.tables(_NUMBERS):
            yield table["record"].to_numpy(), language_numbers(table["lang"], tags), table["key"].to_numpy()

    def tables(self, columns: Sequence[str]) -> Iterator[pa.Table]:
        """Some columns of every version, a unit at a time: `lang, text, document, origin, negatives, record, key`."""
        for number in range(len(self.files)):
            yield self.unit(number, columns)

    def unit(self, number: int, columns: Sequence[str]) -> pa.Table:
        """Some columns of one unit."""
        table = read_unit(self.files[number], columns)
        if "record" not in columns:
            return table
        records = pa.array(table["record"].to_numpy() + self.first_record[number])
        return table.set_column(table.schema.get_field_index("record"), "record", records)


def read_unit(file: Path, columns: Sequence[str]) -> pa.Table:
    """Some columns of a unit, records numbered from 0."""
    chosen = sorted(_SCHEMA.get_field_index(name) for name in columns)
    with pa.OSFile(str(file), "rb") as source:
        options = pa.ipc.IpcReadOptions(included_fields=chosen)
        return pa.ipc.open_file(source, options=options).read_all().replace_schema_metadata(None)


def language_numbers(tags: pa.ChunkedArray, known: dict[str, int]) -> Int:
    """Numbers (n,) of language tags in the order in which they first come; `known` holds those so far, and grows."""
    encoded = tags.combine_chunks().dictionary_encode()
    numbers = [known.setdefault(tag, len(known)) for tag in encoded.dictionary.to_pylist()]
    return np.asarray(numbers, dtype=np.int64)[encoded.indices.to_numpy()]


def unit_facts(file: Path) -> dict[str, Any]:
    """What was written beside the texts of a unit."""
    with pa.OSFile(str(file), "rb") as source:
        return json.loads(pa.ipc.open_file(source).schema.metadata[b"facts"])  # type: ignore[no-any-return]
