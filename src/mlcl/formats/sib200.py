"""SIB-200 (Adelani et al. 2023): FLORES-200 sentences with a topic, as parallel text joined by `index_id`.

In: the folder with `data/annotated/<lang_Script>/{train,dev}.tsv[.gz]` (`index_id, category, text`, CSV-quoted). Out:
one multi-parallel record per `index_id`, English first; labelled texts for the task.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from mlcl.core.errors import UserError
from mlcl.core.files import RowCounter, existing
from mlcl.core.languages import canonical
from mlcl.formats import Record
from mlcl.formats._aligned import Version, records, select
from mlcl.formats._csv import read_csv
from mlcl.formats._labelled import LabelledRow, checked

LABELS = ("science/technology", "travel", "politics", "sports", "health", "entertainment", "geography")
_HEADER = ["index_id", "category", "text"]


def read(path: Path, rows: RowCounter, *, split: str = "train", languages: list[str] | None = None) -> Iterator[Record]:
    """Read SIB-200 as parallel text.

    Args:
        path: The folder of the repository.
        rows: Counter of good and bad rows.
        split: `train`, `dev` or `test`.
        languages: Tags or official codes to keep; all when not given.
    """
    yield from records(load(path, rows, split=split, languages=languages), rows)


def load(
    path: Path,
    rows: RowCounter | None = None,
    *,
    split: str = "train",
    languages: Sequence[str] | None = None,
    always: Sequence[str] = (),
) -> list[Version]:
    """All versions, aligned by `index_id`; None where a language lacks an id. Arguments as in `ntrex.load`."""
    folder = existing(Path(path) / "data" / "annotated")
    tags = {child.name: canonical(child.name) for child in sorted(folder.iterdir()) if child.is_dir()}
    codes = select(tags, languages, folder, always)
    texts = {code: {row[0]: row[2] for row in read_split(path, code, split, rows)} for code in codes}
    ids = dict.fromkeys(index_id for code in codes for index_id in texts[code])  # English order first
    return [Version(code, tags[code], [texts[code].get(index_id) for index_id in ids]) for code in codes]


def read_split(path: Path, code: str, split: str, rows: RowCounter | None = None) -> list[tuple[str, str, str]]:
    """`(index_id, category, text)` of every row of one language and split."""
    file = existing(Path(path) / "data" / "annotated" / code / f"{split}.tsv")
    return [(fields[0], fields[1], fields[2]) for _, fields in _table(file, rows)]


def labelled(file: Path, rows: RowCounter) -> Iterator[LabelledRow]:
    """The texts of one file with their topics; the unit is the `index_id`, the same sentence in every language."""
    numbered = (
        (line, LabelledRow(text, category, unit=index_id)) for line, (index_id, category, text) in _table(file, rows)
    )
    yield from checked(numbered, LABELS, file, rows)


def _table(file: Path, rows: RowCounter | None) -> Iterator[tuple[int, list[str]]]:
    table = read_csv(file, len(_HEADER), rows, delimiter="\t")
    _, header = next(table)
    if header != _HEADER:
        raise UserError(f"the header is not {' '.join(_HEADER)} by tabs", path=file, line=1)
    return ((line, fields) for line, fields in table if fields is not None)
