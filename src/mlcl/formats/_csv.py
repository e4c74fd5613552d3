r"""CSV and TSV with quoting, read without splitting lines on anything but `\n`.

In: a plain or `.gz` file. Out: `(line number, fields)`; None for a malformed row, so that positions are kept.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

from mlcl.core.errors import UserError
from mlcl.core.files import RowCounter, read_lines


def read_csv(
    path: Path, columns: int, rows: RowCounter | None = None, *, delimiter: str = ","
) -> Iterator[tuple[int, list[str] | None]]:
    """Numbered rows of a CSV file.

    Args:
        path: The file.
        columns: Number of fields that a row must have.
        rows: Counts malformed rows; without it such a row is an error.
        delimiter: Field separator.

    Raises:
        UserError: an unreadable file, or a malformed row when `rows` is None.
    """
    # A line that is not UTF-8 (None) was counted by `read_lines`; as a blank line it keeps the numbering.
    invalid: set[int] = set()

    def lines() -> Iterator[str]:
        for number, text in read_lines(path, rows):
            if text is None:
                invalid.add(number)
            yield (text or "") + "\n"

    reader = csv.reader(lines(), delimiter=delimiter, strict=True)
    while True:
        start = reader.line_num + 1
        try:
            fields = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            problem = str(error)
        else:
            if len(fields) == columns:
                yield start, fields
                continue
            if start in invalid:
                yield start, None
                continue
            problem = f"{len(fields)} fields, expected {columns}"
        if rows is None:
            raise UserError(problem, path=path, line=start, remedy="repair the row")
        rows.bad_row(path, start, problem)
        yield start, None
