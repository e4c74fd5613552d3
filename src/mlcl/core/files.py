"""Reading text files safely and writing results atomically.

In: paths, plain or compressed (`.gz`, `.xz`, `.bz2`, `.zst`). Out: decoded lines with their numbers; folders and files
that exist whole or not at all.
"""

from __future__ import annotations

import bz2
import codecs
import gzip
import importlib
import json
import lzma
import os
import shutil
import sys
import tempfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from mlcl.core.errors import UserError

COMPRESSED = (".gz", ".xz", ".bz2", ".zst")
"""Suffixes of compressed files, which every reader of text takes."""
COMPRESSED_PATTERN = r"(?:\.(?:gz|xz|bz2|zst))?"
"""One of them, or none, at the end of a file name, as a regular expression."""
MOST_LINE_BYTES = 64 << 20
"""A longer line is no sentence and no record: it is passed over, so that it never is in memory whole."""

# What files start with that are no text, or that are text in a wrapping their name does not tell.
_NO_TEXT = {
    b"\x1f\x8b": "a gzip file; its name should end in .gz", b"\xfd7zXZ\x00": "an xz file; its name should end in .xz",
    b"BZh91AY&SY": "a bzip2 file; its name should end in .bz2", b"PAR1\x15": "a Parquet file",
    b"\x28\xb5\x2f\xfd": "a zstd file; its name should end in .zst", b"PK\x03\x04": "a zip archive",
    b"%PDF-": "a PDF file", b"\x89PNG": "a picture",
}  # fmt: skip


class RowCounter:
    """Counts good and bad rows of the sources; too large a share of bad rows is an error.

    Args:
        max_bad_share: Largest tolerated share of bad rows, in [0, 1].
        keep: How many bad rows are kept as samples for the warning and the report.
    """

    def __init__(self, max_bad_share: float = 0.01, keep: int = 5) -> None:
        self.max_bad_share, self.keep = max_bad_share, keep
        self.good_rows = 0
        self.bad: Counter[str] = Counter()
        self.skipped: Counter[str] = Counter()
        self.samples: list[str] = []

    def good(self, rows: int = 1) -> None:
        """Count rows that were read."""
        self.good_rows += rows

    def skip(self, reason: str, rows: int = 1) -> None:
        """Count rows that are left out on purpose (a fuzzy or an empty translation); they are not bad."""
        self.skipped[reason] += rows

    def bad_row(self, path: Path, line: int, reason: str) -> None:
        """Count a malformed row and keep the first few as samples."""
        self.bad[reason] += 1
        if len(self.samples) < self.keep:
            self.samples.append(f"{path}:{line}: {reason}")

    def check(self) -> None:
        """Raise when the share of bad rows is above the limit.

        Raises:
            UserError: naming the first bad row.
        """
        bad = self.bad.total()
        if bad and bad > self.max_bad_share * (bad + self.good_rows):
            raise UserError(
                f"{bad} of {bad + self.good_rows} rows are malformed, more than max_bad_share={self.max_bad_share}; "
                f"the first: {self.samples[0]}",
                remedy="repair the file or raise max_bad_share",
            )


def existing(path: str | Path) -> Path:
    """The path itself or, failing that, the same name with `.gz`, `.xz`, `.bz2` or `.zst` added.

    Raises:
        UserError: none of them exists.
    """
    path = Path(path)
    if path.exists():
        return path
    for suffix in COMPRESSED:
        zipped = path.with_name(path.name + suffix)
        if zipped.exists():
            return zipped
    raise UserError("no such file or folder", path=path, remedy="check the path")


def plain_name(path: Path) -> str:
    """The name of a file without the suffix of its compression."""
    return path.name.removesuffix(path.suffix) if path.suffix in COMPRESSED else path.name


def open_binary(path: Path) -> IO[bytes]:
    """Open a plain or compressed file for reading bytes.

    Raises:
        UserError: a folder, or a `.zst` file before Python 3.14 without the package `backports.zstd`.
    """
    if path.is_dir():
        raise UserError("this is a folder, a file is expected", path=path)
    opens: dict[str, Any] = {".gz": gzip.open, ".xz": lzma.open, ".bz2": bz2.open}
    handle: IO[bytes] = (_zstd().open if path.suffix == ".zst" else opens.get(path.suffix, Path.open))(path, "rb")
    if _meters:
        _meters[-1].append((handle, path))
    return handle


