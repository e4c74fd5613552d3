"""XNLI 1.0 (Conneau et al. 2018): premises and hypotheses, translated by people into fifteen languages.

In: the folder with `xnli.dev.tsv[.gz]` and, where it was fetched, `xnli.test.tsv` (all languages in one file, 19
columns, no quoting); later translations have their language in the name (`xnli.dev.my.tsv`). Out: multi-parallel
sentences for corpora; labelled pairs for the task.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

from mlcl.core.errors import UserError
from mlcl.core.files import RowCounter, existing, read_lines
from mlcl.core.languages import canonical
from mlcl.formats import Record
from mlcl.formats._aligned import select
from mlcl.formats._labelled import LabelledRow, checked

LABELS = ("entailment", "neutral", "contradiction")
_COLUMNS = (
    "language gold_label sentence1_binary_parse sentence2_binary_parse sentence1_parse sentence2_parse sentence1 "
    "sentence2 promptID pairID genre label1 label2 label3 label4 label5 sentence1_tokenized sentence2_tokenized match"
).split()
_LABEL, _PREMISE, _HYPOTHESIS, _PROMPT, _PAIR = (
    _COLUMNS.index(name) for name in ("gold_label", "sentence1", "sentence2", "promptID", "pairID")
)
_FILE = re.compile(r"xnli\.(dev|test)(?:\.[A-Za-z-]+)?\.tsv(?:\.gz)?")


def read(
    path: Path, rows: RowCounter, *, languages: list[str] | None = None, parts: list[str] | None = None
) -> Iterator[Record]:
    """Read XNLI as parallel text: one record per premise and one per hypothesis.

    Args:
        path: The folder.
        rows: Counts sentences.
        languages: Tags or official codes to keep; all when not given.
        parts: `dev`, `test` or both, which is the default.
    """
    found = files(path)
    tags = {code: canonical(code) for code in found}
    joined: dict[tuple[str, str, str], Record] = {}
    for code in select(tags, languages, Path(path)):
        for part, file in found[code].items():
            if parts is not None and part not in parts:
                continue
            for _, fields in _rows(file, code, rows):
                for kind, column, key in (("premise", _PREMISE, _PROMPT), ("hypothesis", _HYPOTHESIS, _PAIR)):
                    version = (tags[code], fields[column])
                    record = joined.setdefault((part, kind, fields[key]), Record([]))
                    if version not in record.texts:  # each premise stands in three pairs
                        record.texts.append(version)
    for record in joined.values():
        rows.good()
        yield record


def files(path: Path) -> dict[str, dict[str, Path]]:
    """`{official code: {part: file}}` of the languages that are there."""
    found: dict[str, dict[str, Path]] = {}
    for file in sorted(existing(Path(path)).iterdir()):
        if match := _FILE.fullmatch(file.name):
            for code in _languages(file, file.stat().st_mtime_ns):
                found.setdefault(code, {})[match[1]] = file
    return found


def labelled(file: Path, code: str, rows: RowCounter) -> Iterator[LabelledRow]:
    """The pairs of one language, premise first; the unit is the premise and the item the pair, in all languages."""
    numbered = (
        (line, LabelledRow(row[_PREMISE], row[_LABEL], row[_HYPOTHESIS], row[_PROMPT], row[_PAIR]))
        for line, row in _rows(file, code, rows)
    )
    yield from checked(numbered, LABELS, file, rows)


@lru_cache(maxsize=8)
def _languages(file: Path, modified: int) -> list[str]:
    """Codes in a file; `modified` is its time stamp, so that a changed file is read again."""
    lines = read_lines(file)
    _, header = next(lines)
    if header is None or header.split("\t") != _COLUMNS:
        raise UserError(f"the header is not that of XNLI ({' '.join(_COLUMNS[:2])} ...)", path=file, line=1)
    return list(dict.fromkeys((line or "").partition("\t")[0] for _, line in lines))


def _rows(file: Path, code: str, rows: RowCounter) -> Iterator[tuple[int, list[str]]]:
    start = f"{code}\t"
    for number, line in read_lines(file, rows):
        if line is None or not line.startswith(start):
            continue
        fields = line.split("\t")
        if len(fields) == len(_COLUMNS):
            yield number, fields
        else:
            rows.bad_row(file, number, f"{len(fields)} fields, expected {len(_COLUMNS)}")
