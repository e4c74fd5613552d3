"""What every retrieval task measures on one language against the pivot.

In: aligned sentences of two languages and their vectors. Out: results in both directions: accuracy, xsim error by
cosine and by margin, alignment, uniformity.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mlcl.core.errors import UserError
from mlcl.core.progress import warn
from mlcl.formats._aligned import Version
from mlcl.retrieval.geometry import alignment, uniformity
from mlcl.retrieval.paired import retrieve, xsim_errors
from mlcl.tasks import Result, RetrievalOptions
from mlcl.tasks._embedded import EmbeddedTexts
from mlcl.tasks._statistics import wilson


@dataclass(frozen=True)
class Side:
    """Sentences of one language, none missing.

    Attributes:
        code: The data set's code.
        tag: Canonical tag.
        texts: Sentence i translates sentence i of the other sides.
    """

    code: str
    tag: str
    texts: list[str]


def complete(versions: Sequence[Version], path: Path) -> list[Side]:
    """The sentences that all versions have; the others are left out with a warning.

    Raises:
        UserError: fewer than two languages, or fewer than two sentences that all of them have.
    """
    if len(versions) < 2:
        raise UserError("retrieval needs two languages or more", path=path, remedy="check the languages asked for")
    rows = zip(*(version.texts for version in versions), strict=True)
    present = [all(text and not text.isspace() for text in row) for row in rows]
    if missing := len(present) - sum(present):
        warn(f"{path}: {missing} of {len(present)} sentences lack a translation and are left out")
    if sum(present) < 2:
        raise UserError("fewer than two sentences that all languages have", path=path, remedy="ask for fewer languages")
    return [
        Side(v.code, v.tag, [text for text, there in zip(v.texts, present, strict=True) if there and text is not None])
        for v in versions
    ]


def compare(
    language: Side, pivot: Side, embedded: EmbeddedTexts, options: RetrievalOptions, *, task: str, split: str
) -> list[Result]:
    """All results of one language against the pivot.

    Accuracy counts by position, as the published Tatoeba scripts do: a copy of the right sentence elsewhere in the file
    is an error, if it comes first. xsim compares texts: a copy of the right text is right.
    """
    x, y = embedded.of(language.texts), embedded.of(pivot.texts)
    there, back = retrieve(x, y, k=options.neighbours, margin=options.margin)

    def row(metric: str, direction: str, value: float, interval: tuple[float, float] | None = None) -> Result:
        low, high = interval or (None, None)
        return Result(
            task, split, language.tag, language.code, direction, metric, value, low, high, len(language.texts)
        )

    results = []
    for metric, right in (
        ("accuracy", lambda found, _: found.hits()),
        ("xsim_error_cosine", lambda found, texts: xsim_errors(found.cosine, texts)),
        ("xsim_error_margin", lambda found, texts: xsim_errors(found.margin, texts)),
    ):
        counted = {
            f"{language.tag}->{pivot.tag}": right(there, pivot.texts),
            f"{pivot.tag}->{language.tag}": right(back, language.texts),
        }
        counted["mean"] = np.stack(list(counted.values())).mean(axis=0)
        results += [row(metric, direction, *percent(values)) for direction, values in counted.items()]
    results.append(row("alignment", f"{language.tag}->{pivot.tag}", alignment(x, y)))
    results.append(row("uniformity", "within", uniformity(x)))
    return results


def percent(values: np.ndarray) -> tuple[float, tuple[float, float]]:
    """Mean of values in [0, 1] (N,) in per cent, and its 95 % interval."""
    share = float(values.mean())
    low, high = wilson(share, len(values))
    return 100 * share, (100 * low, 100 * high)
