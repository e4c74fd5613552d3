"""Monolingual text: one sentence a line, plain or compressed.

In: a file with the option `language`, or a folder with a `pattern` such as `mono.{language}.txt`. Out: one record per
line that is not blank.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from mlcl.core.errors import UserError
from mlcl.core.files import RowCounter, plain_name, read_lines
from mlcl.formats import Record
from mlcl.formats._files import by_language


def read(
    path: Path,
    rows: RowCounter,
    *,
    language: str = "",
    pattern: str = "",
    languages: list[str] | None = None,
    file_is_document: bool = False,
) -> Iterator[Record]:
    """Read text files.

    Args:
        path: A file or a folder.
        rows: Counts lines.
        language: Language of the file.
        pattern: File names below the folder, with `{language}` where the code stands.
        languages: Languages to keep of those that the pattern finds; all when not given.
        file_is_document: The lines of a file are running text: the file's name becomes the document.
    """
    for _, tag, file in by_language(path, language, pattern, languages):
        if not tag:
            raise UserError("the language of the text is not given", path=file, remedy="set language, or a pattern")
        document = plain_name(file) if file_is_document else ""
        for _, text in read_lines(file, rows):
            if text and not text.isspace():
                rows.good()
                yield Record([(tag, text)], document)
            elif text is not None:
                rows.skip("blank line")
