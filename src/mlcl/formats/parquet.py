"""Parquet files: translations, single texts, or anchor/positive/negative columns.

In: a file, or a folder of `*.parquet` files. Out: records as `_fields.Fields` says, read in batches.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from mlcl.core.errors import UserError
from mlcl.core.files import RowCounter, existing
from mlcl.formats import Record
from mlcl.formats._fields import BadRow, Fields


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
) -> Iterator[Record]:
    """Read Parquet.

    Args:
        path: A file or a folder.
        rows: Counts rows.
        texts: Language to column (or columns) for translations; `translation.de` goes into a struct.
        fields: Columns that stand alone. With neither: `anchor` and `positive` [and `negative`], else `text`.
        language: Language of `fields`, of anchor and positive.
        language_field: Column with the language of the row.
        negatives: Columns with hard negatives, each a text or a list.
        document_field: Column with the document.
    """
    shape = Fields(texts, fields, language, language_field, negatives or (), document_field)
    path = existing(path)
    files = sorted(path.rglob("*.parquet")) if path.is_dir() else [path]
    if not files:
        raise UserError("no .parquet file in this folder", path=path)
    for file in files:
        try:
            with pq.ParquetFile(file) as table:
                columns = shape.columns()
                if missing := [name for name in columns or () if name not in table.schema_arrow.names]:
                    raise UserError(
                        f"no column {', '.join(missing)}",
                        path=file,
                        remedy=f"columns: {', '.join(table.schema_arrow.names)}",
                    )
                number = 0
                for batch in table.iter_batches(batch_size=8192, columns=columns):
                    for row in batch.to_pylist():
                        number += 1
                        try:
                            records = list(shape.records(row))
                        except BadRow as error:
                            rows.bad_row(file, number, str(error))
                            continue
                        rows.good()
                        yield from records
        except (pa.ArrowException, OSError) as error:
            raise UserError(f"not a readable Parquet file: {str(error).partition(chr(10))[0]}", path=file) from error
