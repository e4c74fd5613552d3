"""Further positives: sentences without a translation that meet themselves, or themselves with some words translated.

In: a `TokenStore`, settings and, for code-switching, a `Dictionary`. Out: pairs of token ids for batch number i, which
take the place of translation pairs in it. What is drawn depends on nothing but the seed and i.

Monolingual sentences are often of another kind than those that have translations (short, everyday, spoken); without
such pairs the contrastive terms never see them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

import numpy as np

from mlcl.core.errors import UserError

if TYPE_CHECKING:  # the command line reads the settings here, and shall not wait for torch
    from mlcl.model.config import MLCConfig
    from mlcl.training.dictionary import Dictionary
    from mlcl.training.token_store import TokenStore

Ids = np.ndarray

_AUGMENTATION = 5  # name of the random stream, beside those of sampling.py and sources.py


@dataclass(frozen=True)
class AugmentationSettings:
    """Positives that are made rather than found."""

    simcse: float = 0.0
    """Share of a batch's pairs that are a sentence without translation twice, which dropout tells apart (SimCSE)."""
    code_switch: float = 0.0
    """Share of a batch's pairs that are a sentence without translation and itself with some words translated, by a
    dictionary that is induced from the corpus (code-switching)."""
    code_switch_pairs: float = 0.0
    """Share of the translation pairs whose anchor is code-switched."""
    switch_rate: float = 0.4
    """Share of the words with a translation in the dictionary that are replaced, at least one in a sentence."""
    alpha: float = 0.5
    """Languages of sentences without translation are drawn by p ~ n^alpha."""

    def __post_init__(self) -> None:
        problems = [
            f"augmentation.{item.name} is {getattr(self, item.name)}, it must be in [0, 1]"
            for item in fields(self)
            if not 0 <= getattr(self, item.name) <= 1
        ]
        if not problems and self.simcse + self.code_switch > 1:
            problems.append(f"augmentation.simcse and code_switch are {self.simcse} and {self.code_switch}, above 1")
        if self.uses_dictionary and self.switch_rate == 0:
            problems.append("augmentation.switch_rate is 0, no word would be replaced")
        if problems:
            raise UserError("; ".join(problems))

    @property
    def uses_dictionary(self) -> bool:
        """Whether sentences are code-switched."""
        return self.code_switch > 0 or self.code_switch_pairs > 0

    @property
    def uses_mono(self) -> bool:
        """Whether sentences without translation are needed."""
        return self.simcse > 0 or self.code_switch > 0

    def check(self, model: MLCConfig, mono_sentences: int) -> None:
        """Refuse what cannot work with this model and corpus.

        Raises:
            UserError: two views of a sentence would be equal, or there is no sentence without translation.
        """
        if self.simcse and model.hidden_dropout == 0 and model.attention_dropout == 0:
            raise UserError(
                "augmentation.simcse needs dropout, which the model has none of: both views would be equal",
                remedy="set model.hidden_dropout, for example to 0.1, or use augmentation.code_switch",
            )
        if self.uses_mono and not mono_sentences:
            raise UserError(
                "augmentation.simcse and code_switch need sentences without translation, the corpus has none",
                remedy="build it with monolingual sources, or use augmentation.code_switch_pairs",
            )


@dataclass
class MadePairs:
    """Pairs that are made: n anchors and positives as token ids, group ids (n,) and languages (n,)."""

    anchors: list[Ids]
    positives: list[Ids]
    ids: np.ndarray
    languages: np.ndarray


