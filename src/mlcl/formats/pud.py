"""Parallel Universal Dependencies treebanks (PUD): 1,000 news and Wikipedia sentences in many languages.

In: the folder with `pud.<code>.txt[.gz]`, one sentence a line, and `pud.sent_id.txt`. Out: one multi-parallel record
per sentence, English first. Chinese (`zho`) is in traditional script.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from mlcl.core.errors import UserError
from mlcl.core.files import RowCounter, existing, read_text_lines
from mlcl.core.languages import canonical
from mlcl.formats import Record
from mlcl.formats._aligned import Version, read_aligned, records, select

_FILE = re.compile(r"pud\.([a-z]{3})\.txt(?:\.gz)?$")


def read(path: Path, rows: RowCounter, *, languages: list[str] | None = None) -> Iterator[Record]:
    """Read PUD.

    Args:
        path: The folder.
        rows: Counter of good and bad rows.
        languages: Tags or official codes to keep; all when not given.
    """
    versions, documents = load(path, rows, languages=languages)
    yield from records(versions, rows, documents)


def load(
    path: Path, rows: RowCounter | None = None, *, languages: Sequence[str] | None = None, always: Sequence[str] = ()
) -> tuple[list[Version], list[str]]:
    """All versions, aligned, and the document of each sentence. Arguments as in `ntrex.load`."""
    folder = existing(path)
    files = {match[1]: file for file in sorted(folder.iterdir()) if (match := _FILE.fullmatch(file.name))}
    tags = {code: "zh-Hant" if code == "zho" else canonical(code) for code in files}
    versions = read_aligned({code: files[code] for code in select(tags, languages, folder, always)}, tags, rows)
    ids_file = existing(folder / "pud.sent_id.txt")
    ids = read_text_lines(ids_file)
    if len(ids) != len(versions[0].texts):
        raise UserError(f"{len(ids)} lines, but the texts have {len(versions[0].texts)}", path=ids_file)
    # n01001011 = n(ews) or w(iki), 2 digits original language, 3 digits document, 3 digits sentence
    return versions, [sentence_id[:-3] for sentence_id in ids]
