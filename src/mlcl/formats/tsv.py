"""Tables in text files: tab-separated, or any other separator, plain or `.gz`.

In: a file, or a folder with a `pattern` such as `{language}/dev.tsv`. Out: records as `_fields.Fields` says; columns go
by their names in the header, or by their numbers from 1 where there is no header.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

from mlcl.core.errors import UserError
from mlcl.core.files import RowCounter, read_lines
from mlcl.formats import Record
from mlcl.formats._csv import read_csv
from mlcl.formats._fields import BadRow, Fields
from mlcl.formats._files import by_language


def read(
    path: Path,
    rows: RowCounter,
    *,
    texts: dict[str, str | int | list[str | int]] | None = None,
    fields: list[str | int] | None = None,
    language: str = "",
    language_field: str | int = "",
    negatives: list[str | int] | None = None,
    document_field: str | int = "",
    header: bool = True,
    delimiter: str = "\t",
    quoting: bool = False,
    pattern: str = "",
    languages: list[str] | None = None,
) -> Iterator[Record]:
    """Read tables.

    Args:
        path: A file or a folder.
        rows: Counts rows.
        texts: Language to column (or columns) for translations.
        fields: Columns that stand alone.
        language: Language of `fields`; the file name tells it where `pattern` is set.
        language_field: Column with the language of the row.
        negatives: Columns with hard negatives.
        document_field: Column with the document.
        header: The first line names the columns; without it they are numbered from 1.
        delimiter: Separator.
        quoting: Fields may be quoted with `"` (CSV); without it quotes are plain characters.
        pattern: File names below the folder, with `{language}` where the code stands.
        languages: Languages to keep of those that the pattern finds; all when not given.
    """
    named = {
        tag: [str(c) for c in value] if isinstance(value, list) else str(value) for tag, value in (texts or {}).items()
    }
    single = [str(name) for name in fields or ()]
    for _, tag, file in by_language(path, language, pattern, languages):
        shape = Fields(named, single, tag, str(language_field), [str(n) for n in negatives or ()], str(document_field))
        names, first = _columns(file, header, delimiter, quoting)
        if missing := [name for name in shape.columns() or () if name not in names]:
            raise UserError(f"no column {', '.join(missing)}", path=file, line=1, remedy=f"columns: {', '.join(names)}")
        for line, values in _rows(file, len(names), rows, delimiter, quoting):
            if line < first or values is None:
                continue
            try:
                records = list(shape.records(dict(zip(names, values, strict=True))))
            except BadRow as error:
                rows.bad_row(file, line, str(error))
                continue
            rows.good()
            yield from records


def _columns(file: Path, header: bool, delimiter: str, quoting: bool) -> tuple[list[str], int]:
    """Names of the columns and the line where the rows begin."""
    _, line = next(iter(read_lines(file)))
    assert line is not None  # without a row counter invalid UTF-8 raises
    values = next(csv.reader([line], delimiter=delimiter)) if quoting else line.split(delimiter)
    return (values, 2) if header else ([str(n) for n in range(1, len(values) + 1)], 1)


def _rows(
    file: Path, columns: int, rows: RowCounter, delimiter: str, quoting: bool
) -> Iterator[tuple[int, list[str] | None]]:
    if quoting:
        yield from read_csv(file, columns, rows, delimiter=delimiter)
        return
    for number, line in read_lines(file, rows):
        values = None if line is None else line.split(delimiter)
        if values is not None and len(values) != columns:
            rows.bad_row(file, number, f"{len(values)} fields, expected {columns}")
            values = None
        yield number, values
