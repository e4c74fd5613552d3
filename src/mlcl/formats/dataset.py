"""Hugging Face `datasets`: a folder written by `save_to_disk`, or a dataset in memory.

In: the folder (a `Dataset`, or a `DatasetDict` with the option `split`). Out: records as `_fields.Fields` says.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from mlcl.core.errors import UserError, require
from mlcl.core.files import RowCounter, existing
from mlcl.formats import Record
from mlcl.formats._fields import BadRow, Fields


def read(
    path: Path,
    rows: RowCounter,
    *,
    split: str = "train",
    texts: dict[str, str | list[str]] | None = None,
    fields: list[str] | None = None,
    language: str = "",
    language_field: str = "",
    negatives: list[str] | None = None,
    document_field: str = "",
) -> Iterator[Record]:
    """Read a saved dataset.

    Args:
        path: A folder written by `save_to_disk`.
        rows: Counts rows.
        split: Which split of a `DatasetDict`.
        texts: Language to column (or columns) for translations; `translation.de` goes one level deeper.
        fields: Columns that stand alone. With neither: `anchor` and `positive` [and `negative`], else `text`.
        language: Language of `fields`, of anchor and positive.
        language_field: Column with the language of the row.
        negatives: Columns with hard negatives, each a text or a list.
        document_field: Column with the document.
    """
    shape = Fields(texts, fields, language, language_field, negatives or (), document_field)
    return from_rows(_load(existing(path), split), shape, rows, Path(path))


def from_rows(
    dataset: Iterable[Mapping[str, Any]], shape: Fields, rows: RowCounter, name: Path = Path("dataset")
) -> Iterator[Record]:
    """Records of a dataset in memory: a `datasets.Dataset`, an `IterableDataset`, or any iterable of mappings."""
    for number, row in enumerate(dataset, start=1):
        try:
            records = list(shape.records(row))
        except BadRow as error:
            rows.bad_row(name, number, str(error))
            continue
        rows.good()
        yield from records


def _load(path: Path, split: str) -> Iterable[Mapping[str, Any]]:
    require("datasets", "datasets")
    import datasets

    try:
        loaded = datasets.load_from_disk(str(path))
    except (FileNotFoundError, ValueError) as error:
        raise UserError("no dataset written by save_to_disk is here", path=path) from error
    if isinstance(loaded, datasets.DatasetDict):
        if split not in loaded:
            raise UserError(f"no split {split!r}", path=path, remedy=f"there are: {', '.join(loaded)}")
        return loaded[split]
    return loaded
