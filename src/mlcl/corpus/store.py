"""The corpus on disk: rows in, a folder of Parquet shards with a manifest out, and record batches out of that folder.

    manifest.json     schema version, counts, origins and licences, drops by reason, list of shards
    pairs/*.parquet   source_lang, target_lang, source, target, group (int64), document, origin, negatives
    mono/*.parquet    lang, text, group (int64), document, origin

Rows that share a group are versions of one sentence. Plain Parquet, so DuckDB, Polars, Spark, Ray and `datasets` read
it as it is.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from mlcl.core.errors import UserError
from mlcl.core.files import read_json, write_json
from mlcl.core.progress import track

SCHEMA_VERSION = 1

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

LENGTH_EDGES = (0, 5, 10, 20, 30, 40, 60, 80, 100, 150, 200, 300, 500, 1000)
"""Left edges of the histogram of lengths in characters; the last bin is open."""

_ROW_GROUP = 65_536
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
            if _sha256(file) != shard["sha256"]:
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

    Attributes:
        texts_per_origin: Sentences written so far, by their origin.
    """

    def __init__(self, folder: Path, rows_per_shard: int = 500_000) -> None:
        self.folder = folder
        self._shards = {
            kind: _Shards(folder, kind, schema, rows_per_shard) for kind, schema in (("pairs", PAIRS), ("mono", MONO))
        }
        self._sentences: Counter[tuple[str, str]] = Counter()  # (kind, language) -> sentences
        self._directions: Counter[tuple[str, ...]] = Counter()
        self._lengths: dict[str, NDArray[np.int64]] = {}
        self.texts_per_origin: Counter[str] = Counter()
        self._last_source: tuple[Any, Any, Any] | None = None

    def write_pairs(self, rows: Rows) -> None:
        """Append pair rows; neighbouring rows with the same group and source are one multi-parallel record."""
        table = _table(rows, PAIRS)
        self._directions.update(_count(table, "source_lang", "target_lang"))
        self._count("pairs", table, "target_lang", "target")
        self._count("pairs", self._new_sources(table), "source_lang", "source")
        self._shards["pairs"].write(table)

    def write_mono(self, rows: Rows) -> None:
        """Append monolingual rows."""
        table = _table(rows, MONO)
        self._count("mono", table, "lang", "text")
        self._shards["mono"].write(table)

    def close(self, **facts: Any) -> dict[str, Any]:
        """Finish the last shards, write `manifest.json` with the counts and any further `facts`, and return it."""
        shards = [entry for kind in ("pairs", "mono") for entry in self._shards[kind].close()]
        languages = sorted({language for _, language in self._sentences})
        manifest = {
            "schema_version": SCHEMA_VERSION,
            "rows": {kind: sum(s["rows"] for s in shards if s["file"].startswith(kind)) for kind in ("pairs", "mono")},
            "languages": {tag: {kind: self._sentences[kind, tag] for kind in ("pairs", "mono")} for tag in languages},
            "language_pairs": [
                {"source_lang": source, "target_lang": target, "rows": rows}
                for (source, target), rows in sorted(self._directions.items())
            ],
            "lengths": {
                "edges": list(LENGTH_EDGES),
                "counts": {tag: counts.tolist() for tag, counts in sorted(self._lengths.items())},
            },
            **facts,
            "shards": shards,
        }
        write_json(self.folder / "manifest.json", manifest)
        return manifest

    def _count(self, kind: str, table: pa.Table, language: str, text: str) -> None:
        """Count sentences and their lengths by language, and sentences by origin."""
        self.texts_per_origin.update({origin: n for (origin,), n in _count(table, "origin").items()})
        self._sentences.update({(kind, lang): n for (lang,), n in _count(table, language).items()})
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
        columns = [table[name].combine_chunks() for name in ("group", "source_lang", "source")]
        changed = pa.scalar(False)
        for column in columns:
            changed = pc.or_(changed, pc.not_equal(column[1:], column[:-1]))
        first = tuple(column[0].as_py() for column in columns)
        mask = pa.concat_arrays([pa.array([first != self._last_source]), changed])
        self._last_source = tuple(column[-1].as_py() for column in columns)  # type: ignore[assignment]
        return table.filter(mask)


class _Shards:
    """The Parquet files of one kind, cut at a number of rows; full row groups, however the rows came."""

    def __init__(self, folder: Path, kind: str, schema: pa.Schema, rows_per_shard: int) -> None:
        self.folder, self.kind, self.schema, self.limit = folder, kind, schema, rows_per_shard
        self.entries: list[dict[str, Any]] = []
        self.writer: pq.ParquetWriter | None = None
        self.rows = 0  # written to the current file
        self.waiting: list[pa.Table] = []

    def write(self, table: pa.Table) -> None:
        self.waiting.append(table)
        if sum(part.num_rows for part in self.waiting) >= _ROW_GROUP:
            rest = pa.concat_tables(self.waiting)
            while rest.num_rows >= _ROW_GROUP:
                rest = self._write_group(rest)
            self.waiting = [rest]

    def close(self) -> list[dict[str, Any]]:
        if self.waiting:
            rest = pa.concat_tables(self.waiting)
            while rest.num_rows:
                rest = self._write_group(rest)
        if self.writer is not None:
            self._finish()
        return self.entries

    def _write_group(self, table: pa.Table) -> pa.Table:
        """Write one row group and return the rows that are left."""
        if self.writer is None:
            (self.folder / self.kind).mkdir(parents=True, exist_ok=True)
            self.writer = pq.ParquetWriter(self._path(), self.schema, compression="zstd")
        part = table.slice(0, min(_ROW_GROUP, self.limit - self.rows))
        self.writer.write_table(part)
        self.rows += part.num_rows
        if self.rows == self.limit:
            self._finish()
        return table.slice(part.num_rows)

    def _path(self) -> Path:
        return self.folder / self.kind / f"{len(self.entries):05d}.parquet"

    def _finish(self) -> None:
        assert self.writer is not None
        self.writer.close()
        path = self._path()
        size = path.stat().st_size
        self.entries.append(
            {"file": f"{self.kind}/{path.name}", "rows": self.rows, "bytes": size, "sha256": _sha256(path)}
        )
        self.writer, self.rows = None, 0


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as handle:
        while block := handle.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _table(rows: Rows, schema: pa.Schema) -> pa.Table:
    if isinstance(rows, list):
        return pa.Table.from_pylist(rows, schema=schema)
    table = pa.Table.from_batches([rows]) if isinstance(rows, pa.RecordBatch) else rows
    if "negatives" in schema.names and "negatives" not in table.column_names:
        table = table.append_column("negatives", pa.nulls(table.num_rows, pa.list_(pa.string())))
    return table.select(schema.names).cast(schema)


def _count(table: pa.Table, *columns: str) -> Counter[tuple[str, ...]]:
    counted = table.group_by(list(columns)).aggregate([([], "count_all")]).to_pylist()
    return Counter({tuple(row[name] for name in columns): row["count_all"] for row in counted})
