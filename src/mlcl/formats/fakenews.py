r"""Six collections of real and fake news under one schema: text, and `real` or `fake`.

In: a folder with one sub-folder per collection, named as below, each with the files of its own release. Out: texts for
corpora; labelled texts for the task.

- `ar-ans`: Arabic News Stance (Khouja 2020), the claims; `fake_flag` 1 is fake.
- `en-LIAR`: LIAR (Wang 2017), short statements in six degrees of truth: `true`, `mostly-true` and `half-true` count as
  real; `barely-true`, `false` and `pants-fire` as fake. Quotes are plain characters.
- `es-FakeNewsCorpusSpanish`: Posadas-Durán et al. (2019); the column `Text`, which mostly begins with the headline.
- `ur-BendTheTruth`: Amjad et al. (2020).
- `vi-VFND`: VFND (Ho 2019); CSV whose quoted texts span lines, `\r\n` at the end of each row; label 1 is fake.
- `zh-CHECKED`: CHECKED (Yang et al. 2021), Weibo posts on COVID-19.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from mlcl.core.errors import UserError
from mlcl.core.files import RowCounter, existing
from mlcl.core.languages import canonical
from mlcl.formats import Record
from mlcl.formats._aligned import select
from mlcl.formats._csv import read_csv
from mlcl.formats._labelled import Files, LabelledRow, checked, present, read_tsv

LABELS = ("real", "fake")
_Rows = Iterator[tuple[int, list[str]]]


def _csv(header: tuple[str, ...]) -> Callable[[Path, RowCounter], _Rows]:
    def rows_of(path: Path, rows: RowCounter) -> _Rows:
        table = read_csv(path, len(header), rows)
        if (first := next(table, (1, None))[1]) != list(header):
            raise UserError(f"the header is not {','.join(header)}, it is {first}", path=path, line=1)
        return ((line, fields) for line, fields in table if fields is not None)

    return rows_of


def _tsv(columns: tuple[str, ...] | int) -> Callable[[Path, RowCounter], _Rows]:
    return lambda path, rows: read_tsv(path, columns, rows)


@dataclass(frozen=True)
class _Collection:
    """How one collection is read.

    Attributes:
        parts: Part -> file below its folder.
        table: File -> numbered rows of fields.
        text: Column of the text, from 0.
        label: Column of the label.
        meaning: Published label -> ours.
    """

    parts: Mapping[str, str]
    table: Callable[[Path, RowCounter], _Rows]
    text: int
    label: int
    meaning: Mapping[str, str]


_FLAG = {"0": "real", "1": "fake"}
_SAME = {"real": "real", "fake": "fake"}
_DEGREES = {
    "true": "real", "mostly-true": "real", "half-true": "real",
    "barely-true": "fake", "false": "fake", "pants-fire": "fake",
}  # fmt: skip
_SPANISH = ("Id", "Category", "Topic", "Source", "Headline", "Text", "Link")
_COLLECTIONS = {
    "ar-ans": _Collection(
        {part: f"data/claim/{part}.csv" for part in ("train", "dev", "test")},
        _csv(("claim_s", "fake_flag")), 0, 1, _FLAG,
    ),
    "en-LIAR": _Collection(
        {"train": "train.tsv", "dev": "valid.tsv", "test": "test.tsv"}, _tsv(14), 2, 1, _DEGREES,
    ),
    "es-FakeNewsCorpusSpanish": _Collection(
        {"train": "train.tsv", "dev": "development.tsv", "test": "test.tsv"},
        _tsv(_SPANISH), 5, 1, {"True": "real", "Fake": "fake"},
    ),
    "ur-BendTheTruth": _Collection(
        {"train": "train.tsv", "test": "test.tsv"}, _tsv(("id", "label", "text")), 2, 1, _SAME,
    ),
    "vi-VFND": _Collection({"train": "CSV/vn_news_226_tlfr.csv"}, _csv(("text", "label")), 0, 1, _FLAG),
    "zh-CHECKED": _Collection(
        {"train": "new_train.txt", "dev": "new_dev.txt", "test": "new_test.txt"}, _tsv(2), 0, 1, _SAME,
    ),
}  # fmt: skip


def read(
    path: Path, rows: RowCounter, *, languages: list[str] | None = None, parts: list[str] | None = None
) -> Iterator[Record]:
    """Read the texts.

    Args:
        path: The folder of the collections.
        rows: Counts texts.
        languages: Tags or names of collections to keep; all when not given.
        parts: Some of `train`, `dev` and `test`; all that are there when not given.
    """
    found = files(path)
    for code in select({code: tag(code) for code in found}, languages, Path(path)):
        for part, file in found[code].items():
            if parts is None or part in parts:
                for row in labelled(file, code, rows):
                    rows.good()
                    yield Record([(tag(code), row.text)])


def files(path: Path) -> Files:
    """`{name of the collection: {part: file}}` of those that are there."""
    folder = existing(Path(path))
    found = {
        code: present({part: folder / code / name for part, name in collection.parts.items()})
        for code, collection in _COLLECTIONS.items()
    }
    return {code: parts for code, parts in found.items() if parts}


def tag(code: str) -> str:
    """Canonical language tag of a collection."""
    return canonical(code.partition("-")[0])


def labelled(file: Path, code: str, rows: RowCounter) -> Iterator[LabelledRow]:
    """The texts of one file of the collection `code`. Raises UserError at a label that it does not have."""
    collection = _COLLECTIONS[code]
    numbered = (
        (line, LabelledRow(fields[collection.text].strip(), fields[collection.label]))
        for line, fields in collection.table(file, rows)
    )
    for row in checked(numbered, collection.meaning, file, rows):
        yield row._replace(label=collection.meaning[row.label])
