"""Files of sentence pairs that `mlcl mine` and `mlcl align` write: `.tsv`, `.tsv.gz` or `.parquet`, by the suffix."""

from __future__ import annotations

import csv
import gzip
import io
from collections.abc import Iterable
from itertools import islice
from pathlib import Path
from typing import TypeAlias

from mlcl.core.errors import UserError
from mlcl.core.files import atomic_file

Row: TypeAlias = tuple[float, int, int, str, str]
"""Score, source line, target line (counted from 1), source, target; texts are empty where only vectors are known."""

_BLOCK = 65_536


def format_of(out: Path) -> str:
    """Tsv or parquet, by the suffix.

    Raises:
        UserError: another suffix.
    """
    name = out.name.removesuffix(".gz")
    if name.endswith(".tsv"):
        return "tsv"
    if out.suffix == ".parquet":
        return "parquet"
    raise UserError(f"the suffix {out.suffix!r} names no format of pairs", path=out, remedy="give .tsv or .parquet")


def write_pairs(out: Path, rows: Iterable[Row]) -> None:
    """Write the pairs: as TSV score, source, target (line numbers where there are no texts), as Parquet all columns."""
    with atomic_file(out) as partial:
        if format_of(out) == "parquet":
            _write_parquet(partial, rows)
            return
        with gzip.open(partial, "wb") if out.suffix == ".gz" else partial.open("wb") as raw:
            file = io.TextIOWrapper(raw, encoding="utf-8", newline="")
            cells = csv.writer(file, delimiter="\t", lineterminator="\n", quoting=csv.QUOTE_NONE, quotechar=None)
            for score, first, second, source, target in rows:
                cells.writerow((f"{score:.6f}", _cell(source) or first, _cell(target) or second))
            file.flush()
            file.detach()


def _cell(text: str) -> str:
    """Text without the characters that end a cell or a row."""
    return text.replace("\t", " ").replace("\r", " ")


def _write_parquet(path: Path, rows: Iterable[Row]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = pa.schema(
        [("score", pa.float64()), ("source_line", pa.int64()), ("target_line", pa.int64()),
         ("source", pa.string()), ("target", pa.string())]
    )  # fmt: skip
    with pq.ParquetWriter(path, schema) as writer:
        rest = iter(rows)
        while block := list(islice(rest, _BLOCK)):
            columns = [pa.array(list(column)) for column in zip(*block, strict=True)]
            writer.write_table(pa.Table.from_arrays(columns, names=schema.names).cast(schema))
