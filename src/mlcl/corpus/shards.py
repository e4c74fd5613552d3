"""One Parquet file of a corpus: tables of rows in, a file of full row groups and its entry for the manifest out.

The bytes depend on the rows alone, not on the tables that they came in.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

PAIRS = pa.schema(
    [
        ("source_lang", pa.string()),
        ("target_lang", pa.string()),
        ("source", pa.string()),
        ("target", pa.string()),
        ("group", pa.int64()),
        ("document", pa.string()),
        ("origin", pa.string()),
        ("negatives", pa.list_(pa.string())),
    ]
)
MONO = pa.schema(
    [
        ("lang", pa.string()),
        ("text", pa.string()),
        ("group", pa.int64()),
        ("document", pa.string()),
        ("origin", pa.string()),
    ]
)
SCHEMAS = {"pairs": PAIRS, "mono": MONO}
"""The columns of each kind of rows, in the order of the manifest."""

_ROW_GROUP = 65_536


def shard_name(kind: str, number: int) -> str:
    """Where a shard lies in the folder of its corpus."""
    return f"{kind}/{number:05d}.parquet"


class Shard:
    """Writes one shard; a context.

    Args:
        path: The file to make.
        kind: What its rows are: pairs or mono.

    Attributes:
        rows: Rows taken so far.
    """

    def __init__(self, path: Path, kind: str) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path = path
        self._writer = pq.ParquetWriter(path, SCHEMAS[kind], compression="zstd")
        self._waiting: list[pa.Table] = []
        self.rows = self._written = 0

    def write(self, table: pa.Table) -> None:
        """Append rows of the schema."""
        self._waiting.append(table)
        self.rows += table.num_rows
        while self.rows - self._written >= _ROW_GROUP:
            self._write_group()

    def __enter__(self) -> Shard:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None and self.rows > self._written:
            self._write_group()
        self._writer.close()

    def entry(self) -> dict[str, Any]:
        """`{rows, bytes, sha256}` of the file, when it is closed."""
        return {"rows": self.rows, "bytes": self._path.stat().st_size, "sha256": sha256(self._path)}

    def _write_group(self) -> None:
        rest = pa.concat_tables(self._waiting)
        group = rest.slice(0, _ROW_GROUP)
        self._writer.write_table(group.combine_chunks())
        self._written += group.num_rows
        self._waiting = [rest.slice(group.num_rows)]


def sha256(path: Path) -> str:
    """The checksum of a file."""
    digest = hashlib.sha256()
    with path.open("rb") as handle:
        while block := handle.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
