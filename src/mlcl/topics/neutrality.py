"""Do topics follow content or language? In: topic and language of each text. Out: numbers.

Two views. *Entropy*: how mixed the languages of a topic are, against the whole collection. *Agreement*: whether
translations of one sentence share a topic. An encoder that sorts by language fails both; one that puts everything into
one topic passes both, so agreement comes with what chance would give, and as adjusted mutual information.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mlcl.core.errors import require
from mlcl.topics.cluster import OUTLIER


@dataclass(frozen=True)
class Agreement:
    """How translations of one sentence fall into topics.

    Attributes:
        languages: The L languages.
        shared: (L, L) share of the sentences that both languages have which fall into the same topic; NaN where they
            have none in common, and on the diagonal. A text without a topic shares none.
        expected: Mean over pairs of languages of that share if topics were drawn independently by language.
        mutual_information: Mean over languages of the adjusted mutual information (Vinh et al. 2010) between their
            topics and those of the pivot: 1 = one follows from the other, 0 = chance.
        pivot: The language that the others are compared with there.
        sentences: Number of sentences in two languages or more.
    """

    languages: list[str]
    shared: np.ndarray
    expected: float
    mutual_information: float
    pivot: str
    sentences: int

    @property
    def mean(self) -> float:
        """Mean share over pairs of languages."""
        return float(np.nanmean(self.shared))

    def of_language(self) -> dict[str, float]:
        """Language -> mean share with the others."""
        return {tag: float(np.nanmean(row)) for tag, row in zip(self.languages, self.shared, strict=True)}


def entropies(topics: np.ndarray, languages: Sequence[str]) -> dict[int, float]:
    """Topic -> entropy of its languages, divided by that of the whole collection.

    0 = one language alone; 1 = mixed like the collection. In a collection of unequal languages a topic can be mixed
    more evenly than the whole: its value is then above 1. A collection in one language has no entropy to divide by and
    gives 1 throughout. Outliers are left out.

    Args:
        topics: (N,) topic of each text.
        languages: Language of each of the N texts.
    """
    of = np.unique(np.asarray(languages), return_inverse=True)[1]
    whole = _entropy(np.bincount(of))
    return {
        int(topic): _entropy(np.bincount(of[topics == topic])) / whole if whole else 1.0
        for topic in np.unique(topics[topics != OUTLIER])
    }


def mean_entropy(topics: np.ndarray, languages: Sequence[str]) -> float:
    """Mean of `entropies` over texts: 1 less the share of what a topic tells about the language (I / H)."""
    found = entropies(topics, languages)
    return float(np.mean([found[int(topic)] for topic in topics if topic != OUTLIER]))


def _entropy(counts: np.ndarray) -> float:
    shares = counts[counts > 0] / counts.sum()
    return float(-(shares * np.log(shares)).sum())


def language_variance(vectors: np.ndarray, languages: Sequence[str]) -> float:
    """Share of the variance of vectors (N, D) that lies between the means of the languages: 0 after centring."""
    names, of = np.unique(np.asarray(languages), return_inverse=True)
    spread = ((vectors - vectors.mean(axis=0)) ** 2).sum()
    within = sum(((vectors[of == n] - vectors[of == n].mean(axis=0)) ** 2).sum() for n in range(len(names)))
    return float(1 - within / spread) if spread else 0.0


def agreement(
    topics: np.ndarray, languages: Sequence[str], groups: Sequence[str], pivot: str = "en"
) -> Agreement | None:
    """How translations agree; None where no sentence comes in two languages.

    Args:
        topics: (N,) topic of each text.
        languages: Language of each of the N texts.
        groups: What translations of one sentence share; empty for texts without translation. Of several versions of a
            sentence in one language the last counts.
        pivot: Language for the mutual information; the one with most sentences if this one is missing.
    """
    require("sklearn", "topics")
    from sklearn.metrics import adjusted_mutual_info_score

    known = [place for place, group in enumerate(groups) if group]
    versions: dict[str, dict[str, int]] = {}
    for place in known:
        versions.setdefault(groups[place], {})[languages[place]] = int(topics[place])
    versions = {group: found for group, found in versions.items() if len(found) > 1}
    if not versions:
        return None
    tags = sorted({tag for found in versions.values() for tag in found})
    absent = OUTLIER - 1
    table = np.array([[found.get(tag, absent) for tag in tags] for found in versions.values()])  # (sentences, L)
    shared = np.full((len(tags), len(tags)), np.nan)
    expected = []
    for i in range(len(tags)):
        for j in range(i):
            pair = table[(table[:, i] != absent) & (table[:, j] != absent)][:, [i, j]]
            if len(pair):
                shared[i, j] = shared[j, i] = np.mean((pair[:, 0] == pair[:, 1]) & (pair[:, 0] != OUTLIER))
                expected.append(_by_chance(pair))
    counts = (table != absent).sum(axis=0)
    centre = tags.index(pivot) if pivot in tags else int(counts.argmax())
    information = []
    for i in range(len(tags)):
        both = (table[:, i] != absent) & (table[:, centre] != absent)
        if i != centre and both.any():
            information.append(adjusted_mutual_info_score(table[both, centre], table[both, i]))
    return Agreement(tags, shared, float(np.mean(expected)), float(np.mean(information)), tags[centre], len(versions))


def _by_chance(pair: np.ndarray) -> float:
    """Chance that two independent draws, one from each column (N, 2) of topics, are the same topic."""
    left, right = (pair[:, side][pair[:, side] != OUTLIER] for side in (0, 1))
    size = int(pair.max(initial=0)) + 1
    return float(np.bincount(left, minlength=size) @ np.bincount(right, minlength=size)) / len(pair) ** 2
