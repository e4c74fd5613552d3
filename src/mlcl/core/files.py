"""Reading text files safely and writing results atomically.

In: paths, plain or gzip. Out: decoded lines with their numbers; folders and files that exist whole or not at all.
"""

from __future__ import annotations

import codecs
import gzip
import json
import os
import shutil
import tempfile
import zlib
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from mlcl.core.errors import UserError


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
    """The path itself or, failing that, the same name with `.gz` added.

    Raises:
        UserError: neither exists.
    """
    path = Path(path)
    if path.exists():
        return path
    zipped = path.with_name(path.name + ".gz")
    if zipped.exists():
        return zipped
    raise UserError("no such file or folder", path=path, remedy="check the path")


def open_binary(path: Path) -> IO[bytes]:
    """Open a plain or `.gz` file for reading bytes."""
    if path.is_dir():
        raise UserError("this is a folder, a file is expected", path=path)
    return gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb")  # type: ignore[return-value]


def read_bytes(path: Path) -> bytes:
    """The whole content of a plain or `.gz` file.

    Raises:
        UserError: a truncated or damaged archive.
    """
    try:
        with open_binary(path) as handle:
            return handle.read()
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise UserError(f"truncated or damaged gzip file: {error}", path=path, remedy="fetch the file again") from error


def read_lines(path: Path, rows: RowCounter | None = None) -> Iterator[tuple[int, str | None]]:
    r"""Numbered lines (from 1) of a UTF-8 file, without their `\n` or `\r\n`; lines end at `\n` only.

    A UTF-8 byte-order mark is removed. A line that is not UTF-8 comes as None and is counted in `rows`;
    without `rows` it is an error.

    Raises:
        UserError: empty file, UTF-16, damaged gzip, or invalid UTF-8 when `rows` is None.
    """
    number = 0
    try:
        with open_binary(path) as handle:
            for number, raw in enumerate(handle, start=1):
                if number == 1:
                    if raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
                        raise UserError("the file is UTF-16", path=path, remedy="convert it: iconv -f UTF-16 -t UTF-8")
                    raw = raw.removeprefix(codecs.BOM_UTF8)
                try:
                    yield number, raw.decode("utf-8").removesuffix("\n").removesuffix("\r")
                except UnicodeDecodeError as error:
                    if rows is None:
                        raise UserError("invalid UTF-8", path=path, line=number, remedy="re-encode the file") from error
                    rows.bad_row(path, number, "invalid UTF-8")
                    yield number, None
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise UserError(
            f"truncated or damaged gzip file: {error}", path=path, line=number + 1, remedy="fetch the file again"
        ) from error
    if number == 0:
        raise UserError("the file is empty", path=path, remedy="give a file with at least one line")


def read_text_lines(path: Path) -> list[str]:
    """All lines of a file that must be clean UTF-8 (evaluation data, queries). Raises as `read_lines`."""
    return [text for _, text in read_lines(path) if text is not None]


def refuse_existing(out: Path, overwrite: bool = False) -> None:
    """Raise unless `out` is absent, an empty folder, or may be overwritten."""
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
