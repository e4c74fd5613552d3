r"""STSb Multi MT (May 2021): the STS benchmark in English and, machine translated, in ten more languages.

In: the folder with `data/stsb-<lang>-<split>.csv[.gz]`, rows `sentence1,sentence2,score` without header; row n is the
same pair in every language. Out: one multi-parallel record per distinct English sentence; scored pairs for the task.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from mlcl.core.errors import UserError
from mlcl.core.files import RowCounter, existing
from mlcl.core.languages import canonical
from mlcl.formats import Record
from mlcl.formats._aligned import Version, check_same_length, records, select
from mlcl.formats._csv import read_csv


@dataclass(slots=True)
class ScoredPairs:
    """The sentence pairs of one language; row n is the same pair in every language.

    Attributes:
        code: The language code of the data set.
        tag: Our canonical tag.
        first: `sentence1` of each pair.
        second: `sentence2` of each pair.
        scores: Similarity from 0 (unrelated) to 5 (same meaning).
    """

    code: str
    tag: str
    first: list[str]
    second: list[str]
    scores: list[float]


def read(path: Path, rows: RowCounter, *, split: str = "train", languages: list[str] | None = None) -> Iterator[Record]:
    """Read the sentences as parallel text; a sentence of the first language that comes again is skipped and counted.

    Args:
        path: The folder of the repository.
        rows: Counter of good and bad rows.
        split: `train`, `dev` or `test`.
        languages: Tags or official codes to keep; all when not given.
    """
    columns: list[Version] = []
    for code, (tag, file) in _files(path, split, languages).items():
        table = [fields for _, fields in read_csv(file, 3, rows)]
        sentences = [None if fields is None else fields[side] for side in (0, 1) for fields in table]
        columns.append(Version(code, tag, sentences))
        check_same_length(columns[-1], columns[0], file)
    seen: set[str] = set()
    kept = []
    for index, text in enumerate(columns[0].texts):
        if text is None or text not in seen:
            kept.append(index)
            seen.add(text or "")
    rows.skip("repeated sentence", len(columns[0].texts) - len(kept))
    for column in columns:
        column.texts = [column.texts[index] for index in kept]
    yield from records(columns, rows)


def load(path: Path, *, split: str = "dev", languages: Sequence[str] | None = None) -> list[ScoredPairs]:
    """The scored pairs of each language, English first.

    Raises:
        UserError: a malformed row, a score that is not a number from 0 to 5, or languages of different lengths.
    """
    loaded: list[ScoredPairs] = []
    for code, (tag, file) in _files(path, split, languages).items():
        loaded.append(scored_pairs(file, code, tag))
        if len(loaded[-1].scores) != len(loaded[0].scores):
            raise UserError(
                f"{len(loaded[-1].scores)} pairs, but {loaded[0].code} has {len(loaded[0].scores)}", path=file
            )
    return loaded


def scored_pairs(file: Path, code: str, tag: str) -> ScoredPairs:
    """The scored pairs of one file. Raises as `load`."""
    pairs = ScoredPairs(code, tag, [], [], [])
    for line, fields in read_csv(file, 3):
        assert fields is not None  # without a row counter a malformed row raises
        pairs.first.append(fields[0])
        pairs.second.append(fields[1])
        pairs.scores.append(_score(fields[2], file, line))
    return pairs


def files(path: Path) -> dict[str, dict[str, Path]]:
    """`{code: {split: file}}` of the languages that are there."""
    found: dict[str, dict[str, Path]] = {}
    for split in ("train", "dev", "test"):
        for code, file in _by_code(existing(Path(path) / "data"), split).items():
            found.setdefault(code, {})[split] = file
    return found


def _score(text: str, path: Path, line: int) -> float:
    try:
        score = float(text)
    except ValueError:
        score = -1.0
    if not 0 <= score <= 5:
        raise UserError(f"score {text!r} is not a number from 0 to 5", path=path, line=line, remedy="repair the row")
    return score


def _files(path: Path, split: str, languages: Sequence[str] | None) -> dict[str, tuple[str, Path]]:
    folder = existing(Path(path) / "data")
    files = _by_code(folder, split)
    tags = {code: canonical(code) for code in files}
    return {code: (tags[code], files[code]) for code in select(tags, languages, folder)}


def _by_code(folder: Path, split: str) -> dict[str, Path]:
    name = re.compile(rf"stsb-([A-Za-z-]+)-{re.escape(split)}\.csv(?:\.gz)?")
    return {match[1]: file for file in sorted(folder.iterdir()) if (match := name.fullmatch(file.name))}