class Augmentation:
    """Makes pairs for batch number i.

    Args:
        store: The tokenised corpus.
        settings: How many of which kind.
        dictionary: For code-switching.
        held_out: Groups that are held out of training.
        max_length: Longest sentence in tokens.
        seed: Seed of everything drawn.

    Raises:
        UserError: sentences without translation are asked for, and all of them are held out.
    """

    def __init__(
        self,
        store: TokenStore,
        settings: AugmentationSettings,
        *,
        dictionary: Dictionary | None = None,
        held_out: np.ndarray | None = None,
        max_length: int = 128,
        seed: int = 0,
    ) -> None:
        assert dictionary is not None or not settings.uses_dictionary
        self.store, self.settings, self.dictionary = store, settings, dictionary
        self.max_length, self.seed = max_length, seed
        mono = np.arange(store.parallel, len(store))
        if held_out is not None and len(held_out):
            mono = mono[~np.isin(np.asarray(store.group[store.parallel :]), held_out)]
        if settings.uses_mono and not len(mono):
            raise UserError(
                "augmentation.simcse and code_switch need sentences without translation: all "
                f"{len(store) - store.parallel} of the corpus are held out with the dev pairs that they belong to",
                remedy="lower sampling.dev_groups, or set augmentation.simcse and code_switch to 0",
            )
        self._members, self._probability = _by_language(np.asarray(store.language)[mono], mono, settings.alpha)

    def pairs(self, number: int, size: int) -> MadePairs:
        """Made pairs of batch number `number`, which shall have `size` pairs in all.

        Sentences in which the dictionary knows no word are drawn again a few times; a batch may so get fewer pairs of
        this kind than asked for, and gets more translation pairs instead.
        """
        rng = np.random.default_rng((self.seed, _AUGMENTATION, number))
        twice = [
            (i, ids, ids)
            for i in self._draw(round(self.settings.simcse * size), rng).tolist()
            for ids in [np.asarray(self.store.sentence(i))]
        ]
        both = round((self.settings.simcse + self.settings.code_switch) * size)  # two roundings could exceed `size`
        made = twice + self._switched(both - len(twice), rng)
        rows = np.array([row for row, _, _ in made], dtype=np.int64)
        swap = rng.random(len(made)) < 0.5  # so that one queue serves both sides
        anchors, positives = [], []
        for flip, (_, plain, other) in zip(swap, made, strict=True):
            anchors.append(other if flip else plain)
            positives.append(plain if flip else other)
        return MadePairs(anchors, positives, np.asarray(self.store.group)[rows], np.asarray(self.store.language)[rows])

    def switch_some(self, number: int, sentences: list[Ids], languages: np.ndarray) -> list[Ids]:
        """The sentences (languages (n,)), some of them code-switched, as `code_switch_pairs` has it."""
        if not self.settings.code_switch_pairs:
            return sentences
        assert self.dictionary is not None
        rng = np.random.default_rng((self.seed, _AUGMENTATION, number, 1))
        chosen = rng.random(len(sentences)) < self.settings.code_switch_pairs
        return [
            self._switch(ids, language, rng)[0] if yes else ids
            for ids, language, yes in zip(sentences, languages.tolist(), chosen, strict=True)
        ]

    def _switched(self, count: int, rng: np.random.Generator, attempts: int = 4) -> list[tuple[int, Ids, Ids]]:
        """Up to `count` sentences with themselves code-switched: (index, sentence, switched)."""
        made: list[tuple[int, Ids, Ids]] = []
        for _ in range(attempts):
            for i in self._draw(count - len(made), rng).tolist():
                plain = np.asarray(self.store.sentence(i))
                other, replaced = self._switch(plain, int(self.store.language[i]), rng)
                if replaced:
                    made.append((i, plain, other))
        return made

    def _switch(self, ids: Ids, language: int, rng: np.random.Generator) -> tuple[Ids, int]:
        assert self.dictionary is not None
        return self.dictionary.switch(ids, language, self.settings.switch_rate, rng, self.max_length)

    def _draw(self, count: int, rng: np.random.Generator) -> np.ndarray:
        """Indices (count,) of sentences without translation."""
        if not count:
            return np.empty(0, np.int64)
        counts = rng.multinomial(count, self._probability)
        parts = [rng.choice(members, size=n) for members, n in zip(self._members, counts, strict=True) if n]
        return rng.permutation(np.concatenate(parts))


def _by_language(languages: np.ndarray, rows: np.ndarray, alpha: float) -> tuple[list[np.ndarray], np.ndarray]:
    """The rows of each language, and its probability ~ n^alpha."""
    order = np.argsort(languages, kind="stable")
    _, counts = np.unique(languages, return_counts=True)
    weights = counts.astype(np.float64) ** alpha
    return np.split(rows[order], np.cumsum(counts)[:-1]), weights / weights.sum() if len(counts) else weights


def augmentation_for(
    settings: AugmentationSettings,
    store: TokenStore,
    tokenizer: Any,
    *,
    held_out: np.ndarray,
    max_length: int,
    seed: int,
    step: Callable[[str], Any],
) -> Augmentation | None:
    """The augmentation that the settings ask for, with its dictionary; None where they ask for nothing.

    Raises:
        UserError: no dictionary can be induced from the corpus.
    """
    from mlcl.training.dictionary import induce, token_kinds

    if not settings.uses_mono and not settings.uses_dictionary:
        return None
    dictionary = None
    if settings.uses_dictionary:
        with step("dictionary for code-switching"):
            dictionary = induce(store, token_kinds(tokenizer), held_out=held_out, seed=seed)
        if not len(dictionary):
            raise UserError(
                "no dictionary for code-switching can be induced from the corpus: too few words of two languages meet",
                remedy="set augmentation.code_switch and code_switch_pairs to 0",
            )
    return Augmentation(store, settings, dictionary=dictionary, held_out=held_out, max_length=max_length, seed=seed)
