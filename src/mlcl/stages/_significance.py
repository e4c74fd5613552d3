"""Is model A better than model B? In: rows of `results.json`. Out: difference, 95 % interval and p-value per task.

Per task (and split) one number is tested: its headline metric, averaged over languages. It is named before any result
is seen; testing every metric as well would multiply the comparisons by correlated copies of the same one.

What is resampled. From six languages on, **languages**: the difference of the two models in each language is one
observation. The interval is the percentile bootstrap of their mean; p is the sign-flip permutation test (Fisher 1935):
without a difference between the models, each language's difference could as well have had the other sign. All sign
patterns are counted up to 14 languages, 20,000 random ones beyond. The answer holds for languages like these, with
sentences like these: languages of one family, and translations of the same sentences, are less than independent.

With fewer languages no sign pattern can be rare (five give p >= 0.06 at best), so the **intervals of the rows** are
combined: each says how a score varies with its examples. The examples of both models are treated as if they were
different ones; they are the same, which makes the truth less variable. The examples of the languages are treated as if
they were translations of one another, right and wrong together; where they are not, the truth is less variable again.
So this p is on the safe side.

p-values of one pair of models are adjusted over all tasks by Holm's method (1979): the chance that any of the
differences below 0.05 is none at all is at most 5 %.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import chain
from typing import Any, TypeAlias

import numpy as np

from mlcl.tasks._averages import PREFIX
from mlcl.tasks._statistics import bootstrap_mean

Row: TypeAlias = Mapping[str, Any]
_LANGUAGES = 6  # two-sided sign-flip p can be 2 / 2^6 = 0.03 at best
_EXACT, _ROUNDS = 14, 20_000
_Z = 1.959963984540054


@dataclass(frozen=True)
class Comparison:
    """Model `first` against model `second` on one task.

    Attributes:
        task: Name of the task.
        split: Which part of its data.
        metric: A headline metric.
        direction: Its direction.
        first: Name of a model.
        second: Name of another.
        difference: Mean of first less second over the languages of both.
        n: Languages.
        resampled: `languages`, or `examples` where intervals of rows were combined.
        low: Lower end of the 95 % interval; None where the rows have no intervals to combine.
        high: Upper end.
        p: Two-sided p-value; None likewise.
        p_holm: The same, adjusted over the tasks of this pair of models.
    """

    task: str
    split: str
    metric: str
    direction: str
    first: str
    second: str
    difference: float
    n: int
    resampled: str
    low: float | None = None
    high: float | None = None
    p: float | None = None
    p_holm: float | None = None

    def as_row(self) -> dict[str, Any]:
        """Plain values, for JSON and for reports."""
        return asdict(self)


def compare(
    rows: Sequence[Row], headlines: Mapping[str, Sequence[tuple[str, str]]], first: str, second: str
) -> list[Comparison]:
    """Compare two models on every task and split that both were measured on.

    Args:
        rows: Rows of `results.json`.
        headlines: Task -> (metric, direction) of its headline; two where it was fitted in two ways.
        first: Name of a model.
        second: Name of another.
    """
    scores: dict[tuple[str, str, str, str], dict[str, dict[tuple[str, ...], Row]]] = {}
    for row in rows:
        headline = (row["metric"], row["direction"])
        if headline in headlines[row["task"]] and not row["language"].startswith(PREFIX):
            language = (row["language"], row["code"], str(row["train_language"]))
            scores.setdefault((row["task"], row["split"], *headline), {}).setdefault(row["model"], {})[language] = row
    found = []
    for test, by_model in scores.items():
        a, b = by_model.get(first, {}), by_model.get(second, {})
        pairs = [(a[language], b[language]) for language in a if language in b]
        if pairs:
            tested = _over_languages(pairs) if len(pairs) >= _LANGUAGES else _over_examples(pairs)
            found.append(Comparison(*test, first, second, **tested))
    adjusted = iter(holm([one.p for one in found if one.p is not None]))
    return [one if one.p is None else replace(one, p_holm=next(adjusted)) for one in found]


def _over_languages(pairs: Sequence[tuple[Row, Row]]) -> dict[str, Any]:
    differences = np.array([one["value"] - other["value"] for one, other in pairs])
    low, high = bootstrap_mean(differences)
    return {
        "difference": float(differences.mean()), "low": low, "high": high, "p": sign_flip(differences),
        "n": len(pairs), "resampled": "languages",
    }  # fmt: skip


def _over_examples(pairs: Sequence[tuple[Row, Row]]) -> dict[str, Any]:
    mean = sum(one["value"] - other["value"] for one, other in pairs) / len(pairs)
    tested = {"difference": mean, "n": len(pairs), "resampled": "examples"}
    if any(row["low"] is None for row in chain.from_iterable(pairs)):
        return tested
    errors = [math.hypot(*((row["high"] - row["low"]) / (2 * _Z) for row in pair)) for pair in pairs]
    error = sum(errors) / len(pairs)  # of languages whose scores rise and fall together; no other case is less certain
    p = math.erfc(abs(mean) / error / math.sqrt(2)) if error else float(mean == 0)
    return {**tested, "low": mean - _Z * error, "high": mean + _Z * error, "p": p}


def sign_flip(differences: np.ndarray) -> float:
    """Two-sided p-value of the hypothesis that differences (N,) are symmetric around 0, by their mean.

    Exact up to 14 of them; else from random sign patterns, the observed one counted among them, so that p is never 0.
    """
    n = len(differences)
    if n <= _EXACT:
        signs = 1.0 - 2.0 * (np.arange(2**n)[:, None] >> np.arange(n) & 1)
    else:
        signs = np.random.default_rng(0).choice([-1.0, 1.0], size=(_ROUNDS, n))
        signs[0] = 1.0
    observed = abs(differences.sum())
    return float((abs(signs @ differences) >= observed - 1e-9 * max(1.0, observed)).mean())


def holm(p: Sequence[float]) -> list[float]:
    """p-values adjusted for their number by Holm's step-down method, in their order."""
    adjusted, worst = [0.0] * len(p), 0.0
    for rank, place in enumerate(sorted(range(len(p)), key=lambda place: p[place])):
        worst = max(worst, min(1.0, p[place] * (len(p) - rank)))
        adjusted[place] = worst
    return adjusted
