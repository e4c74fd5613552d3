"""Plain text as it is written: a file is a document, cut into paragraphs and sentences.

In: a file, or a folder, plain or compressed. Out: one record per sentence; the file's path is its document. `text`
reads files that already hold a sentence a line.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from mlcl.core.files import RowCounter, read_lines
from mlcl.formats import Record
from mlcl.formats._documents import MOST_BYTES, Documents, document_bytes, find_files


def read(
    path: Path,
    rows: RowCounter,
    *,
    language: str = "",
    pattern: str = "",
    wrapped: bool = False,
    identify: str | None = None,
    languages: list[str] | None = None,
) -> Iterator[Record]:
    """Read text documents.

    Args:
        path: A file, or a folder.
        rows: Counts sentences, and documents that are left out.
        language: Language of all documents. Otherwise the path says it.
        pattern: Files below the folder, such as `{language}/**/*.txt`; all `.txt` when empty.
        wrapped: Lines are broken at a width, and a blank line ends a paragraph; otherwise each line is a paragraph.
        identify: Identifier for documents whose path does not say the language: py3langid, fasttext, heliport.
        languages: Languages to keep; all when not given.
    """
    documents = Documents(rows, language, identify, languages)
    for name, tag, file in find_files(path, pattern, (".txt",)):
        content = document_bytes(file)
        if content is None:
            rows.skip(f"document of more than {MOST_BYTES >> 20} MiB")
            continue
        if not content:
            rows.skip("document without text")
            continue
        lines = [line for _, line in read_lines(file, rows) if line is not None]
        yield from documents.records(name, tag, _joined(lines) if wrapped else lines)


def _joined(lines: list[str]) -> list[str]:
    """Paragraphs of hard-wrapped lines."""
    return [" ".join(block.split("\n")) for block in "\n".join(line.strip() for line in lines).split("\n\n")]
