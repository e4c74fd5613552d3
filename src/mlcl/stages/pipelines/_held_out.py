"""The quickstart's test: finding the translation of a program message that was held out of training.

In: the held-out messages of the catalogs and the training corpus. Out: one `Pool` per language, and for any encoder
the accuracy per language in both directions, with averages.

Held out is the English message, so no language has seen it. Placeholders and mark-up are masked, because they stand in
both sides letter by letter. Per language each English text and each translation occurs once, so one answer is right.
"""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc

from mlcl import formats
from mlcl.core.files import RowCounter
from mlcl.core.languages import base, script
from mlcl.core.text import normalise_key
from mlcl.corpus.clean import CleanSettings, clean_text, filter_versions, versions
from mlcl.corpus.store import Corpus
from mlcl.tasks import Embed
from mlcl.tasks._embedded import EmbeddedTexts
from mlcl.text.placeholders import mask_placeholders

PIVOT = "en"
Similarity = Callable[[Sequence[str], Sequence[str]], np.ndarray]
"""Texts (N), texts (M) -> similarities (N, M), higher = closer."""


@dataclass
class Pool:
    """What one language is tested on.

    Attributes:
        language: Its tag.
        english: Held-out English messages (N).
        translations: Their translations (N), line by line.
        more_english: Further English candidates, to fill the pool.
        more_translations: Further candidates in the language, to fill the pool.
        training_pairs: Pairs of this language with English in the training corpus.
        raw_english: The English messages before masking (N).
        raw_translations: Their translations before masking (N).
    """

    language: str
    english: list[str] = field(default_factory=list)
    translations: list[str] = field(default_factory=list)
    more_english: list[str] = field(default_factory=list)
    more_translations: list[str] = field(default_factory=list)
    training_pairs: int = 0
    raw_english: list[str] = field(default_factory=list)
    raw_translations: list[str] = field(default_factory=list)

    def remove_english(self, keys: set[str]) -> int:
        """Take out the held-out messages whose English has one of the keys; returns how many."""
        kept = [row for row, text in enumerate(self.english) if normalise_key(text) not in keys]
        removed = len(self.english) - len(kept)
        for name in ("english", "translations", "raw_english", "raw_translations"):
            setattr(self, name, [getattr(self, name)[row] for row in kept])
        return removed

    @property
    def size(self) -> int:
        """Candidates to choose from, in the direction that has fewer."""
        return len(self.english) + min(len(self.more_english), len(self.more_translations))


@dataclass(frozen=True)
class Score:
    """Accuracy of one encoder in one language, in per cent.

    Attributes:
        language: Its tag.
        to_english: Share of translations whose nearest English candidate is their source.
        from_english: Share of English messages whose nearest candidate is their translation.
        messages: Held-out messages.
        pool: Candidates to choose from.
        training_pairs: Pairs of this language in training.
        counted: Whether the language has enough messages and candidates to be part of the averages.
    """

    language: str
    to_english: float
    from_english: float
    messages: int
    pool: int
    training_pairs: int
    counted: bool

    @property
    def mean(self) -> float:
        """Mean of both directions."""
        return (self.to_english + self.from_english) / 2


def read_held_out(packages: list[str]) -> tuple[dict[str, Pool], Counter[str]]:
    """The held-out messages of each language, cleaned as the corpus is and masked.

    Returns:
        Language -> pool without fillers, and what was left out by reason.
    """
    rows = RowCounter()
    pools: dict[str, Pool] = {}
    seen: set[tuple[str, str]] = set()  # (language or "<language, English side", key)
    dropped: Counter[str] = Counter()
    settings = CleanSettings()
    for record in formats.read("gettext_package", Path(), rows, packages=packages, part="dev"):
        raw = {(tag, mask_placeholders(text)): text for tag, text in record.texts}
        kept, lost = filter_versions(versions(list(raw), settings), settings)
        dropped.update(item.reason for item in lost)
        by_version = {(tag, clean_text(masked)): text for (tag, masked), text in raw.items()}
        for version in kept[1:]:
            if base(version.lang) == PIVOT:
                dropped["a variety of English"] += 1
            elif {(version.lang, version.key), ("<" + version.lang, kept[0].key)} & seen:
                dropped["repeated message"] += 1
            else:
                seen |= {(version.lang, version.key), ("<" + version.lang, kept[0].key)}
                pool = pools.setdefault(version.lang, Pool(version.lang))
                pool.english.append(kept[0].text)
                pool.translations.append(version.text)
                pool.raw_english.append(record.texts[0][1])
                pool.raw_translations.append(by_version[version.lang, version.text])
    rows.check()
    return dict(sorted(pools.items())), dropped


def write_texts(pools: dict[str, Pool], path: Path) -> None:
    """Write every held-out text as one JSON line `{"lang", "text"}`, for the corpus to keep out."""
    texts = {(PIVOT, text) for pool in pools.values() for text in pool.raw_english}
    texts |= {(pool.language, text) for pool in pools.values() for text in pool.raw_translations}
    lines = (json.dumps({"lang": language, "text": text}, ensure_ascii=False) for language, text in sorted(texts))
    path.write_text("".join(line + "\n" for line in lines), encoding="utf-8")


