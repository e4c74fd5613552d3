"""One file per benchmark: published data and an `embed` callable in, `Result`s out. A task never sees a model.

A task `x` is a module `tasks/x.py`, found by its name, with

    HEADLINE: (metric, direction)                 the number that tables and plots show per language
    Options(TaskOptions)                          frozen dataclass: what a user may set for it
    load(root, options) -> data                   reads and checks everything, before any model is loaded
    evaluate(embed, root, options) -> results     per language, then averages (`_averages`)

`root` is the folder that holds the published layouts (`tatoeba/`, `ntrex/`, ...). Whatever has an `embed` is measured
by the same code: an encoder of ours, a foreign one, an exported one, a baseline.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from mlcl.core import plugins
from mlcl.core.errors import UserError
from mlcl.core.files import existing
from mlcl.retrieval.knn import Vectors

Embed: TypeAlias = Callable[[list[str]], Vectors]
"""Texts (N) -> vectors (N, D), normalised or not: the tasks normalise. A task calls it once, with distinct texts."""


@dataclass(frozen=True)
class Result:
    """One row of `results.json`.

    Attributes:
        task: Name of the task.
        split: Which part of its data.
        language: Canonical tag; `avg:all`, `avg:trained`, `avg:untrained` or `avg:non-latin` for averages.
        code: The data set's own code; empty for averages.
        direction: `de->en` (each German sentence searches among the English ones), `xx->en` in averages, `mean` of both
            directions; `within` one language; what else a task says.
        metric: `accuracy`, `xsim_error_cosine`, `xsim_error_margin` and `spearman` are in per cent; `alignment` and
            `uniformity` are as Wang & Isola define them.
        value: The number.
        low: Lower end of its 95 % interval; None where there is none.
        high: Upper end.
        n: Sentences (or pairs) that it is measured on; for averages, languages.
        model: Name of the model; filled in by whoever runs the task.
        seed: Seed of its training, where known.
        train_language: Language of the labels that were fitted on, in tasks that fit.
    """

    task: str
    split: str
    language: str
    code: str
    direction: str
    metric: str
    value: float
    low: float | None
    high: float | None
    n: int
    model: str = ""
    seed: int | None = None
    train_language: str | None = None


@dataclass(frozen=True)
class TaskOptions:
    """Options that every task has."""

    languages: list[str] | None = None
    """Languages to measure, as tags or as the data set's codes; all when not given."""
    trained_languages: list[str] | None = None
    """Tags that the model was trained on; averages are then also given over trained and over untrained languages."""


@dataclass(frozen=True)
class RetrievalOptions(TaskOptions):
    """Options of the retrieval tasks."""

    neighbours: int = 4
    """Size k of the neighbourhoods of the margin score."""
    margin: str = "ratio"
    """Margin of `xsim_error_margin`: ratio, distance or absolute."""


def names() -> list[str]:
    """Names of all tasks."""
    return plugins.names(__name__)


def folder(root: str | Path, name: str) -> Path:
    """The folder of a data set.

    Raises:
        UserError: it is not there.
    """
    path = existing(Path(root)) / name
    if not path.is_dir():
        raise UserError(
            f"the task's data folder {name!r} is missing", path=path, remedy="check --data, or leave the task out"
        )
    return path
