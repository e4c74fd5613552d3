"""A corpus that is read where it lies: a folder or any fsspec URL goes in (s3://, gs://, hdfs://, memory://, ...).

Out: the same `Corpus`, whose batches come over the network; and `Shards`, which reads some rows of one shard. Nothing
is copied to the disk. The package of a protocol (`s3fs` for s3://) has to be installed.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq

from mlcl.core.errors import UserError
from mlcl.corpus.store import SCHEMA_VERSION, Corpus

_REMEDY = "copy the shard again, or build the corpus again"


def is_remote(location: str | Path) -> bool:
    """Whether a location is a URL."""
    return "://" in str(location)


def open_corpus(location: str | Path) -> Corpus:
    """The corpus in a folder or under a URL.

    Raises:
        UserError: no corpus there, another schema version, a protocol whose package is missing, or what the storage
            says.
    """
    return RemoteCorpus.open(str(location)) if is_remote(location) else Corpus.open(location)


class RemoteCorpus(Corpus):
    """A corpus under a URL; use `open_corpus`."""

    @classmethod
    def open(cls, path: str | Path) -> RemoteCorpus:
        """Read the manifest. A missing shard is noticed when it is read: looking at each takes long in a cloud."""
        url = str(path).rstrip("/")
        system, root = _system(url)
        try:
            with system.open(f"{root}/manifest.json", "rb") as handle:
                manifest = json.loads(handle.read())
        except FileNotFoundError as error:
            raise UserError("no corpus there: it has no manifest.json", path=url, remedy="mlcl corpus build") from error
        except (OSError, PermissionError) as error:
            raise UserError(f"the storage cannot be read: {_line(error)}", path=url) from error
        except ValueError as error:
            raise UserError(f"not valid JSON: {error}", path=f"{url}/manifest.json") from error
        version = manifest.get("schema_version") if isinstance(manifest, dict) else None
        if version != SCHEMA_VERSION:
            raise UserError(
                f"corpus schema version {version}, this program reads version {SCHEMA_VERSION}",
                path=f"{url}/manifest.json",
                remedy="build the corpus again",
            )
        return cls(url, manifest)  # type: ignore[arg-type]  # a URL is no Path: it would lose a slash

    def _batches(self, kind: str, columns: list[str] | None, batch_size: int) -> Iterator[pa.RecordBatch]:
        shards = Shards(self)
        for shard in self.manifest["shards"]:
            if shard["file"].startswith(f"{kind}/"):
                for start in range(0, shard["rows"], batch_size):
                    rows = shards.read(shard, start, min(start + batch_size, shard["rows"]), columns)
                    yield from rows.combine_chunks().to_batches()


class Shards:
    """Reads rows of the shards of a corpus, wherever it lies; it may be sent to other processes."""

    def __init__(self, corpus: Corpus) -> None:
        self.location = str(corpus.path)
        self._connection: tuple[Any, str] | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {"location": self.location, "_connection": None}  # each process opens its own

    def read(self, shard: dict[str, Any], start: int, stop: int, columns: list[str] | None = None) -> pa.Table:
        """Rows [start, stop) of a shard; of its row groups, only those that hold them are fetched.

        Args:
            shard: The shard's entry in the manifest.
            start: First row.
            stop: Row after the last.
            columns: Columns to read; all when None.

        Raises:
            UserError: the shard is missing, cannot be read, or is not the one that the manifest names.
        """
        if self._connection is None:
            self._connection = _system(self.location)
        system, root = self._connection
        place = f"{self.location}/{shard['file']}"
        try:
            with system.open(f"{root}/{shard['file']}", "rb") as handle, pq.ParquetFile(handle) as file:
                if file.metadata.num_rows != shard["rows"]:
                    what = f"the shard has {file.metadata.num_rows:,} rows, {shard['rows']:,} were written"
                    raise UserError(what, path=place, remedy=_REMEDY)
                groups: list[int] = []
                first = end = 0
                for number in range(file.metadata.num_row_groups):
                    rows = file.metadata.row_group(number).num_rows
                    if end + rows > start and end < stop:
                        first = first if groups else end
                        groups.append(number)
                    end += rows
                return file.read_row_groups(groups, columns).slice(start - first, stop - start)
        except FileNotFoundError as error:
            raise UserError("a shard that the manifest names is missing", path=place, remedy=_REMEDY) from error
        except (pa.ArrowException, OSError) as error:
            raise UserError(f"the shard cannot be read: {_line(error)}", path=place, remedy=_REMEDY) from error


def _system(location: str) -> tuple[Any, str]:
    """The file system of a location, and the location's name in it."""
    try:
        system, root = fsspec.core.url_to_fs(location)
    except ImportError as error:
        raise UserError(f"{_line(error)}", path=location, remedy="pip install the package of the protocol") from error
    except ValueError as error:
        raise UserError(f"{_line(error)}", path=location, remedy="give a folder or a URL such as s3://...") from error
    return system, str(root).rstrip("/")


def _line(error: BaseException) -> str:
    """A foreign message as one line of reasonable length."""
    return " ".join(str(error).split())[:200] or type(error).__name__
