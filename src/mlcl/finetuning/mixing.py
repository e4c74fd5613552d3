"""Pairs whose two texts are in two languages. In: training examples that are parallel over languages, a share, a seed.

Out: the same examples, of which some have the second text (hypothesis, paraphrase, passage) of another training
language; the label is that of both. Such a pair cannot be solved by what one language's texts have in common, so the
encoder has to bring the languages together (translate-train with mixed sides; XLDA of Singh et al., arXiv 1905.11471).

What is held out cannot come in: texts are taken from the training examples alone, and a pair and its translations are
on one side of every cut.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from mlcl.core.errors import UserError
from mlcl.finetuning.data import Part, TaskData
from mlcl.tasks._labelled import Example, Examples, LabelledTask

MIXED = "second text of another language"
"""What is counted of an example that was mixed; the other reasons say why one was kept as it is."""
_KINDS = ("pair", "regression", "retrieval")
_STREAM = 0x5EC0  # so that this draw is none of those that choose examples by the same seed


def check_pairs(task: LabelledTask) -> None:
    """Refuse a task that has no pairs of texts. Raises UserError."""
    if task.kind not in _KINDS:
        raise UserError(
            f"mixed_sides is for pairs of texts, {task.name} is a {task.kind} task", remedy="leave --mixed-sides out"
        )


def check_mixable(data: TaskData) -> None:
    """Refuse data whose sides cannot be mixed.

    Raises:
        UserError: a task without pairs, one training language, no items or none in two languages, or an item twice.
    """
    task, parts = data.task, data.train_parts
    check_pairs(task)
    if len(parts) < 2:
        raise UserError(
            f"mixed_sides needs two training languages or more, this run has {data.train_languages[0].code} alone",
            remedy="name more in --train-language, or all",
        )
    items = [_items(part) for part in parts]
    if not any(items):
        raise UserError(
            f"mixed_sides: nothing says which rows of {task.name} translate each other",
            remedy="add a column id, the same for a row and its translations",
        )
    if Counter(item for found in items for item in found).most_common(1)[0][1] < 2:
        names = ", ".join(language.code for language in data.train_languages)
        raise UserError(
            f"mixed_sides: no row of {task.name} is among the training examples of two of {names}",
            remedy="give translations the same id",
        )


def mixed(examples: Sequence[Example], pool: Examples, share: float, seed: int) -> tuple[list[Example], Counter[str]]:
    """Draw the second text of a share of the examples from their translations.

    An example is kept as it is where the pool has no translation of it, or none with the same label and another text.

    Args:
        examples: What is trained on.
        pool: All training examples of all languages; an item comes once in a language.
        share: Of the examples that are drawn, in [0, 1].
        seed: Of the draw.

    Returns:
        The examples in their order, and how many were mixed or kept for what reason.
    """
    versions: defaultdict[str, list[Example]] = defaultdict(list)
    for example in pool:
        if isinstance(example, Example) and example.item:
            versions[example.item].append(example)
    chance = np.random.default_rng([seed, _STREAM])
    drawn = np.sort(chance.permutation(len(examples))[: round(share * len(examples))])
    found, counts = list(examples), Counter[str]()
    for number in drawn.tolist():
        example = found[number]
        known = versions[example.item] if example.item else []
        fitting = [other for other in known if other.label == example.label and other.pair != example.pair]
        if fitting:
            found[number] = replace(example, pair=fitting[int(chance.integers(len(fitting)))].pair)
        counts[MIXED if fitting else _why_kept(example, known)] += 1
    return found, counts


def _why_kept(example: Example, known: Sequence[Example]) -> str:
    """The reason why none of the known versions, itself included, has a second text for an example."""
    if len(known) < 2:
        return "kept: in no other language"
    if sum(version.label == example.label for version in known) < 2:
        return "kept: another label in other languages"
    return "kept: the same text in other languages"


def _items(part: Part) -> set[str]:
    """The items of a part. Raises UserError where one comes twice, for then nobody knows which row is translated."""
    counts = Counter(example.item for example in part.examples if isinstance(example, Example) and example.item)
    if counts and (twice := counts.most_common(1)[0])[1] > 1:
        raise UserError(
            f"mixed_sides: {part.name} has {twice[1]} rows with the id {twice[0].partition(' ')[2]!r}",
            remedy="give each row an id of its own",
        )
    return set(counts)
