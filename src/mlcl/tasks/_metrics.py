"""Metrics of labelled tasks. In: what is right and what was predicted. Out: one number in per cent with its interval.

Several predictions of the same examples (seeds, few-shot draws) give the mean of their scores. Intervals are 95 % and
say how the score would vary with other test examples: Wilson's for accuracy, Fisher's z for Spearman, a percentile
bootstrap over examples (sentences, for spans) for F1.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from mlcl.core.errors import UserError
from mlcl.tasks._statistics import spearman, spearman_interval, wilson

_ROUNDS = 2000
Values: TypeAlias = Sequence[Any] | np.ndarray
"""One value per example: a label, a number, or the tags of a sentence."""
Span: TypeAlias = tuple[str, int, int]
"""Entity type, first word, word after the last."""


@dataclass(frozen=True)
class Score:
    """A score in per cent.

    Attributes:
        value: The score; the mean over several predictions.
        low: Lower end of its interval; None where there is none.
        high: Upper end.
        n: Examples that it is measured on.
        deviation: Standard deviation over several predictions (n - 1 in the denominator); 0 for one.
    """

    value: float
    low: float | None
    high: float | None
    n: int
    deviation: float = 0.0


def measure(metric: str, gold: Values, *predicted: Values) -> Score:
    """A metric by its name.

    Args:
        metric: `accuracy`, `macro_f1`, `span_f1` or `spearman`.
        gold: N labels; N tag sequences for `span_f1`; N numbers for `spearman`.
        predicted: One or more predictions of the same N.

    Raises:
        UserError: numbers of predictions, or of the tags of a sentence, that do not fit; no examples at all.
    """
    if not len(gold):
        raise UserError(f"{metric}: there are no examples to measure on")
    for one in predicted:
        if len(one) != len(gold):
            raise UserError(f"{metric}: {len(one)} predictions for {len(gold)} examples")
    values, (low, high) = _METRICS[metric](gold, predicted)
    value = float(np.mean(values))
    deviation = float(np.std(values, ddof=1)) if len(values) > 1 else 0.0
    # A percentile interval of a biased statistic may miss its value where a class has a handful of examples.
    return Score(100 * value, 100 * min(low, value), 100 * max(high, value), len(gold), 100 * deviation)


def accuracy(gold: Values, predicted: Values) -> float:
    """Share of right labels, in [0, 1]."""
    return float(np.mean(np.asarray(gold) == np.asarray(predicted)))


def macro_f1(gold: Values, predicted: Values) -> float:
    """Mean of the F1 of every class that occurs, in [0, 1], as scikit-learn's `f1_score(average="macro")`."""
    kinds, times, classes = _confusions(gold, [predicted])
    return float(_f1_of_classes(times[None] @ _class_counts(kinds, classes)[:, 0])[0])


def span_f1(gold: Values, predicted: Values) -> float:
    """F1 of whole entities with their type, over all sentences together, in [0, 1]; 0 where there are none.

    Entities are read by the letter of IOB2, as seqeval does with `mode="strict", scheme=IOB2`.
    """
    return float(_f1_of_counts(_span_counts(gold, [predicted]).sum(axis=0)[None])[0])


def spans(tags: Sequence[str]) -> set[Span]:
    """Entities of one sentence: `B-X` and the `I-X` that follow it. An `I-` that continues nothing is none.

    >>> sorted(spans(["B-PER", "I-PER", "O", "I-LOC", "B-LOC", "I-ORG"]))
    [('LOC', 4, 5), ('PER', 0, 2)]
    """
    found: set[Span] = set()
    place = 0
    while place < len(tags):
        start, place = place, place + 1
        if tags[start].startswith("B-"):
            kind = tags[start][2:]
            while place < len(tags) and tags[place] == f"I-{kind}":
                place += 1
            found.add((kind, start, place))
    return found


def _accuracy(gold: Values, predicted: Sequence[Values]) -> tuple[list[float], tuple[float, float]]:
    values = [accuracy(gold, one) for one in predicted]
    return values, wilson(float(np.mean(values)), len(gold))


def _macro_f1(gold: Values, predicted: Sequence[Values]) -> tuple[list[float], tuple[float, float]]:
    kinds, times, classes = _confusions(gold, predicted)
    return _bootstrapped(_class_counts(kinds, classes), times, _f1_of_classes)


def _span_f1(gold: Values, predicted: Sequence[Values]) -> tuple[list[float], tuple[float, float]]:
    # Sentences with equal counts are drawn together.
    kinds, times = np.unique(_span_counts(gold, predicted), axis=0, return_counts=True)
    return _bootstrapped(kinds.reshape(len(kinds), len(predicted), 2), times, _f1_of_counts)


