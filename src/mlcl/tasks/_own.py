"""Labels of one's own: a folder that holds a folder for each language. In: that folder. Out: a `LabelledTask`.

    intents/en/train.tsv   intents/en/dev.tsv   intents/de/test.tsv   intents/sw/test.jsonl

Parts are `train`, `dev` and `test`; those that a language lacks are cut as `_splits` says. A file is `.tsv` (a header,
then fields by tabs, quotes being plain characters), `.csv` (quoted where needed), `.jsonl` (an object a line) or
`.conll` (word, tab, IOB2 tag; a blank line between sentences), each plain or with `.gz` added. Its columns say what the
task is:

    text, label             classification        macro F1
    text, pair, label       pairs of texts        accuracy
    text, pair, score       regression            Spearman's correlation
    .conll                  tagging               F1 of spans

A further column `unit` names what a cut must not go through (a document, a premise). A column `id` names the row among
those of its part, and is the same for its translations in other languages; without `unit`, a cut keeps rows of one id
on one side. Other columns are not read. The labels are those of the training files; `labels.txt`, one a line, may give
them and their order instead.
"""

from __future__ import annotations

import csv
import json
import math
from collections import Counter
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from mlcl.core.errors import UserError
from mlcl.core.files import RowCounter, read_lines
from mlcl.formats._csv import read_csv
from mlcl.formats._iob2 import read_iob2
from mlcl.formats._labelled import Files, LabelledRow, checked, files_by_folder, read_tsv
from mlcl.tasks._labelled import SPLITS, Example, Kind, LabelledTask, TaggedSentence
from mlcl.tasks._splits import published

SUFFIXES = (".tsv", ".csv", ".jsonl", ".conll")
_METRICS: dict[Kind, str] = {
    "classification": "macro_f1",
    "pair": "accuracy",
    "regression": "spearman",
    "tagging": "span_f1",
}
_COLUMNS: dict[Kind, tuple[str, ...]] = {  # the first whose columns are all there
    "regression": ("text", "pair", "score"),
    "pair": ("text", "pair", "label"),
    "classification": ("text", "label"),
}


def is_own(name: str) -> bool:
    """Whether the name of a task is a folder of one's own."""
    return Path(name).expanduser().is_dir()


def own_task(name: str) -> LabelledTask:
    """The task of a folder.

    Raises:
        UserError: no files of the kind above, columns that are not there, or files of different kinds of task.
    """
    path = Path(name).expanduser().resolve()
    files = _files(path)
    if not files:
        raise UserError(
            "it holds no LANGUAGE/train.tsv, dev.tsv or test.tsv",
            path=name,
            remedy=f"one folder per language; known suffixes: {', '.join(SUFFIXES)}",
        )
    kinds = {file: _kind(file) for parts in files.values() for file in parts.values()}
    kind = next(iter(kinds.values()))
    if other := next((file for file, found in kinds.items() if found != kind), None):
        first = next(iter(kinds)).relative_to(path)
        raise UserError(f"this is a {kinds[other]} task, {first} a {kind} one", path=other)
    labels = () if kind == "regression" else _labels(path, files, kind)
    return published(
        path.name, kind, labels, _METRICS[kind], _files, partial(_parse, kind, labels), data=str(path),
        cutting="parts that a language lacks are cut out of those that it has, by unit (else by text)",
    )  # fmt: skip


def _files(path: Path) -> Files:
    found: dict[str, dict[str, Path]] = {}
    for suffix in SUFFIXES:
        for code, parts in files_by_folder(path, {part: f"{part}{suffix}" for part in SPLITS}).items():
            for part, file in parts.items():
                if part in found.setdefault(code, {}):
                    raise UserError(f"there is {found[code][part].name} too", path=file, remedy="keep one of them")
                found[code][part] = file
    return found


def _suffix(file: Path) -> str:
    return Path(file.name.removesuffix(".gz")).suffix


def _columns(file: Path) -> list[str]:
    """Names of the columns, or of the fields of the first object. Raises UserError for an empty or malformed file."""
    number, line = next(read_lines(file))
    if line is None:
        raise UserError("invalid UTF-8", path=file, line=number, remedy="re-encode the file")
    if _suffix(file) == ".jsonl":
        return list(_object(line, file, number))
    return next(csv.reader([line]), []) if _suffix(file) == ".csv" else line.split("\t")


