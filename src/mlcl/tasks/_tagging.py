"""Tagging tasks whose entity types differ: a task with more types, seen through fewer. In and out: `LabelledTask`s."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from mlcl.core.errors import UserError
from mlcl.core.files import RowCounter
from mlcl.tasks._labelled import Examples, LabelledTask, Split, TaggedSentence


def restricted(task: LabelledTask, labels: Sequence[str]) -> LabelledTask:
    """The same task with some of its entity types only; the tags of all others become `O`.

    So a model that was fitted on persons, organisations and places is measured on data that have dates as well.

    Raises:
        UserError: it is no tagging task, or lacks one of the types.
    """
    if task.kind != "tagging":
        raise UserError(f"{task.name} is no tagging task")
    if missing := [label for label in labels if label not in task.labels]:
        remedy = f"its types: {', '.join(task.labels)}"
        raise UserError(f"{task.name} has no entity type {', '.join(missing)}", remedy=remedy)
    kept = {"O", *(f"{position}-{label}" for label in labels for position in "BI")}

    def read(root: Path, code: str, split: Split, rows: RowCounter) -> Examples:
        return [
            TaggedSentence(sentence.words, tuple(tag if tag in kept else "O" for tag in sentence.tags))
            for sentence in task.read(root, code, split, rows)
            if isinstance(sentence, TaggedSentence)
        ]

    return replace(task, labels=tuple(label for label in task.labels if label in labels), read=read)
