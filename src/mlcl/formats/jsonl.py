"""JSON Lines: one JSON object a line, plain or compressed; translations, single texts, or anchor/positive/negative.

In: a file, or a folder with a `pattern`. Out: records as `_fields.Fields` says.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from mlcl.core.files import RowCounter, read_lines
from mlcl.formats import Record
from mlcl.formats._fields import BadRow, Fields
from mlcl.formats._files import by_language


def read(
    path: Path,
    rows: RowCounter,
    *,
    texts: dict[str, str | list[str]] | None = None,
    fields: list[str] | None = None,
    language: str = "",
    language_field: str = "",
    negatives: list[str] | None = None,
    document_field: str = "",
    pattern: str = "",
    languages: list[str] | None = None,
) -> Iterator[Record]:
    """Read JSON Lines.

    Args:
        path: A file or a folder.
        rows: Counts rows; malformed lines with their number.
        texts: Language to field (or fields) for translations; `translation.de` goes one level deeper.
        fields: Fields that stand alone. With neither: `anchor` and `positive` [and `negative`], else `text`.
        language: Language of `fields`, of anchor and positive.
        language_field: Field with the language of the row.
        negatives: Fields with hard negatives, each a text or a list.
        document_field: Field with the document.
        pattern: File names below the folder, with `{language}` where the code stands.
        languages: Languages to keep of those that the pattern finds; all when not given.
    """
    for _, tag, file in by_language(path, language, pattern, languages):
        shape = Fields(texts, fields, tag, language_field, negatives or (), document_field)
        for number, line in read_lines(file, rows):
            if line is None:
                continue
            if not line.strip():
                rows.skip("blank line")
                continue
            try:
                row = json.loads(line)
                if not isinstance(row, dict):
                    raise BadRow("not a JSON object")
                records = list(shape.records(row))
            except json.JSONDecodeError as error:
                rows.bad_row(file, number, f"malformed JSON: {error.msg}")
            except RecursionError:
                rows.bad_row(file, number, "JSON nested too deeply")
            except BadRow as error:
                rows.bad_row(file, number, str(error))
            else:
                rows.good()
                yield from records
