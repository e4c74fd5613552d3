"""A bounded sample of sentences in which small languages are heard: p_l ~ n_l^alpha.

In: a corpus, as record batches of pairs and of monolingual rows. Out: `{language: texts}`, the same for the same corpus
and seed. Two passes: the first counts, the second picks the drawn positions as they go by, so memory holds the sample
and one batch, whatever the size of the corpus.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mlcl.core.errors import UserError


class TextCorpus(Protocol):
    """What is asked of a corpus: `mlcl.corpus.store.Corpus` has it."""

    def pair_batches(self, columns: list[str] | None = None) -> Iterator[pa.RecordBatch]:
        """Batches with source_lang, target_lang, source, target."""

    def mono_batches(self, columns: list[str] | None = None) -> Iterator[pa.RecordBatch]:
        """Batches with lang, text."""


def sample_texts(
    corpus: TextCorpus, *, alpha: float, max_sentences: int, max_characters: int | None = None, seed: int = 0
) -> dict[str, list[str]]:
    """Draw sentences without replacement; languages sorted, texts in stored order.

    Args:
        corpus: The corpus.
        alpha: Exponent of the temperature sampling: 1 keeps the proportions of the corpus, 0 gives every language the
            same share (as far as it has that many sentences).
        max_sentences: Most sentences in the sample, over all languages.
        max_characters: Most characters in the sample, about: a sample that would hold more gets fewer sentences.
        seed: Seed of the draw.

    Raises:
        UserError: the corpus has no text.
    """
    sentences: Counter[str] = Counter()
    characters: Counter[str] = Counter()
    for language, texts in _streams(corpus):
        sentences[language] += len(texts)
        characters[language] += pc.sum(pc.utf8_length(texts)).as_py() or 0
    if not sentences:
        raise UserError("the corpus has no text", remedy="build it with at least one source that has sentences")
    shares = quotas(sentences, alpha, max_sentences)
    if max_characters is not None:
        expected = sum(share * characters[tag] / sentences[tag] for tag, share in shares.items())
        if expected > max_characters:
            shares = quotas(sentences, alpha, max(1, int(sum(shares.values()) * max_characters / expected)))

    wanted = {}
    for tag in sorted(shares):  # a generator per language: one language more does not change the others' draw
        random = np.random.default_rng([seed, *tag.encode()])
        wanted[tag] = np.sort(random.choice(sentences[tag], shares[tag], replace=False))
    sample: dict[str, list[str]] = {tag: [] for tag in sorted(shares)}
    passed: Counter[str] = Counter()
    for language, texts in _streams(corpus):
        first, end = np.searchsorted(wanted[language], [passed[language], passed[language] + len(texts)])
        rows = wanted[language][first:end] - passed[language]
        passed[language] += len(texts)
        sample[language] += texts.take(pa.array(rows)).to_pylist()
    return sample


def quotas(available: dict[str, int], alpha: float, total: int) -> dict[str, int]:
    """How many sentences each language gives, in proportion to n_l^alpha, never more than it has.

    What a small language cannot fill goes to the others in the same proportion; every language gives at least one.
    """
    open_ = {tag: count**alpha for tag, count in available.items() if count}
    filled: dict[str, int] = {}
    rest = total
    while open_:
        norm = sum(open_.values())
        small = [tag for tag, weight in open_.items() if available[tag] <= rest * weight / norm]
        if not small:
            return filled | {tag: max(1, int(rest * weight / norm)) for tag, weight in open_.items()}
        for tag in small:
            del open_[tag]
            filled[tag] = available[tag]
        rest -= sum(available[tag] for tag in small)
    return filled


def _streams(corpus: TextCorpus) -> Iterator[tuple[str, Any]]:
    """(language, texts) of every batch, in stored order.

    A record with k versions is stored as k - 1 rows with the same source; neighbours that repeat it count once.
    """
    for batch in corpus.pair_batches(columns=["source_lang", "target_lang", "source", "target"]):
        source = batch.column("source")
        if len(source) > 1:
            new = pc.not_equal(source.slice(1), source.slice(0, len(source) - 1))
            new = pa.concat_arrays([pa.array([True]), new])
            yield from _by_language(batch.column("source_lang").filter(new), source.filter(new))
        else:
            yield from _by_language(batch.column("source_lang"), source)
        yield from _by_language(batch.column("target_lang"), batch.column("target"))
    for batch in corpus.mono_batches(columns=["lang", "text"]):
        yield from _by_language(batch.column("lang"), batch.column("text"))


def _by_language(languages: Any, texts: Any) -> Iterator[tuple[str, Any]]:
    for language in pc.unique(languages).to_pylist():
        yield language, texts.filter(pc.equal(languages, language))
