"""The examples of a fit: what is trained on, what chooses the checkpoint, what is tested.

In: `LabelledTask`s and the folder of data. Out: `TaskData`, checked before any model is loaded.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from mlcl.core import plugins
from mlcl.core.errors import UserError
from mlcl.core.files import RowCounter
from mlcl.core.languages import canonical
from mlcl.core.progress import console, warn
from mlcl.tasks._labelled import Example, Examples, LabelledTask, Language, Split, TaggedSentence
from mlcl.tasks._own import is_own, own_task
from mlcl.tasks._splits import keys_of
from mlcl.tasks._tagging import restricted
from mlcl.tasks._transfer import chosen

ALL = "all"
"""In the place of languages: every one that there is."""
TRAIN, JOINT = "train", "joint"
"""In the place of the languages of dev sets: those of training, and all that are tested."""


@dataclass(frozen=True)
class Part:
    """The examples of one language and split of one task."""

    task: LabelledTask
    language: Language
    split: Split
    examples: Examples

    @property
    def name(self) -> str:
        """Such as `wikiann de test`."""
        return f"{self.task.name} {self.language.code} {self.split}"


@dataclass(frozen=True)
class TaskData:
    """Everything that one run reads.

    Attributes:
        task: The task that is trained.
        train_parts: The training examples of each language.
        dev: What chooses the checkpoint; empty where there is no dev split.
        tests: What is measured at the end; of this task first, then of the further ones.
    """

    task: LabelledTask
    train_parts: list[Part]
    dev: list[Part]
    tests: list[Part]

    @property
    def train_languages(self) -> list[Language]:
        """Languages of the training examples."""
        return [part.language for part in self.train_parts]

    @cached_property
    def train(self) -> Examples:
        """The training examples of all languages, in order."""
        return [example for part in self.train_parts for example in part.examples]  # type: ignore[return-value]

    def train_for(self, seed: int, shots: int | None, most: int | None) -> Examples:
        """The training examples of one seed: all, `shots` of each label, or at most `most`."""
        if shots is not None:
            texts = [example for example in self.train if isinstance(example, Example)]
            return choose_shots(texts, self.task.labels, shots, seed)
        return _sample(self.train, most, seed)


def labelled_task(name: str) -> LabelledTask:
    """The labelled task of a name, or of a folder of one's own (`mlcl.tasks._own`).

    Raises:
        UserError: an unknown name, a task without labels, or a folder that is not laid out so.
    """
    if not needs_data(name):
        return own_task(name)
    task = getattr(plugins.load("mlcl.tasks", name), "TASK", None)
    if isinstance(task, LabelledTask):
        return task
    known = [other for other in plugins.names("mlcl.tasks") if hasattr(plugins.load("mlcl.tasks", other), "TASK")]
    raise UserError(f"the task {name!r} has no labels to learn", remedy=f"use {', '.join(known)}")


def needs_data(name: str) -> bool:
    """Whether a task is read from the folder of the published data sets; else it is a folder of one's own."""
    return name in plugins.names("mlcl.tasks") or not is_own(name)


def read_data(
    task: LabelledTask,
    root: Path,
    *,
    train: Sequence[str],
    evaluate: Sequence[str],
    further: Sequence[LabelledTask] = (),
    dev: Sequence[str] = (TRAIN,),
    most: int | None = None,
) -> TaskData:
    """Read and check everything.

    Args:
        task: The task to train.
        root: Folder of all data sets.
        train: Languages to train on, as tags or codes, or `all` (translate-train); empty for zero-shot.
        evaluate: Languages to test, or `all`.
        further: Tasks with the same labels to test as well; of the given languages those that they have.
        dev: Whose dev sets choose the checkpoint: `train` (the training languages), `joint` (all tested ones), or
            languages.
        most: Examples of each dev and test set, a sample that is the same in every run; all when None.

    Raises:
        UserError: unknown languages, missing splits, empty texts, or training labels that are all alike.
    """
    known = task.languages(root)
    learned = chosen(task, root, known, _wanted(train), "train") if train else []
    tested = chosen(task, root, known, _wanted(evaluate), "test")
    parts = [_read(task, root, language, "train") for language in learned]
    _check_variety(task, parts)
    choosing = []
    if train:
        named = {TRAIN: learned, JOINT: tested}.get(dev[0] if len(dev) == 1 else "")
        choosing = chosen(task, root, known, dev, "dev") if named is None else named
    dev_parts = [_read(task, root, language, "dev") for language in choosing if "dev" in language.splits]
    dev_parts = [part for part in dev_parts if part.examples]  # a tenth of a few rows may be none
    if len(dev_parts) < len(choosing):
        there = [part.language for part in dev_parts]
        warn(f"{task.name}: no dev examples in {', '.join(one.code for one in choosing if one not in there)}")
    tests = [_read(task, root, language, "test") for language in tested]
    for other in further:
        tests += _further_tests(task, other, root, evaluate)
    dev_parts = _apart(dev_parts, tests)
    parts = _apart(parts, [*dev_parts, *tests])
    _check_variety(task, parts)
    return TaskData(task, parts, _sampled(dev_parts, most), _sampled(tests, most))


