"""Predictions to rows of results: the metrics of each test set, their averages, the transfer gap, and the floor."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from mlcl.core.progress import track
from mlcl.finetuning.data import Part, TaskData, only_types
from mlcl.finetuning.encoding import Encoded
from mlcl.finetuning.model import MLCTaskModel
from mlcl.finetuning.prediction import predict
from mlcl.finetuning.retrieval import METRICS, mean_average_precision, retrieval_rows
from mlcl.tasks import Result
from mlcl.tasks._labelled import Example, Examples, Kind, TaggedSentence
from mlcl.tasks._metrics import accuracy, macro_f1, measure, span_f1
from mlcl.tasks._statistics import bootstrap_mean, spearman

_METRICS: dict[Kind, tuple[str, ...]] = {
    "classification": ("accuracy", "macro_f1"),
    "pair": ("accuracy", "macro_f1"),
    "regression": ("spearman",),
    "tagging": ("span_f1",),
    "retrieval": METRICS,
}
TRANSFER = "avg:transfer"
"""Language of averages over the languages whose labels were not trained on."""


def headline(part: Part, predicted: Sequence[Any]) -> float:
    """The headline metric of predictions for one part, in per cent, without an interval: for choosing."""
    if part.task.kind == "retrieval":
        return 100 * mean_average_precision(part, predicted)
    gold = gold_of(part)
    if part.task.metric == "spearman":
        return 100 * spearman(np.array(predicted), np.array(gold))
    return 100 * {"accuracy": accuracy, "macro_f1": macro_f1, "span_f1": span_f1}[part.task.metric](gold, predicted)


def gold_of(part: Part) -> list[Any]:
    """The right labels of a part: labels, scores, or one list of tags per sentence."""
    return [list(e.tags) if isinstance(e, TaggedSentence) else e.label for e in part.examples]


def test_rows(model: MLCTaskModel, data: TaskData, encoded: Sequence[list[Encoded]]) -> list[Result]:
    """The rows of one model: every metric of every test set, then averages and gap by task.

    Args:
        model: The fitted model.
        data: Its data.
        encoded: The examples of `data.tests`, encoded.
    """
    rows: list[Result] = []
    found: list[list[Any]] = []
    for part, examples in track(list(zip(data.tests, encoded, strict=True)), "testing"):
        predicted = predict(model, examples)
        if part.task.kind == "retrieval":  # its sets are searched together
            found.append(predicted)
            continue
        if part.task.kind == "tagging" and part.task.labels != data.task.labels:
            predicted = [list(only_types(tags, set(part.task.labels))) for tags in predicted]
        rows += [_row(part, metric, predicted) for metric in _metrics(part)]
    for name in dict.fromkeys(part.task.name for part in data.tests if part.task.kind == "retrieval"):
        sets = [(part, one) for part, one in zip(data.tests, found, strict=True) if part.task.name == name]
        rows += retrieval_rows(*zip(*sets, strict=True))
    return rows + _averages(data, rows)


def untuned_rows(model: MLCTaskModel, data: TaskData, encoded: Sequence[list[Encoded]]) -> list[Result]:
    """The floor of retrieval: the encoder as it was before the fit; arguments as in `test_rows`."""
    rows = [row for row in test_rows(model, data, encoded) if row.metric == data.task.metric and row.code]
    return [replace(row, direction="floor", metric=f"untuned_{row.metric}") for row in rows]


def majority_rows(data: TaskData) -> list[Result]:
    """The floor: always the most frequent label of the training examples, or for tagging `O`.

    There is none for regression and retrieval.

    Without training examples (zero-shot) it is the most frequent label of the test set itself.
    """
    rows = []
    for part in data.tests:
        if part.task.kind in ("regression", "retrieval"):
            continue
        predicted = _floor(data.train or part.examples, part.examples)
        for metric in _metrics(part):
            row = _row(part, metric, predicted)
            rows.append(replace(row, direction="floor", metric=f"majority_{metric}"))
    return rows


def _floor(known: Examples, examples: Examples) -> list[Any]:
    """`O` for every word, or the most frequent label of the known examples for every text."""
    counts = Counter(example.label for example in known if isinstance(example, Example))
    label = counts.most_common(1)[0][0] if counts else None
    return [["O"] * len(one.words) if isinstance(one, TaggedSentence) else label for one in examples]


def _metrics(part: Part) -> list[str]:
    """The headline first."""
    return list(dict.fromkeys([part.task.metric, *_METRICS[part.task.kind]]))


def _row(part: Part, metric: str, predicted: Sequence[Any]) -> Result:
    score = measure(metric, gold_of(part), predicted)
    language = part.language
    return Result(
        part.task.name, part.split, language.tag, language.code, "", metric, score.value, score.low, score.high, score.n
    )


def _averages(data: TaskData, rows: Sequence[Result]) -> list[Result]:
    """Averages over all languages and over those that were not trained on, and the gap: trained minus others.

    Their interval says how they would vary with other languages; a gap has none.
    """
    trained = {language.tag for language in data.train_languages}
    found: list[Result] = []
    for task, metric in dict.fromkeys((row.task, row.metric) for row in rows):
        of = [row for row in rows if (row.task, row.metric) == (task, metric)]
        others = [row for row in of if row.language not in trained]
        own = [row.value for row in of if row.language in trained]
        for name, members in (("avg:all", of), (TRANSFER, others)):
            if members and (name == "avg:all" or own):
                values = np.array([row.value for row in members])
                low, high = bootstrap_mean(values) if len(values) > 1 else (None, None)
                mean = float(values.mean())
                found.append(Result(task, of[0].split, name, "", "", metric, mean, low, high, len(values)))
        if own and others:
            gap = float(np.mean(own) - np.mean([row.value for row in others]))
            found.append(
                Result(task, of[0].split, TRANSFER, "", "", f"transfer_gap_{metric}", gap, None, None, len(others))
            )
    return found