def fill_pools(pools: dict[str, Pool], corpus: Corpus, size: int, seed: int) -> int:
    """Add candidates until each direction has `size` of them, or as many as there are.

    English candidates are the other held-out messages first, then messages of the training corpus; candidates in the
    language come from its side of the training corpus. None equals a held-out text of the pool.

    Returns:
        How many held-out messages were taken out because, masked, their English equals that of a training message.
    """
    english, by_language = _training_texts(corpus, set(pools))
    trained = {normalise_key(mask_placeholders(text)) for text in english}
    taken_out = sum(pool.remove_english(trained) for pool in pools.values())
    for language in [language for language, pool in pools.items() if not pool.english]:
        del pools[language]
    held_out = sorted({text for pool in pools.values() for text in pool.english})
    generator = random.Random(seed)
    for pool in pools.values():
        need = max(0, size - len(pool.english))
        known = {normalise_key(text) for text in pool.english + pool.translations}
        pool.training_pairs = len(by_language[pool.language])
        pool.more_english = _distinct(_shuffled(held_out, generator) + _shuffled(english, generator), known, need)
        pool.more_translations = _distinct(_shuffled(by_language[pool.language], generator), known, need)
    return taken_out


def _training_texts(corpus: Corpus, languages: set[str]) -> tuple[list[str], dict[str, list[str]]]:
    """All English texts of the corpus, and per language one text a pair (repeated ones included)."""
    english: set[str] = set()
    by_language: dict[str, list[str]] = {language: [] for language in languages}
    for batch in corpus.pair_batches(["source_lang", "source", "target_lang", "target"]):
        pivot = batch.filter(pc.equal(batch["source_lang"], PIVOT))
        english.update(pivot["source"].to_pylist())
        for language, text in zip(pivot["target_lang"].to_pylist(), pivot["target"].to_pylist(), strict=True):
            if language in by_language:
                by_language[language].append(text)
    return sorted(english), by_language


def _shuffled(texts: list[str], generator: random.Random) -> list[str]:
    return generator.sample(texts, len(texts))


def _distinct(texts: list[str], known: set[str], need: int) -> list[str]:
    """The first `need` texts, masked, whose keys differ from the known ones and from one another."""
    found: list[str] = []
    keys = set(known)
    for text in texts:
        if len(found) == need:
            break
        masked = mask_placeholders(text)
        key = normalise_key(masked)
        if key and key not in keys:
            keys.add(key)
            found.append(masked)
    return found


def score(pools: dict[str, Pool], similarity: Similarity, pool_size: int, min_messages: int) -> list[Score]:
    """Accuracy per language; a tie with a wrong candidate is an error."""
    scores = []
    for pool in pools.values():
        english, translations = pool.english + pool.more_english, pool.translations + pool.more_translations
        counted = len(pool.english) >= min_messages and pool.size >= pool_size
        to_english = accuracy(similarity(pool.translations, english))
        from_english = accuracy(similarity(pool.english, translations))
        scores.append(
            Score(pool.language, to_english, from_english, len(pool.english), pool.size, pool.training_pairs, counted)
        )
    return scores


def accuracy(similarities: np.ndarray) -> float:
    """Per cent of the rows i of (N, M) similarities whose largest entry is column i, and that alone."""
    rows = np.arange(len(similarities))
    right = similarities[rows, rows]
    others = similarities.copy()
    others[rows, rows] = -np.inf
    return float(100 * (right > others.max(axis=1)).mean())


def averages(scores: list[Score], enough_pairs: int = 500) -> dict[str, tuple[float, int]]:
    """Group of languages -> (mean accuracy of both directions, number of languages); languages that count only."""
    counted = [item for item in scores if item.counted]
    groups = {
        "all languages": counted,
        f"non-Latin script, {enough_pairs} training pairs or more": [
            item for item in counted if script(item.language) != "Latn" and item.training_pairs >= enough_pairs
        ],
    }
    return {
        name: (float(np.mean([item.mean for item in group])), len(group)) for name, group in groups.items() if group
    }


def all_texts(pools: dict[str, Pool]) -> list[str]:
    """Every text that the pools hold, each once."""
    return sorted(
        {
            text
            for pool in pools.values()
            for texts in (pool.english, pool.translations, pool.more_english, pool.more_translations)
            for text in texts
        }
    )


class Space:
    """Cosine similarity under an encoder or a baseline; each text is embedded once.

    Args:
        embed: Texts -> vectors (N, D), dense or sparse, normalised or not.
        texts: All texts that will be asked for.
    """

    def __init__(self, embed: Embed, texts: list[str]) -> None:
        self._embedded = EmbeddedTexts(embed, texts)

    def of(self, texts: Sequence[str]) -> Any:
        """Unit vectors (N, D) of texts."""
        return self._embedded.of(texts)

    def __call__(self, texts: Sequence[str], candidates: Sequence[str]) -> np.ndarray:
        """Cosines (N, M)."""
        cosines = self.of(texts) @ self.of(candidates).T
        return np.asarray(cosines.toarray() if hasattr(cosines, "toarray") else cosines)
