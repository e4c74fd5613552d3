"""Tatoeba (Artetxe & Schwenk 2019): find the translation of a short sentence, up to 92 languages against English.

In: ROOT/tatoeba. Out: accuracy in both directions and their mean, and what else `_pairs` measures, per language. Pools
have 104 to 1,000 sentences and differ in their English side, so languages are not comparable with one another.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from mlcl.formats import tatoeba as layout
from mlcl.tasks import Embed, Result, RetrievalOptions, folder
from mlcl.tasks._averages import with_averages
from mlcl.tasks._embedded import EmbeddedTexts
from mlcl.tasks._pairs import Side, compare, complete

HEADLINE = ("accuracy", "mean")


@dataclass(frozen=True)
class Options(RetrievalOptions):
    """Options of `tatoeba`."""


def load(root: Path, options: Options) -> list[tuple[Side, Side]]:
    """The English and the other side of every test set."""
    path = folder(root, "tatoeba")
    pairs = []
    for versions in layout.pairs(path, languages=options.languages):
        english, other = complete(versions, path / f"tatoeba.{versions[1].code}-eng.{versions[1].code}")
        pairs.append((english, other))
    return pairs


def evaluate(embed: Embed, root: Path, options: Options | None = None) -> list[Result]:
    """Measure every language and the averages."""
    options = options or Options()
    pairs = load(root, options)
    embedded = EmbeddedTexts(embed, (text for pair in pairs for side in pair for text in side.texts))
    results = []
    for english, other in pairs:
        results += compare(other, english, embedded, options, task="tatoeba", split="test")
    return with_averages(results, options.trained_languages)
