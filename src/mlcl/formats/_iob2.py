"""Tagged words: a word and its IOB2 tag on each line, a blank line between sentences.

In: CoNLL files as published. Out: words and tags of each sentence, repaired where the file breaks the scheme. (`conll`
reads the same files as text, for corpora.)
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import TypeAlias

from mlcl.core.errors import UserError
from mlcl.core.files import RowCounter, read_lines

Sentence: TypeAlias = tuple[tuple[str, ...], tuple[str, ...]]
"""Words and their tags."""


def read_iob2(
    path: Path,
    rows: RowCounter,
    *,
    labels: Collection[str],
    separator: str = "\t",
    columns: tuple[int, int] = (0, 1),
    prefix: str = "",
    comment: str = "",
) -> Iterator[Sentence]:
    """Read tagged sentences.

    Args:
        path: The file.
        rows: Counts repaired tags, under `skipped`, and lines that are not UTF-8.
        labels: Entity types that the data set has (`PER`, ...).
        separator: Between the columns.
        columns: Where the word and the tag stand, from 0.
        prefix: What stands before each word and is taken off, as `de:` in WikiANN.
        comment: Lines that begin with it are passed by.

    Raises:
        UserError: a word without a tag, or a tag of another type or scheme, with file and line.
    """
    known = {"O", *(f"{position}-{label}" for label in labels for position in "BI")}
    words: list[str] = []
    tags: list[str] = []
    number = 0
    for number, line in read_lines(path, rows):
        if line is None or (comment and line.startswith(comment)):
            continue
        if line and not line.isspace():
            fields = line.split(separator)
            if len(fields) <= max(columns):
                raise UserError(
                    f"{len(fields)} columns: every word needs a tag", path=path, line=number, remedy="repair the line"
                )
            word, tag = fields[columns[0]], fields[columns[1]]
            if tag not in known:
                remedy = f"tags: O, and B- or I- of {', '.join(labels)}"
                raise UserError(f"tag {tag!r} is unknown", path=path, line=number, remedy=remedy)
            words.append(word.removeprefix(prefix))
            tags.append(tag)
        elif words:
            yield _sentence(words, tags, rows)
            words, tags = [], []
    if words:
        yield _sentence(words, tags, rows)


def _sentence(words: Sequence[str], tags: Sequence[str], rows: RowCounter) -> Sentence:
    whole = repair(tags)
    if changed := sum(old != new for old, new in zip(tags, whole, strict=True)):
        rows.skip("I- tag that starts an entity (kept as B-)", changed)
    return tuple(words), whole


def repair(tags: Sequence[str]) -> tuple[str, ...]:
    """Tags in which every entity begins with `B-`: an `I-` that continues nothing of its type becomes `B-`.

    >>> repair(["I-PER", "I-PER", "O", "B-LOC", "I-ORG"])
    ('B-PER', 'I-PER', 'O', 'B-LOC', 'B-ORG')
    """
    whole: list[str] = []
    before = "O"
    for tag in tags:
        starts = tag.startswith("I-") and before[2:] != tag[2:]
        whole.append(f"B-{tag[2:]}" if starts else tag)
        before = tag
    return tuple(whole)