def _apart(parts: list[Part], held_out: Sequence[Part]) -> list[Part]:
    """The parts without what is held out in another language or task: texts, and in the same task their translations.

    Within a language its reader sees to that.

    Raises:
        UserError: nothing is left of a part.
    """
    places: dict[tuple[str, ...], set[tuple[str, str]]] = {}
    for other in held_out:
        for example in other.examples:
            for key in _keys(other, example):
                places.setdefault(key, set()).add((other.task.name, other.language.code))
    kept = []
    for part in parts:
        own = {(part.task.name, part.language.code)}
        examples: Any = [
            example for example in part.examples if all(places.get(key, own) <= own for key in _keys(part, example))
        ]
        if dropped := len(part.examples) - len(examples):
            console.print(f"  [dim]{part.name}: {dropped:,} x text or translation held out in another language[/dim]")
        if not examples:
            raise UserError(f"{part.name}: every text is also held out in another language", remedy="check the files")
        kept.append(replace(part, examples=examples))
    return kept


def _keys(part: Part, example: Any) -> list[tuple[str, ...]]:
    """What may not be both in training and held out; items mean something within their task only."""
    text, *items = keys_of(example)
    return [text, *((part.task.name, *item) for item in items)]


def _sampled(parts: list[Part], most: int | None) -> list[Part]:
    """The same with at most so many examples each; sets of one size keep the same rows, so parallel ones stay so."""
    return [replace(part, examples=_sample(part.examples, most, 0)) for part in parts]


def _sample(examples: Examples, most: int | None, seed: int) -> Examples:
    """At most so many examples, drawn by a seed, in their order."""
    if most is None or most >= len(examples):
        return examples
    chosen = np.sort(np.random.default_rng(seed).choice(len(examples), size=most, replace=False))
    return [examples[number] for number in chosen.tolist()]  # type: ignore[return-value]


def choose_shots(examples: Sequence[Example], labels: Sequence[str], k: int, seed: int) -> list[Example]:
    """Draw k random examples of each label; they come in random order.

    Raises:
        UserError: a label has fewer than k.
    """
    chance = np.random.default_rng(seed)
    rows: list[int] = []
    for label in labels:
        places = [number for number, example in enumerate(examples) if example.label == label]
        if len(places) < k:
            raise UserError(
                f"shots is {k}, but the training set has {len(places)} examples of {label!r}",
                remedy=f"give at most {len(places)}" if places else "leave --shots out, or train on more languages",
            )
        rows += chance.choice(places, size=k, replace=False).tolist()
    return [examples[number] for number in chance.permutation(rows).tolist()]


def _wanted(languages: Sequence[str]) -> list[str] | None:
    return None if list(languages) == [ALL] else list(languages)


def _read(task: LabelledTask, root: Path, language: Language, split: Split) -> Part:
    rows = RowCounter()
    examples = task.read(root, language.code, split, rows)
    rows.check()
    name = f"{task.name} {language.code} {split}"
    for reason, number in [*rows.bad.items(), *rows.skipped.items()]:
        console.print(f"  [dim]{name}: {number:,} x {reason}[/dim]")
    if not examples and split != "dev":
        raise UserError(f"{name} has no examples", remedy="check the file, or add rows where it is cut from others")
    for number, example in enumerate(examples, start=1):
        if _is_empty(example):
            raise UserError(f"{name}: example {number:,} is an empty text", remedy="take it out of the file")
    return Part(task, language, split, examples)


def _is_empty(example: Any) -> bool:
    if isinstance(example, TaggedSentence):
        return not any(word.strip() for word in example.words)
    return not example.text.strip() or (example.pair is not None and not example.pair.strip())


def _check_variety(task: LabelledTask, parts: Sequence[Part]) -> None:
    labels: Counter[Any] = Counter()
    for example in (example for part in parts for example in part.examples):
        labels.update(example.tags if isinstance(example, TaggedSentence) else [example.label])
    if len(labels) == 1:
        only = next(iter(labels))
        raise UserError(f"all training examples of {task.name} have the one label {only!r}: there is nothing to learn")


def _further_tests(task: LabelledTask, other: LabelledTask, root: Path, evaluate: Sequence[str]) -> list[Part]:
    """The test sets of another task, in the labels of this one.

    Entity types that only one of the two knows are `O` in the gold tags; types that the other set does not annotate
    are taken out of the predictions when it is scored. Classes must be the same.
    """
    shared = set(task.labels) & set(other.labels)
    if other.kind != task.kind or (task.kind != "tagging" and set(task.labels) != set(other.labels)) or (
        task.kind == "tagging" and not shared
    ):  # fmt: skip
        raise UserError(
            f"{other.name} ({other.kind}: {', '.join(other.labels)}) cannot be tested with the labels of {task.name} "
            f"({task.kind}: {', '.join(task.labels)})",
            remedy="take it out of --evaluate-tasks",
        )
    if task.kind == "tagging" and (dropped := [label for label in other.labels if label not in shared]):
        warn(f"{other.name}: {', '.join(dropped)} is no label of {task.name} and counts as O")
        other = restricted(other, [label for label in other.labels if label in shared])
    there = other.languages(root)
    wanted = _wanted(evaluate)
    if wanted is not None:
        tags = {canonical(name) for name in wanted}
        wanted = [language.code for language in there if language.code in wanted or language.tag in tags]
        if not wanted:
            warn(f"{other.name} has none of the languages to test and is left out")
            return []
    return [_read(other, root, language, "test") for language in chosen(other, root, there, wanted, "test")]


def only_types(tags: Sequence[str], kinds: set[str]) -> tuple[str, ...]:
    """Tags with every entity type but some taken out."""
    return tuple(tag if tag[2:] in kinds else "O" for tag in tags)
