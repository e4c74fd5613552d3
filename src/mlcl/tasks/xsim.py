"""xsim and xsim++: how often the nearest English sentence is not the translation, without and with hard distractors.

In: ROOT/ntrex (documents for development) and ROOT/pud. Out: error rates in per cent, of every language into English,
by margin score (ratio, k = 4), as xsim counts them (Heffernan et al. 2022, arXiv 2205.12654):

    xsim_error             among the English sentences of the set
    xsimpp_error           the same with changed versions of all of them among the candidates (xsim++, Chen et al.
                           2023, arXiv 2306.12907; `_distractors` says how they are made here)
    xsimpp_numbers_error, xsimpp_entities_error, xsimpp_negation_error     the same with one kind of changes alone

xsim saturates: a strong encoder makes no error among sentences of different content. xsim++ asks whether it also tells
"18 wins" from "20 wins". The rules are ours, so numbers are not those of the paper's FLORES-200 set; between encoders
they compare. Candidates count by their text: a copy of the right sentence is right.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from mlcl.core.errors import UserError
from mlcl.formats import ntrex, pud
from mlcl.retrieval.knn import nearest_both
from mlcl.retrieval.margin import best_by_margin
from mlcl.retrieval.paired import xsim_errors
from mlcl.tasks import Embed, Result, RetrievalOptions, folder
from mlcl.tasks._averages import with_averages
from mlcl.tasks._distractors import KINDS, distractors
from mlcl.tasks._embedded import EmbeddedTexts
from mlcl.tasks._languages import where_present
from mlcl.tasks._pairs import Side, complete, percent

HEADLINE = ("xsimpp_error", "into en")


@dataclass(frozen=True)
class Options(RetrievalOptions):
    """Options of `xsim`."""

    sets: list[str] = field(default_factory=lambda: ["ntrex", "pud"])
    """Sets to measure on: ntrex, pud."""
    documents: str = "74-92"
    """Documents of ntrex, as in the task `ntrex`."""
    per_kind: int = 4
    """Most distractors of a kind (numbers, entities, negation) that are made of one English sentence."""


@dataclass(frozen=True)
class Set:
    """One multi-parallel set.

    Attributes:
        english: The sentences that are searched.
        others: The languages that search.
        changed: Kind -> distractors made of the English sentences.
    """

    english: Side
    others: list[Side]
    changed: dict[str, list[str]]

    def candidates(self, kinds: Sequence[str]) -> list[str]:
        """The English sentences, followed by the distractors of some kinds."""
        return [*self.english.texts, *(text for kind in kinds for text in self.changed[kind])]

    def texts(self) -> list[str]:
        """All texts, those of the other languages first."""
        return [*(text for side in self.others for text in side.texts), *self.candidates(KINDS)]


def load(root: Path, options: Options) -> dict[str, Set]:
    """Name of the split -> its sentences and distractors.

    Raises:
        UserError: an unknown or missing set, fewer than one distractor a sentence allowed, or a language that is in
            none of the sets.
    """
    if options.per_kind < 1:
        raise UserError(f"per_kind is {options.per_kind}, it must be at least 1")

    def read(name: str, languages: list[str] | None) -> Set:
        if name not in ("ntrex", "pud"):
            raise UserError(f"unknown set {name!r}", remedy="known: ntrex, pud")
        path = folder(root, name)
        if name == "ntrex":
            versions, _ = ntrex.load(path, documents=options.documents, languages=languages, always=["en"])
        else:
            versions, _ = pud.load(path, languages=languages, always=["en"])
        english, *others = complete(versions, path)
        made = distractors(english.texts, options.per_kind)
        changed = {kind: list(dict.fromkeys(text for row in made for text in row[kind])) for kind in KINDS}
        return Set(english, others, changed)

    splits = {"ntrex": f"ntrex documents {options.documents}"} if options.documents else {}
    found = where_present(read, options.sets, options.languages)
    return {splits.get(name, name): one for name, (_, one) in found.items()}


def evaluate(embed: Embed, root: Path, options: Options | None = None) -> list[Result]:
    """Measure every language of every set, and the averages."""
    options = options or Options()
    sets = load(root, options)
    embedded = EmbeddedTexts(embed, (text for one in sets.values() for text in one.texts()))
    results = []
    for split, one in sets.items():
        pools = {"xsim_error": one.candidates([]), "xsimpp_error": one.candidates(KINDS)}
        pools.update({f"xsimpp_{kind}_error": one.candidates([kind]) for kind in KINDS})
        for metric, pool in pools.items():
            vectors = embedded.of(pool)
            for side in one.others:
                forward, backward = nearest_both(embedded.of(side.texts), vectors, options.neighbours)
                found, _ = best_by_margin(forward, backward, options.margin)
                wrong = xsim_errors(found, pool)
                value, (low, high) = percent(wrong)
                place = ("xsim", split, side.tag, side.code, "into en")
                results.append(Result(*place, metric, value, low, high, len(wrong)))
    return with_averages(results, options.trained_languages)
