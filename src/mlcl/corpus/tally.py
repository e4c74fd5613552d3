"""Nothing is dropped silently: texts left out, counted by reason and origin, with a few samples of each."""

from __future__ import annotations

from collections import Counter
from typing import Any


class Tally:
    """Counts dropped texts.

    Args:
        samples: How many texts are kept per reason and origin.
        length: Where a sample is cut (characters).
    """

    def __init__(self, samples: int = 5, length: int = 160) -> None:
        self.per_reason, self.length = samples, length
        self.counts: Counter[tuple[str, str]] = Counter()
        self.samples: dict[tuple[str, str], list[str]] = {}

    def add(self, reason: str, origin: str, lang: str, text: str, sample: bool = True) -> None:
        """Count one dropped text; `sample` says whether it may serve as an example."""
        self.counts[reason, origin] += 1
        samples = self.samples.setdefault((reason, origin), [])
        if sample and len(samples) < self.per_reason:
            shown = text if len(text) <= self.length else text[: self.length - 1] + "…"
            shown = shown.encode("utf-8", "replace").decode("utf-8")  # lone surrogates cannot be written
            samples.append(f"{lang}: {shown}")

    def wants(self, reason: str, origin: str) -> int:
        """How many more samples it would keep."""
        return self.per_reason - len(self.samples.get((reason, origin), ()))

    def count(self, reason: str, origin: str, texts: int) -> None:
        """Count dropped texts without looking at them."""
        self.counts[reason, origin] += texts
        self.samples.setdefault((reason, origin), [])

    def state(self) -> list[dict[str, Any]]:
        """All of it, for JSON; `add_state` takes it back."""
        return [
            {"reason": reason, "origin": origin, "texts": texts, "samples": self.samples[reason, origin]}
            for (reason, origin), texts in self.counts.items()
        ]

    def add_state(self, state: list[dict[str, Any]]) -> None:
        """Add what another tally counted of later texts."""
        for entry in state:
            key = entry["reason"], entry["origin"]
            self.counts[key] += entry["texts"]
            samples = self.samples.setdefault(key, [])
            samples += entry["samples"][: self.per_reason - len(samples)]

    def total(self) -> int:
        """All dropped texts."""
        return self.counts.total()

    def entries(self) -> list[dict[str, Any]]:
        """`{reason, origin, texts, samples}`, largest first."""
        return sorted(self.state(), key=lambda entry: (-entry["texts"], entry["reason"], entry["origin"]))