_meters: list[list[tuple[IO[bytes], Path]]] = []


@contextmanager
def metered() -> Iterator[Callable[[], int]]:
    """Gives how many bytes of the files that `open_binary` opens meanwhile have been read so far, as they lie on disk.

    For progress: of some compressions a file counts only when it is closed.
    """
    opened: list[tuple[IO[bytes], Path]] = []
    closed = 0

    def bytes_read() -> int:
        nonlocal closed
        closed += sum(path.stat().st_size for handle, path in opened if handle.closed)
        opened[:] = [entry for entry in opened if not entry[0].closed]
        raw = (handle if path.suffix not in COMPRESSED else getattr(handle, "fileobj", None) for handle, path in opened)
        return closed + sum(handle.tell() for handle in raw if handle is not None)

    _meters.append(opened)
    try:
        yield bytes_read
    finally:
        _meters[:] = [other for other in _meters if other is not opened]


def _zstd() -> Any:
    """Python 3.14's module, or its copy for older versions."""
    if sys.version_info >= (3, 14):
        return importlib.import_module("compression.zstd")
    try:
        return importlib.import_module("backports.zstd")
    except ModuleNotFoundError as error:
        raise UserError("this needs the package 'backports.zstd'", remedy="pip install 'mlcl[formats]'") from error


@contextmanager
def damage_is_reported(path: Path, line: Callable[[], int | None] = lambda: None) -> Iterator[None]:
    """Turn what a truncated or damaged compressed file raises into a `UserError`, with the line that was read last."""
    try:
        yield
    except (EOFError, zlib.error, gzip.BadGzipFile, lzma.LZMAError) as error:
        raise _damaged(path, error, line()) from error
    except OSError as error:  # of bz2, without a class of its own
        if path.suffix == ".bz2" and error.errno is None:
            raise _damaged(path, error, line()) from error
        raise
    except Exception as error:
        if path.suffix == ".zst" and isinstance(error, _zstd().ZstdError):
            raise _damaged(path, error, line()) from error
        raise


def _damaged(path: Path, error: Exception, line: int | None) -> UserError:
    kind = {".gz": "gzip"}.get(path.suffix, path.suffix.removeprefix("."))
    what = f"truncated or damaged {kind} file: {error}"
    return UserError(what, path=path, line=line, remedy="fetch the file again")


def read_bytes(path: Path) -> bytes:
    """The whole content of a plain or compressed file.

    Raises:
        UserError: a truncated or damaged archive.
    """
    with damage_is_reported(path), open_binary(path) as handle:
        return handle.read()


def read_lines(path: Path, rows: RowCounter | None = None) -> Iterator[tuple[int, str | None]]:
    r"""Numbered lines (from 1) of a UTF-8 file, without their `\n` or `\r\n`; lines end at `\n` only.

    A UTF-8 byte-order mark is removed. A line that is not UTF-8, or is longer than `MOST_LINE_BYTES`, comes as
    None and is counted in `rows`; without `rows` it is an error.

    Raises:
        UserError: empty file, UTF-16, other files than text, a damaged archive, or invalid UTF-8 or a line of more
            than `MOST_LINE_BYTES` when `rows` is None.
    """
    number = 0
    with damage_is_reported(path, lambda: number + 1), open_binary(path) as handle:
        for number, raw in enumerate(bounded_lines(handle), start=1):
            if raw is None:
                reason = f"a line of more than {MOST_LINE_BYTES >> 20} MiB"
                if rows is None:
                    raise UserError(reason, path=path, line=number, remedy="is it text? Lines end at line feeds")
                rows.bad_row(path, number, reason)
                yield number, None
                continue
            if number == 1:
                _refuse_no_text(path, raw)
                raw = raw.removeprefix(codecs.BOM_UTF8)
            try:
                yield number, raw.decode("utf-8").removesuffix("\n").removesuffix("\r")
            except UnicodeDecodeError as error:
                if rows is None:
                    raise UserError("invalid UTF-8", path=path, line=number, remedy="re-encode the file") from error
                rows.bad_row(path, number, "invalid UTF-8")
                yield number, None
    if number == 0:
        raise UserError("the file is empty", path=path, remedy="give a file with at least one line")


