"""What the layouts with labels share: rows of text with a label, TSV with quoting off, files by language and part.

In: files as published. Out: `LabelledRow`s in file order. Empty texts are counted and left out; a label that the data
set does not have is an error with file and line.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, TypeAlias

from mlcl.core.errors import UserError
from mlcl.core.files import RowCounter, read_lines

Files: TypeAlias = Mapping[str, Mapping[str, Path]]
"""`{code of the data set: {part: file}}`; a part is `train`, `dev` or `test`, whatever its file is called."""


class LabelledRow(NamedTuple):
    """One text, or pair of texts, with its label.

    Attributes:
        text: The text, or the first of the two.
        label: Its label.
        pair: The second text.
        unit: What a split must not cut through; the text itself where it is empty.
        item: Names the row among those of its file, and is the same in all languages; empty where nothing does.
    """

    text: str
    label: str
    pair: str | None = None
    unit: str = ""
    item: str = ""


def checked(
    numbered: Iterable[tuple[int, LabelledRow]], labels: Collection[str], path: Path, rows: RowCounter
) -> Iterator[LabelledRow]:
    """The rows that have a text.

    Args:
        numbered: Line number and row.
        labels: The labels of the data set.
        path: Their file, for the message.
        rows: Counts rows with an empty text as skipped.

    Raises:
        UserError: a label that is not among `labels`.
    """
    for line, row in numbered:
        if row.label not in labels:
            raise UserError(
                f"label {row.label!r} is unknown", path=path, line=line, remedy=f"labels: {', '.join(labels)}"
            )
        if not row.text.strip() or (row.pair is not None and not row.pair.strip()):
            rows.skip("empty text")
            continue
        yield row


def read_tsv(path: Path, columns: Sequence[str] | int, rows: RowCounter) -> Iterator[tuple[int, list[str]]]:
    """Numbered rows of a tab-separated file in which quotes are plain characters; malformed rows are counted.

    Args:
        path: The file.
        columns: The header as published, or the number of columns where there is no header.
        rows: Counts malformed rows.

    Raises:
        UserError: another header.
    """
    width = columns if isinstance(columns, int) else len(columns)
    for number, line in read_lines(path, rows):
        fields = (line or "").split("\t")
        if number == 1 and not isinstance(columns, int):
            if fields != list(columns):
                raise UserError(f"the header is not {' '.join(columns)} by tabs", path=path, line=1)
        elif line is not None and len(fields) != width:
            rows.bad_row(path, number, f"{len(fields)} fields, expected {width}")
        elif line is not None:
            yield number, fields


def files_by_folder(path: Path, names: Mapping[str, str]) -> Files:
    """The files of layouts that have a folder per language.

    Args:
        path: The folder of the language folders.
        names: Part -> name of its file in each of them; `.gz` is optional.
    """
    if not path.is_dir():
        raise UserError("no such folder", path=path, remedy="give the folder of the published layout")
    found: dict[str, dict[str, Path]] = {}
    for child in sorted(path.iterdir()):
        if parts := present({part: child / name for part, name in names.items()}):
            found[child.name] = parts
    return found


def present(files: Mapping[str, Path]) -> dict[str, Path]:
    """Those files of `{part: file}` that exist, plain or with `.gz` added."""
    zipped = {part: file.with_name(file.name + ".gz") for part, file in files.items()}
    return {
        part: file if file.is_file() else zipped[part]
        for part, file in files.items()
        if file.is_file() or zipped[part].is_file()
    }