def _object(line: str, file: Path, number: int) -> Mapping[str, Any]:
    try:
        found = json.loads(line)
    except ValueError as error:
        raise UserError(f"not JSON: {error}", path=file, line=number, remedy="write one object a line") from error
    if not isinstance(found, dict):
        raise UserError("not a JSON object", path=file, line=number, remedy="write one object a line")
    return found


def _kind(file: Path) -> Kind:
    if _suffix(file) == ".conll":
        return "tagging"
    there = _columns(file)
    if twice := [name for name, number in Counter(there).items() if number > 1 and name]:
        raise UserError(f"the column {twice[0]!r} comes twice", path=file, line=1, remedy="rename one of them")
    for kind, wanted in _COLUMNS.items():
        if set(wanted) <= set(there):
            return kind
    raise UserError(
        f"its columns are {', '.join(there)}", path=file, line=1, remedy="they must be text and label; text, pair and "
        "label; or text, pair and score",
    )  # fmt: skip


def _labels(path: Path, files: Files, kind: Kind) -> tuple[str, ...]:
    """The labels, or the entity types, of the training files: those that are there, else all files."""
    if (path / "labels.txt").is_file():
        lines = [(line or "").strip() for _, line in read_lines(path / "labels.txt")]
        if not any(lines):
            raise UserError("it holds no label", path=path / "labels.txt", remedy="write one a line, or delete it")
        return tuple(dict.fromkeys(line for line in lines if line))
    training = [parts["train"] for parts in files.values() if "train" in parts]
    found: set[str] = set()
    for file in training or [file for parts in files.values() for file in parts.values()]:
        if kind == "tagging":
            tags = [line.rpartition("\t")[2] for _, line in read_lines(file) if line]
            found |= {tag[2:] for tag in tags if tag[:2] in ("B-", "I-")}
        else:
            found |= {row["label"] for _, row in _rows(file, RowCounter())}
    return tuple(sorted(found - {""}))  # a row without a label is a mistake, and `checked` names its line


def _parse(
    kind: Kind, labels: tuple[str, ...], file: Path, code: str, rows: RowCounter
) -> Iterator[Example] | Iterator[TaggedSentence]:
    """The examples of one file."""
    if kind == "tagging":
        return (TaggedSentence(*sentence) for sentence in read_iob2(file, rows, labels=labels))
    if kind == "regression":
        return _scored(file, rows)
    numbered = (
        (line, LabelledRow(row["text"], row["label"], row["pair"] if kind == "pair" else None, *_names(row)))
        for line, row in _rows(file, rows)
    )
    return (Example(*row) for row in checked(numbered, labels, file, rows))


def _scored(file: Path, rows: RowCounter) -> Iterator[Example]:
    for line, row in _rows(file, rows):
        try:
            score = float(row["score"])
        except ValueError:
            score = math.nan
        if not math.isfinite(score):
            raise UserError(f"score {row['score']!r} is no number", path=file, line=line)
        if not row["text"].strip() or not row["pair"].strip():
            rows.skip("empty text")
            continue
        yield Example(row["text"], score, row["pair"], *_names(row))


def _names(row: Mapping[str, str]) -> tuple[str, str]:
    """The unit and the item of a row."""
    item = row.get("id", "").strip()
    return row.get("unit", "") or item, item


def _rows(file: Path, rows: RowCounter) -> Iterator[tuple[int, dict[str, str]]]:
    """Numbered rows as column -> text; malformed ones are counted."""
    columns = _columns(file)
    if _suffix(file) == ".jsonl":
        for number, line in read_lines(file, rows):
            if line is None or not line.strip():
                continue
            row = _object(line, file, number)
            if missing := [name for name in columns if name not in row and name in ("text", "pair", "label", "score")]:
                rows.bad_row(file, number, f"no {', '.join(missing)}")
            else:
                yield number, {key: "" if value is None else str(value) for key, value in row.items()}
        return
    numbered = read_csv(file, len(columns), rows) if _suffix(file) == ".csv" else read_tsv(file, columns, rows)
    for number, fields in numbered:
        if fields is not None and number > 1:  # the header
            yield number, dict(zip(columns, fields, strict=True))
