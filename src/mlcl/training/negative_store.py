"""The hard negatives of a corpus as token ids, found by the group of the pair that they belong to.

In: a `Corpus` with a column `negatives` and a tokenizer. Out: for the groups of a batch, some of their negatives, each
with the group that it itself belongs to in the corpus: a negative of one pair may translate another pair of the batch.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from transformers import PreTrainedTokenizerBase

from mlcl.core.progress import track
from mlcl.corpus.store import Corpus
from mlcl.training.token_store import encode

_BLOCK = 8192  # texts that are tokenised in one call


@dataclass(frozen=True)
class NegativeStore:
    """Hard negatives as token ids.

    Attributes:
        tokens: (T,) all token ids, one text after the other.
        offsets: (U + 1,) where each text starts.
        own: (U,) group that each text itself has in the corpus, -1 = none.
        group: (M,) ascending groups of the pairs; entry i says that text `text[i]` is a negative of `group[i]`.
        text: (M,) numbers of texts.
    """

    tokens: np.ndarray
    offsets: np.ndarray
    own: np.ndarray
    group: np.ndarray
    text: np.ndarray

    def __len__(self) -> int:
        return len(self.group)

    def draw(self, groups: np.ndarray, per_pair: int, rng: np.random.Generator) -> tuple[list[np.ndarray], np.ndarray]:
        """Negatives for pairs of these groups (B,): token ids of m texts and their own groups (m,).

        Args:
            groups: (B,) groups of the pairs, -1 = none.
            per_pair: Most negatives of a pair, drawn anew each time; a text that several pairs draw comes once.
            rng: Source of the choice.
        """
        low, high = np.searchsorted(self.group, groups, "left"), np.searchsorted(self.group, groups, "right")
        chosen = [
            self.text[first + rng.permutation(last - first)[:per_pair]]
            for first, last in zip(low.tolist(), high.tolist(), strict=True)
            if last > first
        ]
        texts = np.unique(np.concatenate(chosen)) if chosen else np.empty(0, np.int64)
        return [self.tokens[self.offsets[i] : self.offsets[i + 1]] for i in texts.tolist()], self.own[texts]


def negative_store(corpus: Corpus, tokenizer: PreTrainedTokenizerBase, max_length: int) -> NegativeStore | None:
    """The negatives of a corpus, or None where it has none.

    Args:
        corpus: The corpus.
        tokenizer: A fast tokenizer.
        max_length: Longest text in tokens; longer ones are cut.
    """
    groups, found = [], []
    for batch in corpus.pair_batches(["group", "negatives"]):
        column = batch.column("negatives")
        groups.append(batch.column("group").take(pc.list_parent_indices(column)))
        found.append(pc.list_flatten(column))
    texts = pa.chunked_array(found, pa.string()).combine_chunks()
    if not len(texts):
        return None
    distinct = texts.unique()
    table = np.stack([pa.chunked_array(groups, pa.int64()).to_numpy(), pc.index_in(texts, distinct).to_numpy()], axis=1)
    table = np.unique(table[table[:, 0] >= 0], axis=0)  # (M, 2), by group
    ids: list[np.ndarray] = []
    for start in track(range(0, len(distinct), _BLOCK), "tokenising negatives"):
        ids += [
            np.array(i, np.int32) for i in encode(tokenizer, distinct[start : start + _BLOCK].to_pylist(), max_length)
        ]
    offsets = np.concatenate([[0], np.cumsum([len(sequence) for sequence in ids])])
    return NegativeStore(np.concatenate(ids), offsets, _own_groups(corpus, distinct), table[:, 0], table[:, 1])


def _own_groups(corpus: Corpus, texts: pa.Array) -> np.ndarray:
    """The group (U,) that each of some distinct texts has in the corpus; -1 where it is not in it."""
    own = np.full(len(texts), -1, dtype=np.int64)
    for column, group in _sentences(corpus):
        place = pc.index_in(column, texts)
        numbers = group.to_numpy()
        known = place.is_valid().to_numpy(zero_copy_only=False) & (numbers >= 0)  # no group takes none away
        own[place.fill_null(-1).to_numpy()[known]] = numbers[known]
    return own


def _sentences(corpus: Corpus) -> Iterator[tuple[pa.Array, pa.Array]]:
    """Texts and groups of all sentences."""
    for batch in corpus.pair_batches(["source", "target", "group"]):
        yield batch.column("source"), batch.column("group")
        yield batch.column("target"), batch.column("group")
    for batch in corpus.mono_batches(["text", "group"]):
        yield batch.column("text"), batch.column("group")
