"""Which sentences a training batch holds, as a pure function of (seed, batch number).

In: a `TokenStore`. Out: for batch number i, indices of anchors, of their translations and of sentences for the LM term.
Because batch i depends on nothing but the seed, i and the ends of the stages, a resumed run needs no sampler state and
any rank or worker can make any batch.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mlcl.core.errors import UserError
from mlcl.training.mixing import Stage, stage_proportions
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
    Weights and caps of origins and the repetition limit change the draw of the first sentence (`mixing.proportions`).

    Args:
        store: The tokenised corpus.
        alpha: Exponent of the language sampling; 1 = as the data lie, 0 = all languages alike (XLM, arXiv 1901.07291).
        pivot: Canonical tag of the pivot language, or None.
        pivot_share: Probability in [0, 1] of taking the pivot as the other side.
        max_repeats: No sentence is more than this many times as likely as if all were drawn alike; None = no limit.
        dev_groups: Groups that are held out of training for the retrieval score during training.
        seed: Seed of everything drawn.
        with_lm: Whether sentences for the LM term will be asked for.

    Raises:
        UserError: the corpus has no translation pair, no sentence in the pivot language, or the limit leaves too
            little to draw from.
    """

    def __init__(
        self,
        store: TokenStore,
        *,
        alpha: float = 0.5,
        pivot: str | None = None,
        pivot_share: float = 0.0,
        max_repeats: float | None = None,
        dev_groups: int = 0,
        seed: int = 0,
        with_lm: bool = True,
    ) -> None:
        self.store, self.seed = store, seed
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
        self.index = index
        self.max_repeats, self.with_lm = max_repeats, with_lm
        self._training = np.flatnonzero(~np.isin(group[index.entries], self.dev_ids))
        self.follow([Stage(None, alpha, pivot_share)])

    def follow(self, stages: Sequence[Stage]) -> None:
        """Draw by a curriculum, in the place of `alpha` and `pivot_share`; its last stage goes on for ever.

        Raises:
            UserError: no such origin in the corpus, or limits that leave too little to draw from.
        """
        self.stages = tuple(stages)
        self._ends = [stage.end for stage in self.stages[:-1] if stage.end is not None]
        store, origins_matter = self.store, any(stage.origin_weights or stage.origin_caps for stage in self.stages)
        sentences = self.index.entries[self._training]
        self._pairs = _Cells.of(store, sentences, self._training, origins_matter)
        self._pair_shares = self._shares(self._pairs, "pairs")
        if self.with_lm:
            single = np.arange(len(store))
            if len(self.dev_ids):
                single = single[~np.isin(np.asarray(store.group), self.dev_ids)]
            self._single = _Cells.of(store, single, single, origins_matter)
            self._single_shares = self._shares(self._single, "sentences of the LM term")

    @property
    def pairs(self) -> int:
        """Sentences in training that have a translation; the size of one epoch."""
        return len(self._training)

    def stage_of(self, batch: int) -> int:
        """The stage that batch number `batch` belongs to, from 0."""
        return bisect_right(self._ends, batch)

    def draw(self, batch: int, size: int, lm_size: int = 0) -> Draw:
        """Sentence indices of batch number `batch`: `size` pairs and `lm_size` sentences for the LM term."""
        rng = np.random.default_rng((self.seed, _TRAIN_STREAM, batch))
        stage = self.stage_of(batch)
        at = self._pairs.draw(self._pair_shares[stage], size, rng)
        anchors, positives = self._with_partner(at, self.stages[stage].pivot_share, rng)
        lm = self._single.draw(self._single_shares[stage], lm_size, rng) if lm_size else np.empty(0, np.int64)
        order = rng.permutation(size)
        return Draw(anchors[order], positives[order], rng.permutation(lm))

    def dev_pairs(self) -> tuple[np.ndarray, np.ndarray]:
        """One pair of sentence indices from every held-out group: (G,), (G,)."""
        rng = np.random.default_rng((self.seed, _DEV_STREAM, 1))
        group = np.asarray(self.store.group)[self.index.entries]
        _, first = np.unique(group, return_index=True)
        first = first[np.isin(group[first], self.dev_ids)]
        at = first + (rng.random(len(first)) * (self.index.stop[first] - first)).astype(np.int64)
        return self._with_partner(at, self.stages[0].pivot_share, rng)

    def _with_partner(
        self, at: np.ndarray, pivot_share: float, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        """Positions (B,) in the pair index -> sentence indices of both sides, swapped at random."""
        start, stop = self.index.start[at], self.index.stop[at]
        other = start + (rng.random(len(at)) * (stop - start - 1)).astype(np.int64)
        other += other >= at  # skip the sentence itself
        if self.pivot is not None and pivot_share > 0:
            language = np.asarray(self.store.language)
            for i in np.flatnonzero(rng.random(len(at)) < pivot_share):
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

    def _shares(self, cells: _Cells, what: str) -> list[np.ndarray]:
        """Probability of each cell, stage after stage."""
        return [
            stage_proportions(
                stage,
                cells.counts,
                cells.language,
                cells.origin,
                self.store.origins,
                self.max_repeats,
                what if len(self.stages) == 1 else f"{what}, stage {number}",
            )
            for number, stage in enumerate(self.stages)
        ]


@dataclass(slots=True)
class _Cells:
    """Things to draw, sorted into cells: the sentences of one language or, where origins matter, of one origin in it.

    Attributes:
        language: (C,) language of each cell.
        origin: (C,) origin of each cell; all 0 where origins do not matter.
        counts: (C,) things in each cell.
        members: C arrays of things.
    """

    language: np.ndarray
    origin: np.ndarray
    counts: np.ndarray
    members: list[np.ndarray]

    @classmethod
    def of(cls, store: TokenStore, sentences: np.ndarray, things: np.ndarray, by_origin: bool) -> _Cells:
        """Cells of `things` (E,), of which thing i stands for the sentence with index `sentences[i]`."""
        origins = len(store.origins) if by_origin else 1
        labels = np.asarray(store.language)[sentences].astype(np.int64) * origins
        if by_origin:
            labels += np.asarray(store.origin)[sentences]
        order = np.argsort(labels, kind="stable")
        present, counts = np.unique(labels, return_counts=True)
        language, origin = np.divmod(present, origins)
        return cls(language, origin, counts, np.split(things[order], np.cumsum(counts)[:-1]))

    def draw(self, probability: np.ndarray, size: int, rng: np.random.Generator) -> np.ndarray:
        """`size` things, cell after cell."""
        counts = rng.multinomial(size, probability)
        parts = [rng.choice(self.members[cell], size=n) for cell, n in enumerate(counts) if n]
        return np.concatenate(parts) if parts else np.empty(0, np.int64)


def _index_groups(entries: np.ndarray, group: np.ndarray) -> PairIndex:
    """Entries sorted by group -> those in groups of two or more, with the bounds of their groups."""
    ids = group[entries]
    entries, ids = entries[ids >= 0], ids[ids >= 0]
    _, inverse, counts = np.unique(ids, return_inverse=True, return_counts=True)
    entries = entries[counts[inverse] > 1]
    counts = counts[counts > 1]
    stops = np.cumsum(counts)
    return PairIndex(entries, np.repeat(stops - counts, counts), np.repeat(stops, counts))
