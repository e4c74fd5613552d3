"""Which sentences a training batch holds, as a pure function of (seed, batch number).

In: a `TokenStore`. Out: for batch number i, indices of anchors, of their translations and of sentences for the LM term.
Because batch i depends on nothing but the seed and i, a resumed run needs no sampler state and any rank or worker can
make any batch.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mlcl.core.errors import UserError
from mlcl.training.token_store import TokenStore

_DEV_STREAM, _TRAIN_STREAM = 1, 2


@dataclass(slots=True)
class PairIndex:
    """The sentences of a store that have a translation, sorted by group.

    Attributes:
        entries: (E,) sentence indices, group after group.
        start: (E,) where the group of entry i begins in `entries`.
        stop: (E,) where it ends.
    """

    entries: np.ndarray
    start: np.ndarray
    stop: np.ndarray


@dataclass(slots=True)
class Draw:
    """Sentence indices of one batch: anchors (B,), positives (B,), and lm (K,)."""

    anchors: np.ndarray
    positives: np.ndarray
    lm: np.ndarray


class Sampler:
    """Draws languages by p_l ~ n_l^alpha, then a sentence of that language, then one of its translations.

    From a multi-parallel group any direction can come (any language to any language); `pivot_share` is the
    probability that the other side is the pivot language where the group has it. The two sides swap at random.

    Args:
        store: The tokenised corpus.
        alpha: Exponent of the language sampling; 1 = as the data lie, 0 = all languages alike (XLM, arXiv 1901.07291).
        pivot: Canonical tag of the pivot language, or None.
        pivot_share: Probability in [0, 1] of taking the pivot as the other side.
        dev_groups: Groups that are held out of training for the retrieval score during training.
        seed: Seed of everything drawn.

    Raises:
        UserError: the corpus has no translation pair, or no sentence in the pivot language.
    """

    def __init__(
        self,
        store: TokenStore,
        *,
        alpha: float = 0.5,
        pivot: str | None = None,
        pivot_share: float = 0.0,
        dev_groups: int = 0,
        seed: int = 0,
    ) -> None:
        self.store, self.seed, self.pivot_share = store, seed, pivot_share
        if pivot is not None and pivot not in store.languages:
            raise UserError(f"the corpus has no sentence in {pivot!r}", remedy=f"it has {', '.join(store.languages)}")
        self.pivot = None if pivot is None else store.languages.index(pivot)
        group = np.asarray(store.group)
        parallel = np.arange(store.parallel)
        parallel = parallel[np.argsort(group[: store.parallel], kind="stable")]
        index = _index_groups(parallel, group)
        if not len(index.entries):
            raise UserError("the corpus has no translation pair", remedy="contrastive training needs pairs")
        self.dev_ids = self._hold_out(group[index.entries], dev_groups)
        held_out = np.isin(group[index.entries], self.dev_ids)
        self.index = index
        self._languages, self._probability, self._positions = self._by_language(~held_out, alpha)
        lm = np.flatnonzero(~np.isin(group, self.dev_ids)) if len(self.dev_ids) else np.arange(len(store))
        self._lm_languages, self._lm_probability, self._lm_entries = _split_by_language(store.language, lm, alpha)

    @property
    def pairs(self) -> int:
        """Sentences in training that have a translation; the size of one epoch."""
        return int(sum(len(positions) for positions in self._positions))

    def draw(self, batch: int, size: int, lm_size: int = 0) -> Draw:
        """Sentence indices of batch number `batch`: `size` pairs and `lm_size` sentences for the LM term."""
        rng = np.random.default_rng((self.seed, _TRAIN_STREAM, batch))
        counts = rng.multinomial(size, self._probability)
        at = np.concatenate(
            [rng.choice(self._positions[i], size=n) for i, n in enumerate(counts) if n] or [np.empty(0, np.int64)]
        )
        anchors, positives = self._with_partner(at, rng)
        lm_counts = rng.multinomial(lm_size, self._lm_probability)
        lm = [rng.choice(self._lm_entries[i], size=n) for i, n in enumerate(lm_counts) if n]
        order = rng.permutation(size)
        return Draw(anchors[order], positives[order], rng.permutation(np.concatenate(lm)) if lm else np.empty(0, int))

    def dev_pairs(self) -> tuple[np.ndarray, np.ndarray]:
        """One pair of sentence indices from every held-out group: (G,), (G,)."""
        rng = np.random.default_rng((self.seed, _DEV_STREAM, 1))
        group = np.asarray(self.store.group)[self.index.entries]
        _, first = np.unique(group, return_index=True)
        first = first[np.isin(group[first], self.dev_ids)]
        at = first + (rng.random(len(first)) * (self.index.stop[first] - first)).astype(np.int64)
        return self._with_partner(at, rng)

    def _with_partner(self, at: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Positions (B,) in the pair index -> sentence indices of both sides, swapped at random."""
        start, stop = self.index.start[at], self.index.stop[at]
        other = start + (rng.random(len(at)) * (stop - start - 1)).astype(np.int64)
        other += other >= at  # skip the sentence itself
        if self.pivot is not None and self.pivot_share > 0:
            language = np.asarray(self.store.language)
            for i in np.flatnonzero(rng.random(len(at)) < self.pivot_share):
                members = np.arange(start[i], stop[i])
                is_pivot = language[self.index.entries[members]] == self.pivot
                candidates = members[is_pivot & (members != at[i])]
                if len(candidates):
                    other[i] = rng.choice(candidates)
        sides = self.index.entries[np.stack([at, other])]
        swap = rng.random(len(at)) < 0.5
        return np.where(swap, sides[1], sides[0]), np.where(swap, sides[0], sides[1])

    def _hold_out(self, group: np.ndarray, count: int) -> np.ndarray:
        known = np.unique(group)
        count = min(count, len(known) // 10)  # a small corpus keeps nine tenths for training
        return np.random.default_rng((self.seed, _DEV_STREAM, 0)).choice(known, size=count, replace=False)

    def _by_language(self, keep: np.ndarray, alpha: float) -> tuple[np.ndarray, np.ndarray, list[np.ndarray]]:
        language = np.asarray(self.store.language)[self.index.entries]
        return _split_by_language(language, np.flatnonzero(keep), alpha)


def _index_groups(entries: np.ndarray, group: np.ndarray) -> PairIndex:
    """Entries sorted by group -> those in groups of two or more, with the bounds of their groups."""
    ids = group[entries]
    entries, ids = entries[ids >= 0], ids[ids >= 0]
    _, inverse, counts = np.unique(ids, return_inverse=True, return_counts=True)
    entries = entries[counts[inverse] > 1]
    counts = counts[counts > 1]
    stops = np.cumsum(counts)
    return PairIndex(entries, np.repeat(stops - counts, counts), np.repeat(stops, counts))


def _split_by_language(
    language: np.ndarray, entries: np.ndarray, alpha: float
) -> tuple[np.ndarray, np.ndarray, list[np.ndarray]]:
    """Languages present, their sampling probabilities ~ n^alpha, and the entries of each."""
    labels = np.asarray(language)[entries]
    order = np.argsort(labels, kind="stable")
    present, counts = np.unique(labels, return_counts=True)
    weight = counts.astype(np.float64) ** alpha
    return present, weight / weight.sum(), np.split(entries[order], np.cumsum(counts)[:-1])
