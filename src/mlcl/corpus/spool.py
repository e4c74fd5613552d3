"""The spool between the two passes of a build: cleaned texts on disk, only numbers in memory.

In: records, one by one. Out: numpy arrays over all versions (record, language, key hash), and the texts again, batch by
batch in the same order. A batch never cuts a record.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from mlcl.core.text import key_hash
from mlcl.corpus.clean import Version

_SCHEMA = pa.schema(
    [("lang", pa.string()), ("text", pa.string()), ("document", pa.string()), ("origin", pa.string()),
     ("negatives", pa.list_(pa.string()))]
)  # fmt: skip


class Spool:
    """A temporary Arrow file of versions; 18 bytes a version stay in memory.

    Args:
        path: Where the file goes.
        rows_per_batch: About how many versions are in memory at a time.
    """

    def __init__(self, path: Path, rows_per_batch: int = 65_536) -> None:
        self.path, self.rows_per_batch = path, rows_per_batch
        self._sink = pa.OSFile(str(path), "wb")
        self._writer = pa.ipc.new_file(self._sink, _SCHEMA, options=pa.ipc.IpcWriteOptions(compression="lz4"))
        self._columns: dict[str, list[object]] = {name: [] for name in _SCHEMA.names}
        self._records, self._languages, self._keys = array("q"), array("h"), array("q")
        self._tags: dict[str, int] = {}
        self._count = 0

    def add(self, versions: Sequence[Version], document: str, origin: str, negatives: Sequence[str]) -> None:
        """Append one record."""
        columns = self._columns
        for place, version in enumerate(versions):
            columns["lang"].append(version.lang)
            columns["text"].append(version.text)
            columns["document"].append(document)
            columns["origin"].append(origin)
            columns["negatives"].append(list(negatives) if negatives and not place else None)
            self._records.append(self._count)
            self._languages.append(self._tags.setdefault(version.lang, len(self._tags)))
            self._keys.append(key_hash(version.key))
        self._count += 1
        if len(columns["lang"]) >= self.rows_per_batch:
            self._flush()

    def finish(self) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        """End of the first pass: record number, language number and key hash of every version, each (N,)."""
        self._flush()
        self._writer.close()
        self._sink.close()
        return (
            np.frombuffer(self._records, dtype=np.int64),
            np.frombuffer(self._languages, dtype=np.int16).astype(np.int64),
            np.frombuffer(self._keys, dtype=np.int64),
        )

    def batches(self) -> Iterator[pa.Table]:
        """The second pass: the texts again, in the order they came."""
        with pa.OSFile(str(self.path), "rb") as file:
            reader = pa.ipc.open_file(file)
            for number in range(reader.num_record_batches):
                yield pa.Table.from_batches([reader.get_batch(number)])

    def _flush(self) -> None:
        if self._columns["lang"]:
            self._writer.write_batch(pa.RecordBatch.from_pydict(self._columns, schema=_SCHEMA))
            self._columns = {name: [] for name in _SCHEMA.names}
