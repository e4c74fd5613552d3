"""Averages over languages: all, trained, untrained, non-Latin script.

In: the results of single languages. Out: the same, followed by their macro averages.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from mlcl.core.languages import canonical, is_trained, script
from mlcl.tasks import Result
from mlcl.tasks._statistics import bootstrap_mean

PREFIX = "avg:"
PAIRWISE = "pair_"
"""Prefix of metrics that fill a language x language matrix; their averages are per-language results of their own."""


def with_averages(results: Iterable[Result], trained_languages: Sequence[str] | None) -> list[Result]:
    """The results followed by their macro averages; each official code counts once.

    The interval of an average says how it would vary with other languages: languages are resampled. Where the trained
    languages are unknown, the averages over trained and untrained ones are left out; empty groups always are.

    Args:
        results: Results of single languages of one task.
        trained_languages: Tags that the model was trained on, or None where unknown.
    """
    results = list(results)
    rows: dict[tuple[str, str, str], list[Result]] = {}
    for result in results:
        if not result.metric.startswith(PAIRWISE):
            rows.setdefault((result.split, result.metric, _general(result)), []).append(result)
    trained = None if trained_languages is None else {canonical(tag) for tag in trained_languages}
    for (split, metric, direction), found in rows.items():
        for name, members in _groups(found, trained).items():
            if members:
                results.append(_average(members, split, metric, direction, name))
    return results


def _general(result: Result) -> str:
    """`de->en` is `xx->en`: the direction without the language."""
    source, arrow, target = result.direction.partition("->")
    return f"xx->{target}" if arrow and source == result.language else f"{source}->xx" if arrow else result.direction


def _groups(results: list[Result], trained: set[str] | None) -> dict[str, list[Result]]:
    groups = {"all": results}
    if trained is not None:
        groups["trained"] = [result for result in results if is_trained(result.language, trained)]
        groups["untrained"] = [result for result in results if not is_trained(result.language, trained)]
    groups["non-latin"] = [result for result in results if script(result.language) != "Latn"]
    return groups


def _average(members: list[Result], split: str, metric: str, direction: str, name: str) -> Result:
    values = np.array([member.value for member in members])
    low: float | None
    high: float | None
    if len(members) == 1:  # nothing to resample
        low, high = members[0].low, members[0].high
    else:
        low, high = bootstrap_mean(values)
    fitted_on = {member.train_language for member in members}
    return Result(
        members[0].task, split, PREFIX + name, "", direction, metric, float(values.mean()), low, high, len(members),
        train_language=fitted_on.pop() if len(fitted_on) == 1 else None,
    )  # fmt: skip
