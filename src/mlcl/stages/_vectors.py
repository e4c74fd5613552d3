"""Lines of text in, files of vectors out, block by block; used by `mlcl encode` and `mlcl search`.

Writers take blocks of texts and vectors (n, D) and know neither how many come nor from where.
"""

from __future__ import annotations

import codecs
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from mlcl.core.errors import UserError
from mlcl.core.files import existing, read_lines

SUFFIXES = {".npy": "npy", ".parquet": "parquet", ".raw": "raw", ".f32": "raw", ".bin": "raw"}


class Writer(Protocol):
    """An open file of vectors."""

    def write(self, texts: list[str], vectors: np.ndarray) -> None:
        """Append texts (n) and their vectors (n, D)."""


def text_lines(place: str) -> Iterator[str]:
    """Lines of a text file, plain or compressed, or of standard input when `place` is `-`.

    Raises:
        UserError: missing, empty, damaged, or not UTF-8.
    """
    if place != "-":
        yield from (text for _, text in read_lines(existing(place)) if text is not None)
        return
    number = 0
    for number, raw in enumerate(sys.stdin.buffer, start=1):
        try:
            text = raw.removeprefix(codecs.BOM_UTF8 if number == 1 else b"").decode("utf-8")
        except UnicodeDecodeError as error:
            raise UserError("invalid UTF-8", path="standard input", line=number, remedy="re-encode the text") from error
        yield text.removesuffix("\n").removesuffix("\r")
    if number == 0:
        raise UserError("standard input is empty", remedy="pipe at least one line of text in")


def writer_for(out: Path, format_: str | None) -> Callable[[Path, int], AbstractContextManager[Writer]]:
    """The writer class of a format, or of the suffix when no format is given; call it with a path and D.

    Raises:
        UserError: an unknown format or suffix.
    """
    known: dict[str | None, Any] = {"npy": _Npy, "parquet": _Parquet, "raw": _Raw}
    name = format_ or SUFFIXES.get(out.suffix.lower())
    if name not in known:
        what = f"unknown format {name!r}" if name else f"the suffix {out.suffix!r} names no format of vectors"
        raise UserError(what, path=out, remedy="end the file name in .npy, .parquet or .raw, or give --format")
    return known[name]


class _Raw:
    """float32 little-endian, row after row."""

    def __init__(self, path: Path, dimension: int) -> None:
        self.dimension, self.rows, self.start = dimension, 0, 0
        self.file = path.open("wb")

    def __enter__(self) -> Any:
        return self

    def __exit__(self, kind: Any, *rest: Any) -> None:
        self.file.close()

    def write(self, texts: list[str], vectors: np.ndarray) -> None:
        """Append a block."""
        self.file.write(np.ascontiguousarray(vectors, dtype="<f4").tobytes())
        self.rows += len(vectors)


class _Npy(_Raw):
    """NumPy's format. Its header holds the number of rows, so it is written again at the end."""

    def __init__(self, path: Path, dimension: int) -> None:
        super().__init__(path, dimension)
        self._write_header()
        self.start = self.file.tell()

    def __exit__(self, kind: Any, *rest: Any) -> None:
        if kind is None:
            self.file.seek(0)
            self._write_header()
            assert self.file.tell() == self.start  # numpy leaves room for the number of rows to grow
        super().__exit__(kind, *rest)

    def _write_header(self) -> None:
        description = {"descr": "<f4", "fortran_order": False, "shape": (self.rows, self.dimension)}
        np.lib.format.write_array_header_1_0(self.file, description)


class _Parquet:
    """Columns `text` (string) and `vector` (list of D float32), one row group a block."""

    def __init__(self, path: Path, dimension: int) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        self.vector_type = pa.list_(pa.float32(), dimension)
        self.schema = pa.schema([("text", pa.string()), ("vector", self.vector_type)])
        self.file = pq.ParquetWriter(path, self.schema)

    def __enter__(self) -> Any:
        return self

    def __exit__(self, kind: Any, *rest: Any) -> None:
        self.file.close()

    def write(self, texts: list[str], vectors: np.ndarray) -> None:
        """Append a block."""
        import pyarrow as pa

        values = pa.array(np.ascontiguousarray(vectors, dtype=np.float32).ravel())
        column = pa.FixedSizeListArray.from_arrays(values, type=self.vector_type)
        self.file.write_table(pa.Table.from_arrays([pa.array(texts, pa.string()), column], schema=self.schema))
