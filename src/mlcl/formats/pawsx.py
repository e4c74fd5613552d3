"""PAWS-X (Yang et al. 2019): sentence pairs with the same words that do or do not mean the same, in seven languages.

In: the folder with `x-final/<lang>/{train,dev_2k,test_2k}.tsv[.gz]` (`id sentence1 sentence2 label`, no quoting; a pair
has the same id in every language). Out: multi-parallel sentences for corpora; labelled pairs for the task. Sentences
that were not translated read `NS`; their rows are left out, as the publishers advise.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

from mlcl.core.errors import UserError
from mlcl.core.files import RowCounter
from mlcl.core.languages import canonical
from mlcl.formats import Record
from mlcl.formats._aligned import select
from mlcl.formats._labelled import Files, LabelledRow, checked, files_by_folder, read_tsv

LABELS = ("0", "1")
"""`1`: the two sentences are paraphrases."""
_NAMES = {"train": "train.tsv", "dev": "dev_2k.tsv", "test": "test_2k.tsv"}
_COLUMNS = ("id", "sentence1", "sentence2", "label")
_NOT_TRANSLATED = "NS"


def read(
    path: Path, rows: RowCounter, *, languages: list[str] | None = None, parts: list[str] | None = None
) -> Iterator[Record]:
    """Read PAWS-X as parallel text: two records per pair.

    Args:
        path: The folder.
        rows: Counts sentences.
        languages: Tags or official codes to keep; all when not given.
        parts: Some of `train`, `dev` and `test`; all that are there when not given.
    """
    found = files(path)
    tags = {code: canonical(code) for code in found}
    joined: dict[tuple[str, str, int], Record] = {}
    for code in select(tags, languages, Path(path)):
        for part, file in found[code].items():
            if parts is not None and part not in parts:
                continue
            for _, (pair_id, *sentences, _) in read_tsv(file, _COLUMNS, rows):
                for side, text in enumerate(sentences):
                    if text == _NOT_TRANSLATED or not text.strip():
                        rows.skip("not translated (NS)")
                    else:
                        joined.setdefault((part, pair_id, side), Record([])).texts.append((tags[code], text))
    for record in joined.values():
        rows.good()
        yield record


def files(path: Path) -> Files:
    """`{code: {part: file}}` of the languages that are there."""
    return files_by_folder(Path(path) / "x-final", _NAMES)


def labelled(file: Path, rows: RowCounter) -> Iterator[LabelledRow]:
    """The translated pairs of one file; the unit is the same for pairs that share a sentence in English.

    Raises:
        UserError: the English file of that part is missing.
    """
    english = _sibling(file, "en")
    units = _units(english, english.stat().st_mtime_ns)
    yield from checked(_numbered(file, units, rows), LABELS, file, rows)


def _numbered(file: Path, units: dict[str, str], rows: RowCounter) -> Iterator[tuple[int, LabelledRow]]:
    for line, (pair_id, first, second, label) in read_tsv(file, _COLUMNS, rows):
        if _NOT_TRANSLATED in (first, second):
            rows.skip("not translated (NS)")
        elif pair_id not in units:
            rows.bad_row(file, line, f"the English file has no pair {pair_id}")
        else:
            yield line, LabelledRow(first, label, second, units[pair_id], pair_id)


def _sibling(file: Path, code: str) -> Path:
    """The file of the same part in another language."""
    name = file.name.removesuffix(".gz")
    for candidate in (file.parent.parent / code / name, file.parent.parent / code / f"{name}.gz"):
        if candidate.is_file():
            return candidate
    raise UserError(
        f"the {code} file of this part is missing", path=file, remedy="fetch it: splits are cut by English sentences"
    )


@lru_cache(maxsize=8)
def _units(english: Path, modified: int) -> dict[str, str]:
    """Id of each pair -> id of the first pair that it is connected with through shared English sentences.

    `modified` is the file's time stamp, so that a changed file is read again.
    """
    leader: dict[str, str] = {}

    def find(sentence: str) -> str:
        root = sentence
        while leader.setdefault(root, root) != root:
            root = leader[root]
        while leader[sentence] != root:  # so that the next look-up is short
            leader[sentence], sentence = root, leader[sentence]
        return root

    pairs = [fields for _, fields in read_tsv(english, _COLUMNS, RowCounter())]
    for _, first, second, _ in pairs:
        leader[find(first)] = find(second)
    names: dict[str, str] = {}
    return {pair_id: names.setdefault(find(first), pair_id) for pair_id, first, _, _ in pairs}
