"""Labels in one language, tests in many: which examples are fitted on, chosen on and tested on.

In: a labelled task, ROOT and options. Out: `TransferData`. Probes and fine-tuning share it, so they see the same rows.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from mlcl.core.errors import UserError
from mlcl.core.files import RowCounter
from mlcl.core.progress import console
from mlcl.formats._aligned import select
from mlcl.tasks import TaskOptions
from mlcl.tasks._labelled import Example, Examples, LabelledTask, Language, Split
from mlcl.tasks._splits import without_translations


@dataclass(frozen=True)
class TransferOptions(TaskOptions):
    """Options of tasks that fit on labels."""

    train_languages: list[str] | None = None
    """Languages whose labels are fitted on, all together: tags or the data set's codes. When not given, English where
    the data set has it, else the language with most examples."""
    selection: Literal["train-language", "joint"] = "train-language"
    """Whose dev examples settings are chosen on: those of the training languages (zero-shot transfer), or those of all
    languages that are measured (`joint`; the name of the split then says so)."""
    max_train_examples: int | None = None
    """Training examples, drawn at random over all training languages; all when not given."""
    seed: int = 0
    """Seed of whatever is drawn at random."""


@dataclass(frozen=True)
class TransferData:
    """Everything that one table language x metric is made from.

    Attributes:
        train: Examples to fit on.
        dev: Examples to choose settings on.
        test: Examples of each language that is measured.
        train_language: Tags of the training languages, such as `en` or `en+es`.
        split: Name of what is reported: `test`, or `test (joint dev)`.
        rows: What was read, left out and repaired.
    """

    train: Examples
    dev: Examples
    test: dict[Language, Examples]
    train_language: str
    split: str
    rows: RowCounter


def load(task: LabelledTask, root: Path, options: TransferOptions) -> TransferData:
    """Read and check everything.

    Raises:
        UserError: missing data, a language that is not there or has no such split, too many malformed rows, nothing to
            fit, choose or test on, or training examples of one class alone.
    """
    rows = RowCounter()
    there = task.languages(root)
    tested = chosen(task, root, there, options.languages, "test")
    fitted = training_languages(task, root, there, options.train_languages)
    test = {language: task.read(root, language.code, "test", rows) for language in tested}
    everything = [example for examples in test.values() for example in examples]
    joint = [language for language in tested if "dev" in language.splits]
    dev = _together(task, root, joint if options.selection == "joint" else fitted, "dev", rows)
    dev = without_translations(dev, everything, "dev: text also in test of another language", rows)
    train = _together(task, root, fitted, "train", rows)
    held_out = [*dev, *everything]
    train = without_translations(train, held_out, "train: text also in dev or test of another language", rows)
    if options.max_train_examples is not None and options.max_train_examples < len(train):
        train = random.Random(options.seed).sample(train, options.max_train_examples)
    data = TransferData(
        train,
        dev,
        test,
        "+".join(dict.fromkeys(language.tag for language in fitted)),
        "test (joint dev)" if options.selection == "joint" else "test",
        rows,
    )
    rows.check()
    _check(task, root, data)
    return data


def _check(task: LabelledTask, root: Path, data: TransferData) -> None:
    parts = {"train on": data.train, "select on": data.dev}
    parts |= {f"test on in {language.code}": examples for language, examples in data.test.items()}
    for purpose, examples in parts.items():
        if not examples:
            raise UserError(f"{task.name}: there are no examples to {purpose}", path=root, remedy="check the data set")
    labels = {str(example.label) for example in data.train if isinstance(example, Example)}
    if task.kind in ("classification", "pair") and len(labels) == 1:
        raise UserError(
            f"{task.name}: all training examples have the label {labels.pop()!r}",
            path=root,
            remedy="a classifier needs two classes or more",
        )


def chosen(
    task: LabelledTask, root: Path, there: Sequence[Language], wanted: Sequence[str] | None, split: Split
) -> list[Language]:
    """The languages asked for (all that have the split when None), English first.

    Raises:
        UserError: a language is not there, or lacks the split.
    """
    path = None if root == Path() else root  # a folder of one's own needs no root
    by_code = {language.code: language for language in there}
    try:
        codes = select({code: language.tag for code, language in by_code.items()}, wanted, Path(root))
    except UserError as error:
        raise UserError(f"{task.name}: {error.what}", path=error.path and path, remedy=error.remedy) from error
    found = [by_code[code] for code in codes if split in by_code[code].splits]
    missing = [code for code in codes if split not in by_code[code].splits]
    if missing and (wanted is not None or not found):
        raise UserError(
            f"{task.name}: {', '.join(missing)} has no {split} part",
            path=path,
            remedy=f"with one: {', '.join(one.code for one in there if split in one.splits) or 'none'}",
        )
    return found


def training_languages(
    task: LabelledTask, root: Path, there: Sequence[Language], wanted: Sequence[str] | None
) -> list[Language]:
    """The languages to fit on; by default English where it has training examples, else the one that has most.

    Raises:
        UserError: a language is not there, or has no training examples.
    """
    if wanted is not None:
        return chosen(task, root, there, wanted, "train")
    found = chosen(task, root, there, None, "train")
    english = [language for language in found if language.tag == "en"]
    return english or [max(found, key=lambda one: len(task.read(root, one.code, "train", RowCounter())))]


def tell(task: LabelledTask, data: TransferData) -> None:
    """Say how large the parts are, and what was left out or repaired on the way."""
    tested = sum(len(examples) for examples in data.test.values())
    console.print(
        f"  [dim]{task.name}: {len(data.train)} to train on ({data.train_language}), {len(data.dev)} to select on, "
        f"{tested} to test on in {len(data.test)} languages[/dim]"
    )
    for reason, rows in [*data.rows.skipped.items(), *data.rows.bad.items()]:
        console.print(f"  [dim]{task.name}: {reason}: {rows}[/dim]")


def _together(task: LabelledTask, root: Path, languages: Sequence[Language], split: Split, rows: RowCounter) -> Any:
    return [example for language in languages for example in task.read(root, language.code, split, rows)]