def _spearman(gold: Values, predicted: Sequence[Values]) -> tuple[list[float], tuple[float, float]]:
    values = [spearman(np.asarray(one, dtype=np.float64), np.asarray(gold, dtype=np.float64)) for one in predicted]
    return values, spearman_interval(float(np.mean(values)), len(gold))


_METRICS: dict[str, Callable[[Values, Sequence[Values]], tuple[list[float], tuple[float, float]]]] = {
    "accuracy": _accuracy,
    "macro_f1": _macro_f1,
    "span_f1": _span_f1,
    "spearman": _spearman,
}


def _confusions(gold: Values, predicted: Sequence[Values]) -> tuple[np.ndarray, np.ndarray, int]:
    """What happens to examples: the kinds of outcome, how often each one occurs, and the number C of classes.

    A kind (K, 1 + S) is the right class and those of S predictions; there are far fewer kinds than examples, and far
    fewer than cells of S confusion matrices where there are many classes.
    """
    names, numbers = np.unique(np.concatenate([np.asarray(gold), *map(np.asarray, predicted)]), return_inverse=True)
    outcomes = numbers.reshape(1 + len(predicted), len(gold)).T
    kinds, times = np.unique(outcomes, axis=0, return_counts=True)
    return kinds[::-1], times[::-1], len(names)  # backwards: the order in which intervals have always been drawn


def _class_counts(kinds: np.ndarray, classes: int) -> np.ndarray:
    """(K, S, 2 C) what an example of each kind adds to the hits, and to the gold + predicted ones, of each class."""
    rows, runs = np.arange(len(kinds)), kinds.shape[1] - 1
    counts = np.zeros((len(kinds), runs, 2 * classes))
    right = kinds[:, 0]
    for run, found in enumerate(kinds.T[1:]):
        counts[rows, run, right] = right == found
        counts[rows, run, classes + right] += 1
        counts[rows, run, classes + found] += 1
    return counts


def _f1_of_classes(counts: np.ndarray) -> np.ndarray:
    """(R, 2 C) hits, and gold + predicted ones, of each class -> (R,) macro F1 over those in gold or prediction."""
    hits, total = np.split(counts, 2, axis=1)
    occurs = total > 0
    return np.where(occurs, 2 * hits / np.maximum(total, 1), 0).sum(axis=1) / np.maximum(occurs.sum(axis=1), 1)


def _span_counts(gold: Values, predicted: Sequence[Values]) -> np.ndarray:
    """(N, S * 2) right entities, and gold + predicted ones, of each sentence for each of S predictions."""
    rows = []
    for number, (right, *found) in enumerate(zip(gold, *predicted, strict=True)):
        entities = spans(right)
        row: list[int] = []
        for tags in found:
            if len(tags) != len(right):
                raise UserError(f"sentence {number} has {len(right)} words, but {len(tags)} tags are predicted")
            guessed = spans(tags)
            row += [len(entities & guessed), len(entities) + len(guessed)]
        rows.append(row)
    return np.array(rows, dtype=np.int32)


def _f1_of_counts(counts: np.ndarray) -> np.ndarray:
    """(R, 2) right entities, and gold + predicted ones -> (R,) F1."""
    return 2 * counts[:, 0] / np.maximum(counts[:, 1], 1)


def _bootstrapped(
    counts: np.ndarray, times: np.ndarray, score: Callable[[np.ndarray], np.ndarray]
) -> tuple[list[float], tuple[float, float]]:
    """Scores of S predictions, and the interval of their mean under resampling of the examples.

    Examples of one kind are drawn together, as one multinomial: the same distribution, at a cost that does not grow
    with N.

    Args:
        counts: (K, S, C) what an example of each kind adds to the C sums that a score is computed from.
        times: (K,) examples of each kind.
        score: (R, C) sums -> (R,) scores.
    """
    draws = np.random.default_rng(0).multinomial(times.sum(), times / times.sum(), size=_ROUNDS)  # (R, K)
    values, resampled = [], np.zeros(_ROUNDS)
    for one in np.asarray(counts, dtype=np.float64).swapaxes(0, 1):  # BLAS knows no integers
        values.append(float(score(times[None] @ one)[0]))
        resampled += score(draws.astype(np.float64) @ one)
    low, high = np.quantile(resampled / len(values), [0.025, 0.975])
    return values, (float(low), float(high))
