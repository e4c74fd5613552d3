"""Retrieval over sentences that many languages share: PUD, SIB-200, or any line-aligned folder.

In: ROOT/pud, ROOT/sib200, ROOT/<folder>. Out: every language against the pivot, as `_pairs` measures; the accuracy of
every language pair in both directions (`pair_accuracy`, for the heat-map), and its mean per language (direction `any`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from mlcl.core.errors import UserError
from mlcl.core.files import existing
from mlcl.core.languages import canonical
from mlcl.formats import pud, sib200
from mlcl.formats._aligned import load_folder
from mlcl.retrieval.knn import nearest_both
from mlcl.tasks import Embed, Result, RetrievalOptions, folder
from mlcl.tasks._averages import PAIRWISE, with_averages
from mlcl.tasks._embedded import EmbeddedTexts
from mlcl.tasks._languages import where_present
from mlcl.tasks._pairs import Side, compare, complete, percent

HEADLINE = ("accuracy", "mean")


@dataclass(frozen=True)
class Options(RetrievalOptions):
    """Options of `multiparallel`."""

    sets: list[str] = field(default_factory=lambda: ["pud", "sib200-dev"])
    """Sets to measure on: pud, sib200-dev, sib200-train, or a line-aligned folder (or folder/prefix) under the root."""
    pivot: str = "en"
    """Language that every other one is compared with."""
    all_pairs: bool = True
    """Whether every language pair is measured as well."""


def load(root: Path, options: Options) -> dict[str, list[Side]]:
    """Name of the set -> its languages, the pivot first.

    Raises:
        UserError: a set is missing, malformed, or lacks the pivot; a language is in none of the sets.
    """
    pivot = canonical(options.pivot)

    def read(name: str, languages: list[str] | None) -> list[Side]:
        path, versions = _versions(root, name, languages, [pivot])
        if pivot not in [version.tag for version in versions]:
            raise UserError(f"the pivot language {pivot!r} is not here", path=path, remedy="choose another pivot")
        return sorted(complete(versions, path), key=lambda side: side.tag != pivot)

    return {name: sides for name, (_, sides) in where_present(read, options.sets, options.languages).items()}


def _versions(root: Path, name: str, languages: Sequence[str] | None, always: Sequence[str]) -> tuple[Path, list]:
    if name == "pud":
        path = folder(root, "pud")
        return path, pud.load(path, languages=languages, always=always)[0]
    data_set, _, split = name.partition("-")
    if data_set == "sib200" and split:
        path = folder(root, "sib200")
        return path, sib200.load(path, split=split, languages=languages, always=always)
    path = existing(root) / name
    return path, load_folder(path, languages=languages, always=always)


def evaluate(embed: Embed, root: Path, options: Options | None = None) -> list[Result]:
    """Measure every language of every set, and the averages."""
    options = options or Options()
    sets = load(root, options)
    embedded = EmbeddedTexts(embed, (text for sides in sets.values() for side in sides for text in side.texts))
    results = []
    for name, (pivot, *others) in sets.items():
        for other in others:
            results += compare(other, pivot, embedded, options, task="multiparallel", split=name)
        if options.all_pairs:
            results += _all_pairs([pivot, *others], embedded, name)
    return with_averages(results, options.trained_languages)


def _all_pairs(sides: list[Side], embedded: EmbeddedTexts, split: str) -> list[Result]:
    """Accuracy of every ordered pair, and for each language the mean over all pairs that it is part of."""
    results = []
    own: dict[str, list[np.ndarray]] = {side.code: [] for side in sides}
    right = np.arange(len(sides[0].texts))
    vectors = [embedded.of(side.texts) for side in sides]
    for i, first in enumerate(sides):
        for j, second in enumerate(sides[:i]):
            found = nearest_both(vectors[i], vectors[j], 1)
            for (source, target), neighbours in zip(((first, second), (second, first)), found, strict=True):
                hits = (neighbours.index[:, 0] == right).astype(np.float64)
                results.append(_row(source, f"{source.tag}->{target.tag}", PAIRWISE + "accuracy", hits, split))
                own[source.code].append(hits)
                own[target.code].append(hits)
    results += [_row(side, "any", "accuracy", np.mean(own[side.code], axis=0), split) for side in sides]
    return results


def _row(side: Side, direction: str, metric: str, hits: np.ndarray, split: str) -> Result:
    value, (low, high) = percent(hits)
    return Result("multiparallel", split, side.tag, side.code, direction, metric, value, low, high, len(hits))