def bounded_lines(handle: IO[bytes]) -> Iterator[bytes | None]:
    """The lines of an open file with their ends; None for each that is longer than `MOST_LINE_BYTES`."""
    while raw := handle.readline(MOST_LINE_BYTES + 1):
        if len(raw) <= MOST_LINE_BYTES:
            yield raw
            continue
        while raw and not raw.endswith(b"\n"):
            raw = handle.readline(MOST_LINE_BYTES)
        yield None


def _refuse_no_text(path: Path, first: bytes) -> None:
    """Raise for a file whose first line shows that it is no UTF-8 text."""
    if first.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise UserError("the file is UTF-16", path=path, remedy="convert it: iconv -f UTF-16 -t UTF-8")
    if kind := next((kind for start, kind in _NO_TEXT.items() if first.startswith(start)), None):
        raise UserError(f"this is {kind}", path=path, remedy="text in UTF-8 is expected")
    if first.count(0) > len(first) // 4:
        raise UserError(
            "the file is binary, or UTF-16 without a mark of it", path=path,
            remedy="convert it: iconv -f UTF-16LE -t UTF-8",
        )  # fmt: skip


def read_text_lines(path: Path) -> list[str]:
    """All lines of a file that must be clean UTF-8 (evaluation data, queries). Raises as `read_lines`."""
    return [text for _, text in read_lines(path) if text is not None]


def refuse_existing(out: Path, overwrite: bool = False) -> None:
    """Raise unless `out` can be made: it is absent, an empty folder, or may be overwritten, and its folder is writable.

    Raises:
        UserError: `out` exists, or its place is below a file or in a folder that one may not write to.
    """
    parent = next(folder for folder in out.absolute().parents if folder.exists())
    if not parent.is_dir():
        raise UserError(
            "this is a file, so nothing can be written below it", path=parent, remedy="choose another --out"
        )
    if not os.access(parent, os.W_OK | os.X_OK):
        raise UserError("this folder may not be written to", path=parent, remedy="choose another --out")
    if overwrite or not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return
    raise UserError("the output already exists", path=out, remedy="choose another --out or pass --overwrite true")


@contextmanager
def atomic_directory(out: str | Path, overwrite: bool = False) -> Iterator[Path]:
    """A temporary sibling folder that becomes `out` when the block ends well and vanishes when it does not.

    Raises:
        UserError: `out` exists and `overwrite` is false.
    """
    out = Path(out).absolute()
    refuse_existing(out, overwrite)
    out.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=f".{out.name}.partial-", dir=out.parent))
    try:
        partial.chmod(0o755)  # mkdtemp makes it private
        yield partial
        if out.exists():
            shutil.rmtree(out)
        partial.replace(out)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


@contextmanager
def atomic_file(out: str | Path, overwrite: bool = True) -> Iterator[Path]:
    """A temporary sibling file that becomes `out` when the block ends well. Raises as `atomic_directory`."""
    out = Path(out).absolute()
    refuse_existing(out, overwrite)
    out.parent.mkdir(parents=True, exist_ok=True)
    partial = out.with_name(f".partial-{os.getpid()}-{out.name}")  # keeps the suffix, which writers look at
    try:
        yield partial
        partial.replace(out)
    finally:
        partial.unlink(missing_ok=True)


def write_json(path: Path, value: Any) -> None:
    """Write JSON (UTF-8, indented) atomically."""
    with atomic_file(path) as partial:
        partial.write_text(json.dumps(value, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


def read_json(path: Path) -> Any:
    """Read a JSON file. Raises UserError on a missing or malformed one."""
    if not path.is_file():
        raise UserError("no such file", path=path)
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, UnicodeDecodeError) as error:
        raise UserError(f"not valid JSON: {error}", path=path) from error
