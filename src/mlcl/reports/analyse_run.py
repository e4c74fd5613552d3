"""A training run as plain values, and what is known about it: the input of diagnoses, charts and page.

In: lines of `metrics.jsonl`, settings, counts of the corpus, measures of the finished model. Out: `Run`, which answers
for any logged key with its finite points.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

Points = list[tuple[int, float]]
"""(step, value), ascending."""
Line = Mapping[str, Any]


@dataclass(frozen=True)
class Measures:
    """What was measured with the trained model on the corpus.

    Attributes:
        model: Folder of the model.
        equal_sides: Share of training pairs whose two sides are the same tokens.
        near_copies: Share of training pairs that meet, among the negatives of their batch, a sentence of another group
            that nearly is one of their sides.
        sampled_pairs: Training pairs that these two were counted on.
        groups: Held-out groups that were searched among; 0 where none was held out, the rest is then unknown.
        accuracy: Language -> (share of its held-out sentences that find the sentence of their group, sentences).
        alignment: Mean squared distance of held-out translations.
        uniformity: Logarithm of the mean Gaussian potential of held-out sentences.
        effective_rank: Directions in use by held-out sentences.
        dimension: Most that the effective rank could be: the smaller of vector size and number of sentences.
    """

    model: str
    equal_sides: float
    near_copies: float
    sampled_pairs: int
    groups: int = 0
    accuracy: Mapping[str, tuple[float, int]] = field(default_factory=dict)
    alignment: float | None = None
    uniformity: float | None = None
    effective_rank: float | None = None
    dimension: int | None = None


@dataclass(frozen=True)
class Run:
    """A run, finished or not.

    Attributes:
        name: Short and distinct; what the page shows.
        path: Its folder.
        lines: Lines of `metrics.jsonl`.
        training: Training arguments, defaults filled in; empty where the run left no settings.
        settings: All settings as they were given; empty where unknown.
        sentences: Language -> sentences with a translation; empty where the corpus is unknown.
        alpha: Exponent of the language sampling; None where unknown.
        measures: What was measured with the model; None where nothing was.
        bad_batches: Files of batches that stopped the run because a loss was not finite.
    """

    name: str
    path: Path
    lines: Sequence[Line]
    training: Mapping[str, Any] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    sentences: Mapping[str, int] = field(default_factory=dict)
    alpha: float | None = None
    measures: Measures | None = None
    bad_batches: Sequence[str] = ()

    def points(self, key: str) -> Points:
        """All finite values that were logged under a key."""
        return [(line["step"], float(line[key])) for line in self.lines if _is_number(line.get(key))]

    def last(self, key: str) -> float | None:
        """The newest finite value of a key."""
        return next((value for _, value in reversed(self.points(key))), None)

    def window(self, key: str, start: float, stop: float) -> float | None:
        """Median of a key over a part of the run: from share `start` of its steps to share `stop`."""
        inside = [value for step, value in self.points(key) if start * self.steps <= step <= stop * self.steps]
        return median(inside) if inside else None

    @property
    def steps(self) -> int:
        """Updates that were made, as far as was logged."""
        return max((line["step"] for line in self.lines), default=0)

    @property
    def terms(self) -> list[str]:
        """Keys of the objective's terms that were logged, InfoNCE first."""
        known = ["info_nce", "lm", *(self.training.get("objectives") or {})]
        return [key for key in known if any(key in line for line in self.lines)]

    @property
    def pairs_per_update(self) -> int | None:
        """Pairs of one update on one rank; None where the settings are unknown."""
        if not self.training:
            return None
        return int(self.training["per_device_train_batch_size"]) * int(self.training["gradient_accumulation_steps"])

    @property
    def epochs(self) -> float | None:
        """Pairs drawn, over the sentences that have a translation; None where either is unknown."""
        total = sum(self.sentences.values())
        return self.pairs_per_update * self.steps / total if self.pairs_per_update and total else None

    def drawn(self) -> dict[str, float]:
        """Language -> its share of the pairs' sides that were drawn: counted in training, else expected from alpha."""
        counted: Counter[str] = Counter()
        for line in self.lines:
            counted.update(line.get("pairs_by_language") or {})
        if not counted and self.alpha is not None:
            counted.update({tag: n**self.alpha for tag, n in self.sentences.items() if n})  # type: ignore[arg-type]
        total = sum(counted.values())
        return {tag: count / total for tag, count in counted.items()} if total else {}


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
