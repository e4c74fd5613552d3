"""BUCC 2017/2018 (Zweigenbaum et al.): monolingual sentences of two languages with translations planted among them.

In: the folder with `<xx>-en/<xx>-en.<part>.{<xx>,en}[.gz]` (`id<TAB>text`) and `.gold[.gz]` (`xx id<TAB>en id`). Out: a
record per gold pair, English first, and one per other sentence. `load` gives both sides whole, for mining.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from mlcl.core.errors import UserError
from mlcl.core.files import RowCounter, existing, read_lines
from mlcl.core.languages import canonical
from mlcl.formats import Record
from mlcl.formats._aligned import select

PIVOT = "en"


@dataclass(frozen=True)
class Collections:
    """The two sides of a language pair, and which sentences translate each other.

    Attributes:
        code: The data set's code of the language that is paired with English.
        tag: Its canonical tag.
        texts: Id -> sentence of that language, in file order.
        english: Id -> English sentence.
        gold: (id, English id) of the planted translations.
    """

    code: str
    tag: str
    texts: dict[str, str]
    english: dict[str, str]
    gold: list[tuple[str, str]]


def read(path: Path, rows: RowCounter, *, part: str = "sample", languages: list[str] | None = None) -> Iterator[Record]:
    """Read BUCC as pairs and monolingual text.

    Args:
        path: The folder of the shared task.
        rows: Counts sentences.
        part: `sample`, `training` or `test`; gold pairs of `test` were never published.
        languages: Tags or official codes to keep; all when not given.
    """
    for pair in load(path, rows, part=part, languages=languages):
        for left, right in pair.gold:
            yield Record([(PIVOT, pair.english[right]), (pair.tag, pair.texts[left])])
        for place, (tag, texts) in enumerate(((pair.tag, pair.texts), (PIVOT, pair.english))):
            paired = {ids[place] for ids in pair.gold}
            for key, text in texts.items():
                if key not in paired:
                    yield Record([(tag, text)])


def load(
    path: Path, rows: RowCounter | None = None, *, part: str = "sample", languages: Sequence[str] | None = None
) -> list[Collections]:
    """Every language pair of a part.

    Args:
        path: The folder of the shared task.
        rows: Counts sentences; without it a malformed line is an error.
        part: As in `read`.
        languages: As in `read`.

    Raises:
        UserError: no such part or language, a malformed line, or gold pairs with unknown sentences.
    """
    folders = {folder.name.removesuffix(f"-{PIVOT}"): folder for folder in sorted(path.glob(f"*-{PIVOT}"))}
    tags = {code: canonical(code) for code in folders}
    return [_load_pair(folders[code], code, tags[code], part, rows) for code in select(tags, languages, path)]


def _load_pair(folder: Path, code: str, tag: str, part: str, rows: RowCounter | None) -> Collections:
    name = f"{folder.name}.{part}"
    texts, english = (dict(_rows(existing(folder / f"{name}.{side}"), rows)) for side in (code, PIVOT))
    file = folder / f"{name}.gold"
    gold: list[tuple[str, str]] = []
    if part != "test" or file.exists() or file.with_name(file.name + ".gz").exists():
        file = existing(file)
        for number, (left, right) in enumerate(_rows(file, None), start=1):
            if unknown := [key for key, side in ((left, texts), (right, english)) if key not in side]:
                raise UserError(f"{unknown[0]!r} is not the id of a sentence", path=file, line=number)
            gold.append((left, right))
    return Collections(code, tag, texts, english, gold)


def _rows(file: Path, rows: RowCounter | None) -> Iterator[tuple[str, str]]:
    """Both fields of every line; neither is blank."""
    for number, line in read_lines(file, rows):
        if line is None:
            continue
        first, tab, second = line.partition("\t")
        if tab and first.strip() and second.strip():
            if rows is not None:
                rows.good()
            yield first, second
        elif rows is None:
            raise UserError("not two fields with a tab between them", path=file, line=number, remedy="repair the line")
        else:
            rows.bad_row(file, number, "not two fields with a tab between them")
