"""The corpus on disk: rows in, a folder of Parquet shards with a manifest out, and record batches out of that folder.

    manifest.json     schema version, counts, origins and licences, drops by reason, list of shards
    pairs/*.parquet   source_lang, target_lang, source, target, group (int64), document, origin, negatives
    mono/*.parquet    lang, text, group (int64), document, origin

Rows that share a group are versions of one sentence. Plain Parquet, so DuckDB, Polars, Spark, Ray and `datasets` read
it as it is.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, TypeAlias

import pyarrow as pa
import pyarrow.parquet as pq

from mlcl.core.errors import UserError
from mlcl.core.files import read_json, write_json
from mlcl.core.progress import track
from mlcl.corpus.counts import Counts
from mlcl.corpus.shards import SCHEMAS, Shard, sha256, shard_name

SCHEMA_VERSION = 1

_DAMAGED = "restore the file, or build the corpus again"

Rows: TypeAlias = pa.RecordBatch | pa.Table | list[dict[str, Any]]


class Corpus:
    """A built corpus; use `Corpus.open`.

    Attributes:
        path: Its folder.
        manifest: The content of `manifest.json`.
    """

    def __init__(self, path: Path, manifest: dict[str, Any]) -> None:
        self.path, self.manifest = path, manifest

    @classmethod
    def open(cls, path: str | Path) -> Corpus:
        """Open a corpus folder.

        Raises:
            UserError: the folder is missing, is no corpus, has another schema version, lacks a shard, or a shard has
                another size than when it was written; `verify` also reads them.
        """
        path = Path(path)
        if not path.is_dir():
            raise UserError("no such corpus folder", path=path, remedy="build one: mlcl corpus build")
        if not (path / "manifest.json").is_file():
            raise UserError("this folder is no corpus: it has no manifest.json", path=path, remedy="mlcl corpus build")
        manifest = read_json(path / "manifest.json")
        version = manifest.get("schema_version") if isinstance(manifest, dict) else None
        if version != SCHEMA_VERSION:
            raise UserError(
                f"corpus schema version {version}, this program reads version {SCHEMA_VERSION}",
                path=path / "manifest.json",
                remedy="build the corpus again",
            )
        for shard in manifest["shards"]:
            file = path / shard["file"]
            if not file.is_file():
                raise UserError("a shard that the manifest names is missing", path=file, remedy=_DAMAGED)
            if file.stat().st_size != shard["bytes"]:
                raise UserError(
                    f"the shard has {file.stat().st_size:,} bytes, {shard['bytes']:,} were written",
                    path=file,
                    remedy=_DAMAGED,
                )
        return cls(path, manifest)

    def verify(self, show: bool = True) -> None:
        """Read every shard and compare it with its checksum.

        Args:
            show: Show a progress bar.

        Raises:
            UserError: naming the first shard that is not as it was written.
        """
        for shard in track(self.manifest["shards"], "verifying", show=show):
            file = self.path / shard["file"]
            if sha256(file) != shard["sha256"]:
                raise UserError("the shard is damaged: its sha256 is another one", path=file, remedy=_DAMAGED)

    @property
    def languages(self) -> list[str]:
        """Sorted tags of all languages that have at least one sentence."""
        return sorted(self.manifest["languages"])

    def sentences(self) -> dict[str, int]:
        """Sentences per language, in pairs and alone."""
        return {tag: counts["pairs"] + counts["mono"] for tag, counts in self.manifest["languages"].items()}

    def require(self, languages: Iterable[str]) -> None:
        """Check that languages are in the corpus.

        Raises:
            UserError: naming those that are not.
        """
        if missing := sorted(set(languages) - set(self.languages)):
            raise UserError(
                f"the corpus has no sentence in {', '.join(missing)}",
                path=self.path,
                remedy=f"it has {', '.join(self.languages)}",
            )

    def pair_batches(self, columns: list[str] | None = None, batch_size: int = 65_536) -> Iterator[pa.RecordBatch]:
        """Batches of pair rows in stored order; at most `batch_size` rows are in memory at a time."""
        return self._batches("pairs", columns, batch_size)

    def mono_batches(self, columns: list[str] | None = None, batch_size: int = 65_536) -> Iterator[pa.RecordBatch]:
        """Batches of monolingual rows in stored order; at most `batch_size` rows are in memory at a time."""
        return self._batches("mono", columns, batch_size)

    def _batches(self, kind: str, columns: list[str] | None, batch_size: int) -> Iterator[pa.RecordBatch]:
        for shard in self.manifest["shards"]:
            if shard["file"].startswith(f"{kind}/"):
                with pq.ParquetFile(self.path / shard["file"]) as file:
                    yield from file.iter_batches(batch_size=batch_size, columns=columns)


class CorpusWriter:
    """Writes shards of bounded size into a folder and, at the end, the manifest.

    Args:
        folder: Where to write, usually the temporary folder of `core.files.atomic_directory`.
        rows_per_shard: Most rows of one Parquet file.
    """

    def __init__(self, folder: Path, rows_per_shard: int = 500_000) -> None:
        self.folder, self._limit = folder, rows_per_shard
        self._counts = Counts()
        self._open: dict[str, Shard] = {}
        self._entries: dict[str, list[dict[str, Any]]] = {kind: [] for kind in SCHEMAS}

    @property
    def texts_per_origin(self) -> Counter[str]:
        """Sentences written so far, by their origin."""
        return self._counts.texts_per_origin

    def write_pairs(self, rows: Rows) -> None:
        """Append pair rows; neighbouring rows with the same group and source are one multi-parallel record."""
        self._write("pairs", as_table("pairs", rows))

    def write_mono(self, rows: Rows) -> None:
        """Append monolingual rows."""
        self._write("mono", as_table("mono", rows))

    def close(self, **facts: Any) -> dict[str, Any]:
        """Finish the last shards, write `manifest.json` with the counts and any further `facts`, and return it."""
        for kind in list(self._open):
            self._finish(kind)
        return write_manifest(self.folder, [e for kind in SCHEMAS for e in self._entries[kind]], self._counts, **facts)

    def _write(self, kind: str, table: pa.Table) -> None:
        self._counts.add(kind, table)
        while table.num_rows:
            if kind not in self._open:
                name = shard_name(kind, len(self._entries[kind]))
                self._open[kind] = Shard(self.folder / name, kind)
            shard = self._open[kind]
            part = table.slice(0, self._limit - shard.rows)
            shard.write(part)
            if shard.rows == self._limit:
                self._finish(kind)
            table = table.slice(part.num_rows)

    def _finish(self, kind: str) -> None:
        entries = self._entries[kind]
        with self._open.pop(kind) as shard:
            pass
        entries.append({"file": shard_name(kind, len(entries)), **shard.entry()})


def write_manifest(folder: Path, shards: list[dict[str, Any]], counts: Counts, **facts: Any) -> dict[str, Any]:
    """Write `manifest.json` of the corpus in a folder, and return it.

    Args:
        folder: The corpus folder.
        shards: `{file, rows, bytes, sha256}` of each shard, pairs first.
        counts: What was counted of its rows.
        facts: What else the manifest says.
    """
    rows = {kind: sum(shard["rows"] for shard in shards if shard["file"].startswith(f"{kind}/")) for kind in SCHEMAS}
    manifest = {"schema_version": SCHEMA_VERSION, "rows": rows, **counts.facts(), **facts, "shards": shards}
    write_json(folder / "manifest.json", manifest)
    return manifest


def as_table(kind: str, rows: Rows) -> pa.Table:
    """Rows as a table of the schema of their kind; `negatives` may be missing."""
    schema = SCHEMAS[kind]
    if isinstance(rows, list):
        return pa.Table.from_pylist(rows, schema=schema)
    table = pa.Table.from_batches([rows]) if isinstance(rows, pa.RecordBatch) else rows
    if "negatives" in schema.names and "negatives" not in table.column_names:
        table = table.append_column("negatives", pa.nulls(table.num_rows, pa.list_(pa.string())))
    return table.select(schema.names).cast(schema)
