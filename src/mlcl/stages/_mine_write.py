"""What `mlcl mine` found, and the page to judge it by."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mlcl.core.files import atomic_file
from mlcl.reports import html
from mlcl.stages._mine_sides import Side
from mlcl.stages._pair_file import Row

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from mlcl.stages.mine import Config

_LEVELS = (0.0, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
_AT_EACH_LEVEL = 3


@dataclass(frozen=True)
class Mined:
    """Mined pairs, best first.

    Attributes:
        source: The source side.
        target: The target side.
        left: (C,) rows of the source side.
        right: (C,) rows of the target side.
        score: (C,) margin scores, descending.
        threshold: Least score of a pair that is kept; None keeps all.
    """

    source: Side
    target: Side
    left: np.ndarray
    right: np.ndarray
    score: np.ndarray
    threshold: float | None

    @property
    def kept(self) -> int:
        """How many pairs reach the threshold."""
        return len(self.score) if self.threshold is None else int((self.score >= self.threshold).sum())

    def pair(self, place: int) -> Row:
        """Score, line numbers and texts (empty where there are none) of one pair."""
        left, right = int(self.left[place]), int(self.right[place])
        return (
            float(self.score[place]), int(self.source.lines[left]), int(self.target.lines[right]),
            self.source.texts[left] if self.source.texts else "", self.target.texts[right] if self.target.texts else "",
        )  # fmt: skip

    def pairs(self) -> Iterator[Row]:
        """All pairs that are kept."""
        return map(self.pair, range(self.kept))


def write_page(out: Path, mined: Mined, quality: Any, config: Config) -> Path:
    """OUT.html: scores, quality where gold pairs are known, pairs from all over the scores."""
    page = out.with_name(out.name + ".html")
    settings = f"{config.margin} margin, {config.k} neighbours, {config.retrieval}, {config.index} search"
    sections = []
    if quality:
        rows = [[name, value, f"[{low:.1f}, {high:.1f}]"] for name, value, low, high in quality]
        words = (
            "The threshold was learned from one half of the gold pairs; the numbers are those of the other half, "
            "intervals are bootstrap intervals (95 %) over source sentences."
        )
        body = html.table(["measure", "%", "95 % interval"], rows) + html.paragraph(words, note=True)
        sections.append((f"Threshold {mined.threshold:.4f}", body))
    if len(mined.score):
        caption = "pairs by margin score; the line is the threshold" if mined.threshold else "pairs by margin score"
        sections.append(("Scores", html.figure(_histogram(mined), caption)))
    sections.append(("Pairs from best to worst", _samples(mined)))
    title = f"Mined pairs: {mined.kept:,} of {len(mined.score):,} candidates"
    with atomic_file(page) as partial:
        partial.write_text(html.page(title, sections, settings), encoding="utf-8")
    return page


def _histogram(mined: Mined) -> Figure:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 3), layout="constrained")
    axes = figure.add_subplot()
    axes.hist(mined.score, bins=80, color="#2f5fd0")
    if mined.threshold is not None:
        axes.axvline(mined.threshold, color="#e08a2c")
    axes.set_xlabel("margin score")
    axes.set_ylabel("pairs")
    return figure


def _samples(mined: Mined) -> str:
    """A few pairs at each level of the ranking."""
    last = len(mined.score) - 1
    places = {max(0, min(last, round(level * last) + step)) for level in _LEVELS for step in range(_AT_EACH_LEVEL)}
    rows: list[list[Any]] = []
    for place in sorted(places) if last >= 0 else []:
        score, first, second, source, target = mined.pair(place)
        rows.append([place + 1, score, source or f"line {first}", target or f"line {second}"])
    note = html.paragraph("Read down to where they stop being translations: that score is a threshold.", note=True)
    return note + html.table(["rank", "score", "source", "target"], rows, digits=4)
