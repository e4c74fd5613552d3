"""Web pages saved as files, plain or compressed: the main text of each, cut into sentences.

In: a file, or a folder. Out: one record per sentence; the page's path is its document. Menus, footers and the like are
left out and counted as boilerplate blocks.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from mlcl.core.files import RowCounter
from mlcl.formats import Record
from mlcl.formats._documents import MOST_BYTES, Documents, document_bytes, find_files
from mlcl.formats._main_text import main_text


def read(
    path: Path,
    rows: RowCounter,
    *,
    language: str = "",
    pattern: str = "",
    identify: str | None = None,
    languages: list[str] | None = None,
) -> Iterator[Record]:
    """Read web pages.

    Args:
        path: A file, or a folder.
        rows: Counts sentences, pages that are left out, and blocks outside the main text.
        language: Language of all pages. Otherwise the path says it, else the page itself (`<html lang>`).
        pattern: Pages below the folder, such as `{language}/**/*.html`; all `.html`, `.htm` and `.xhtml` when empty.
        identify: Identifier for pages that do not say their language: py3langid, fasttext, heliport.
        languages: Languages to keep; all when not given.
    """
    documents = Documents(rows, language, identify, languages)
    for name, tag, file in find_files(path, pattern, (".html", ".htm", ".xhtml")):
        page = document_bytes(file)
        if page is None:
            rows.skip(f"document of more than {MOST_BYTES >> 20} MiB")
            continue
        found = main_text(page)
        if found is None:
            rows.bad_row(file, 1, "no HTML")
            continue
        rows.skip("boilerplate block", found.left_out)
        yield from documents.records(name, tag or found.language, found.paragraphs)
