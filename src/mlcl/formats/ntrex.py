r"""NTREX-128 (Federmann et al. 2022): news sentences, English originals with human translations, documents kept.

In: the folder with `NTREX-128/newstest2019-{src.eng,ref.XXX}.txt[.gz]` and `DOCUMENT_IDS.tsv`. Out: one multi-parallel
record per sentence, English first. Lines end in `\r\n` as published.
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

_FILE = re.compile(r"newstest2019-(?:src|ref)\.([A-Za-z_-]+)\.txt(?:\.gz)?$")


def read(path: Path, rows: RowCounter, *, documents: str = "", languages: list[str] | None = None) -> Iterator[Record]:
    """Read NTREX.

    Args:
        path: The folder of the release.
        rows: Counter of good and bad rows.
        documents: Documents to keep as 1-based numbers in file order, such as `1-73` or `74-80,92`; empty keeps all.
        languages: Tags or official codes to keep; all when not given.
    """
    versions, names = load(path, rows, documents=documents, languages=languages)
    yield from records(versions, rows, names)


def load(
    path: Path,
    rows: RowCounter | None = None,
    *,
    documents: str = "",
    languages: Sequence[str] | None = None,
    always: Sequence[str] = (),
) -> tuple[list[Version], list[str]]:
    """All versions, aligned, and the document of each sentence.

    Args:
        path: The folder of the release.
        rows: Counts invalid lines; without it they are errors.
        documents: As in `read`.
        languages: As in `read`.
        always: Tags that are kept although `languages` does not name them.
    """
    folder = existing(Path(path) / "NTREX-128")
    files = {match[1]: file for file in sorted(folder.iterdir()) if (match := _FILE.search(file.name))}
    tags = {code: canonical(code) for code in files}
    versions = read_aligned({code: files[code] for code in select(tags, languages, folder, always)}, tags, rows)
    ids_file = existing(Path(path) / "DOCUMENT_IDS.tsv")
    ids = read_text_lines(ids_file)
    if len(ids) != len(versions[0].texts):
        raise UserError(f"{len(ids)} lines, but the texts have {len(versions[0].texts)}", path=ids_file)
    numbers = {name: number for number, name in enumerate(dict.fromkeys(ids), start=1)}
    wanted = document_numbers(documents, len(numbers))
    kept = [index for index, name in enumerate(ids) if numbers[name] in wanted]
    for version in versions:
        version.texts = [version.texts[index] for index in kept]
    if rows is not None and len(kept) < len(ids):
        rows.skip("document not selected", len(ids) - len(kept))
    return versions, [ids[index] for index in kept]


def document_numbers(spec: str, count: int) -> set[int]:
    """Parse `1-73` or `1,5,74-92` into 1-based numbers; an empty text means all `count` documents.

    Raises:
        UserError: malformed, or outside 1..count.
    """
    if not spec.strip():
        return set(range(1, count + 1))
    wanted: set[int] = set()
    for part in spec.split(","):
        match = re.fullmatch(r"\s*(\d+)\s*(?:-\s*(\d+)\s*)?", part)
        low, high = (int(match[1]), int(match[2] or match[1])) if match else (0, 0)
        if not 1 <= low <= high <= count:
            raise UserError(f"documents={spec!r}: no such documents", remedy=f"give numbers from 1 to {count}: 1-10,12")
        wanted.update(range(low, high + 1))
    return wanted
