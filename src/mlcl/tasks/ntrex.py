"""NTREX-128 (Federmann et al. 2022): find the translation of a news sentence among those of the same documents.

In: ROOT/ntrex. Out: every language against English, as `_pairs` measures. Sentences of one document are the hard
candidates. Documents 74-92 are for development, by default; the rest is for training.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from mlcl.formats import ntrex as layout
from mlcl.tasks import Embed, Result, RetrievalOptions, folder
from mlcl.tasks._averages import with_averages
from mlcl.tasks._embedded import EmbeddedTexts
from mlcl.tasks._pairs import Side, compare, complete

HEADLINE = ("accuracy", "mean")


@dataclass(frozen=True)
class Options(RetrievalOptions):
    """Options of `ntrex`."""

    documents: str = "74-92"
    """Documents to measure on, 1-based in file order, such as 74-92 or 1,5-9; empty takes all."""


def load(root: Path, options: Options) -> list[Side]:
    """All languages, English first."""
    path = folder(root, "ntrex")
    versions, _ = layout.load(path, documents=options.documents, languages=options.languages, always=["en"])
    return complete(versions, path)


def evaluate(embed: Embed, root: Path, options: Options | None = None) -> list[Result]:
    """Measure every language and the averages."""
    options = options or Options()
    english, *others = sides = load(root, options)
    embedded = EmbeddedTexts(embed, (text for side in sides for text in side.texts))
    split = f"documents {options.documents}" if options.documents else "all documents"
    results = []
    for other in others:
        results += compare(other, english, embedded, options, task="ntrex", split=split)
    return with_averages(results, options.trained_languages)
