"""Does a tokenizer that cuts a language into many pieces cost it quality? Fertility beside the score of a language.

In: loaded tasks, their results, tokenizers. Out: one row per model and language: tokens per sentence relative to
English on the same sentences (the "premium" of Petrov et al. 2023, arXiv 2305.15425), and the headline score.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from mlcl.stages._models import Model, load_tokenizer
from mlcl.tasks._pairs import Side
from mlcl.text.fertility import fertility


@dataclass(frozen=True)
class Parallel:
    """Sentences of a task that are translations of each other.

    Attributes:
        task: Name of the task.
        split: Which part of its data; None where it has one only.
        texts: Language tag -> sentences; English is among them.
    """

    task: str
    split: str | None
    texts: dict[str, list[str]]


def parallel_texts(task: str, data: Any) -> Parallel | None:
    """The parallel sentences in what a task's `load` gave, of the split with most languages; None where it has none."""
    splits = data if isinstance(data, dict) else {None: data}
    found = [
        Parallel(task, split, {side.tag: side.texts for side in sides})
        for split, sides in splits.items()
        if isinstance(sides, list) and all(isinstance(side, Side) for side in sides)
    ]
    return max((one for one in found if "en" in one.texts), key=lambda one: len(one.texts), default=None)


def fertility_rows(
    models: list[Model],
    parallel: Parallel,
    headline: tuple[str, str],
    rows: list[dict[str, Any]],
) -> Iterator[dict[str, Any]]:
    """Rows `{model, task, split, language, tokens_per_sentence, premium, score}`; models without tokenizer have none.

    Args:
        models: The models.
        parallel: The sentences.
        headline: (metric, direction) of its task.
        rows: Rows of `results.json`.
    """
    scores = {
        (row["model"], row["language"]): row
        for row in rows
        if row["task"] == parallel.task
        and parallel.split in (None, row["split"])
        and (row["metric"], row["direction"]) == headline
    }
    for model in models:
        tokenizer = load_tokenizer(model)
        if tokenizer is None:
            continue
        spent = fertility(tokenizer, parallel.texts)
        english = float(spent["en"]["tokens_per_sentence"] or 0)
        for language, facts in spent.items():
            row = scores.get((model.name, language))
            if row is not None and english:
                tokens = float(facts["tokens_per_sentence"] or 0)
                yield {
                    "model": model.name, "task": parallel.task, "split": row["split"], "language": language,
                    "tokens_per_sentence": tokens, "premium": tokens / english, "score": row["value"],
                }  # fmt: skip
