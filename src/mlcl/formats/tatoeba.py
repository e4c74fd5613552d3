"""Tatoeba test sets of LASER (Artetxe & Schwenk 2019): sentence pairs of many languages with English.

In: the folder with `tatoeba.xxx-eng.xxx[.gz]` and `tatoeba.xxx-eng.eng[.gz]`, line-aligned. Out: one record per pair,
English first. Two official codes may mean one language (`kzj`, `dtp`), so `pairs` keeps the codes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from mlcl.core.files import RowCounter, existing
from mlcl.core.languages import canonical
from mlcl.formats import Record
from mlcl.formats._aligned import Version, read_aligned, records, select

_FILE = re.compile(r"tatoeba\.([a-z]{3})-eng\.\1(?:\.gz)?$")


def read(path: Path, rows: RowCounter, *, languages: list[str] | None = None) -> Iterator[Record]:
    """Read the Tatoeba test sets.

    Args:
        path: The folder.
        rows: Counter of good and bad rows.
        languages: Tags or official codes to keep; all when not given.
    """
    for english, other in pairs(path, rows, languages=languages):
        yield from records([english, other], rows)


def pairs(
    path: Path, rows: RowCounter | None = None, *, languages: Sequence[str] | None = None
) -> Iterator[tuple[Version, Version]]:
    """The English and the other side of each test set, aligned.

    Args:
        path: The folder.
        rows: Counts invalid lines; without it they are errors.
        languages: Tags or official codes to keep; all when not given.
    """
    folder = existing(path)
    files = {match[1]: file for file in sorted(folder.iterdir()) if (match := _FILE.fullmatch(file.name))}
    tags = {code: canonical(code) for code in files}
    for code in select(tags, languages, folder):
        english = existing(folder / f"tatoeba.{code}-eng.eng")
        first, second = read_aligned({"eng": english, code: files[code]}, {"eng": "en", code: tags[code]}, rows)
        yield first, second
