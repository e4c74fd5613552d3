"""Tasks with labels: what a model is fitted on and tested on.

In: published layouts. Out: examples by language and split.

A labelled task `x` is a task module (see `mlcl.tasks`) that also has

    TASK: LabelledTask        how to read it and what its labels are

Its `evaluate(embed, root, options)` fits a probe on frozen vectors; `mlcl finetune` fits the encoder itself. Both read
through `TASK`, so they see the same rows in the same splits.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

from mlcl.core.files import RowCounter

Kind: TypeAlias = Literal["classification", "pair", "regression", "tagging", "retrieval"]
Split: TypeAlias = Literal["train", "dev", "test"]
SPLITS: tuple[Split, ...] = ("train", "dev", "test")


@dataclass(frozen=True, slots=True)
class Example:
    """One text, or pair of texts, with its label.

    Attributes:
        text: The text, or the first of the two.
        label: One of the task's labels; a number for regression; for retrieval the key of `pair`, the same in all
            languages.
        pair: The second text; for retrieval the passage that answers `text`.
        unit: What a split must not cut through: the premise, the document, the row that is parallel over languages.
        item: The same for a row and its translations, and for nothing else; empty where the data set does not say it.
    """

    text: str
    label: str | float
    pair: str | None = None
    unit: str = ""
    item: str = ""


@dataclass(frozen=True, slots=True)
class TaggedSentence:
    """Words with one IOB2 tag each (`O`, `B-PER`, `I-PER`, ...), repaired where the data set breaks the scheme."""

    words: tuple[str, ...]
    tags: tuple[str, ...]


Examples: TypeAlias = "list[Example] | list[TaggedSentence]"


@dataclass(frozen=True, slots=True)
class Language:
    """One language of a data set.

    Attributes:
        code: The data set's own code.
        tag: Our canonical tag.
        splits: Splits that exist for it, after any cutting of a lone file (`LabelledTask.cutting`).
    """

    code: str
    tag: str
    splits: tuple[Split, ...]


@dataclass(frozen=True)
class LabelledTask:
    """How one data set is read.

    Attributes:
        name: Name of the task, that of its module and of the rows in `results.json`.
        kind: What is predicted from what.
        labels: The labels in their fixed order; the entity types (`PER`, ...) for tagging; empty for regression and
            retrieval.
        metric: Headline: `accuracy`, `macro_f1`, `span_f1`, `spearman` or `map`; all are in per cent.
        languages: ROOT -> languages that are there. Raises UserError where the folder is missing.
        read: (ROOT, code, split, rows) -> examples of one language and split, in file order. Malformed rows and rows
            left out on purpose are counted in `rows`; a label outside `labels` is a UserError with file and line.
        cutting: In words, how splits are cut where the data set lacks one; empty where all are official.
    """

    name: str
    kind: Kind
    labels: tuple[str, ...]
    metric: str
    languages: Callable[[Path], list[Language]]
    read: Callable[[Path, str, Split, RowCounter], Examples]
    cutting: str = ""

    @property
    def tags(self) -> tuple[str, ...]:
        """IOB2 tags of a tagging task: `O`, then `B-` and `I-` of every entity type."""
        return ("O", *(f"{position}-{kind}" for kind in self.labels for position in "BI"))
