"""OPUS downloads in their Moses form (Tiedemann 2012): a zip file with one text file per language.

In: `de-en.txt.zip`, or a folder of such files. Out: one record per line. The archive is read as a stream, nothing is
unpacked to disk.
"""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterator
from itertools import zip_longest
from pathlib import Path
from typing import IO

from mlcl.core.errors import UserError
from mlcl.core.files import MOST_LINE_BYTES, RowCounter, bounded_lines, existing
from mlcl.core.languages import canonical
from mlcl.formats import Record

_CODE = r"[A-Za-z]{2,3}(?:_[A-Za-z0-9]+)*"
_MEMBER = re.compile(rf"(?P<corpus>.+)\.(?P<first>{_CODE})-(?P<second>{_CODE})\.(?P<code>{_CODE})")


def read(path: Path, rows: RowCounter, *, languages: list[str] | None = None) -> Iterator[Record]:
    """Read OPUS archives.

    Args:
        path: A zip file, or a folder with several.
        rows: Counts lines.
        languages: Archives of a folder to keep, by the languages that both sides must be of; all when not given.
    """
    path = existing(path)
    archives = sorted(path.glob("*.zip")) if path.is_dir() else [path]
    if not archives:
        raise UserError("no zip file in this folder", path=path, remedy="give the folder of the downloads")
    wanted = None if languages is None else {canonical(language) for language in languages}
    found = False
    for archive in archives:
        try:
            with zipfile.ZipFile(archive) as opened:
                first, second = _members(opened, archive)
                tags = [canonical(code) for code, _ in (first, second)]
                if wanted is not None and not wanted.issuperset(tags):
                    continue
                found = True
                with opened.open(first[1]) as left, opened.open(second[1]) as right:
                    yield from _side_by_side(archive, tags, left, right, rows)
        except (zipfile.BadZipFile, EOFError) as error:
            raise UserError(f"damaged zip file: {error}", path=archive, remedy="fetch the file again") from error
    if not found:
        raise UserError(f"no archive of {', '.join(sorted(wanted or ()))}", path=path)


def _members(archive: zipfile.ZipFile, path: Path) -> tuple[tuple[str, str], tuple[str, str]]:
    """`(code, member)` of both sides."""
    sides: dict[str, list[tuple[str, str]]] = {}
    for member in archive.namelist():
        match = _MEMBER.fullmatch(member)
        if match and match["code"] in (match["first"], match["second"]):
            stem = f"{match['corpus']}.{match['first']}-{match['second']}"
            sides.setdefault(stem, []).append((match["code"], member))
    pairs = [found for found in sides.values() if len(found) == 2]
    if len(pairs) != 1:
        raise UserError(
            f"{len(pairs)} pairs of text files in this archive, one is expected", path=path,
            remedy="download the Moses form (XX-YY.txt.zip)",
        )  # fmt: skip
    first, second = pairs[0]
    return first, second


def _side_by_side(path: Path, tags: list[str], left: IO[bytes], right: IO[bytes], rows: RowCounter) -> Iterator[Record]:
    sides = zip_longest(bounded_lines(left), bounded_lines(right), fillvalue=b"")
    for number, lines in enumerate(sides, start=1):
        if b"" in lines:
            raise UserError("one side ends before the other", path=path, line=number, remedy="fetch the file again")
        if None in lines:
            rows.bad_row(path, number, f"a line of more than {MOST_LINE_BYTES >> 20} MiB")
            continue
        try:
            texts = [line.decode("utf-8").strip() for line in lines if line is not None]
        except UnicodeDecodeError:
            rows.bad_row(path, number, "invalid UTF-8")
            continue
        if not all(texts):
            rows.skip("blank line")
            continue
        rows.good()
        yield Record(list(zip(tags, texts, strict=True)))
