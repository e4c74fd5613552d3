"""Training texts that are nearly evaluation texts: copies with a word changed or left out, found by their shingles.

In: evaluation texts and training texts. Out: which training texts are too close. Equal texts are found by their keys
when the corpus is read (`sources.evaluation_keys`), translations by vectors (`contamination`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from mlcl.core.text import key_hash, normalise_key
from mlcl.corpus.near import PERMUTATIONS, Signatures, bands, shingles, signature

_DOUBT = 0.2  # how far a similarity that is estimated from signatures may lie below the wanted one and be looked at


class NearIndex:
    """Evaluation texts, searchable for those that share most shingles with a text; in memory, about 600 bytes each.

    Candidates come from MinHash and its bands, as in `near`, and are then compared exactly. An evaluation sentence
    inside a text several times as long is not found: the two are not similar.

    Args:
        texts: Evaluation texts; equal ones count once, short ones are not compared.
        similarity: Jaccard similarity of shingles from which on a text is found, in [`near.LEAST`, 1].
    """

    def __init__(self, texts: Iterable[str], similarity: float) -> None:
        self.similarity = similarity
        self._texts: list[str] = []
        signatures = []
        seen: set[int] = set()
        for text in texts:
            key = key_hash(normalise_key(text))
            if key not in seen and (pieces := shingles(text)):
                seen.add(key)
                self._texts.append(text)
                signatures.append(np.array(signature(pieces), np.uint32))
        self._signatures: Signatures = np.stack(signatures) if signatures else np.empty((0, PERMUTATIONS), np.uint32)
        numbers = bands(self._signatures)
        self._order = np.argsort(numbers, axis=0, kind="stable").astype(np.int32)
        self._sorted = np.take_along_axis(numbers, self._order, axis=0)

    def __len__(self) -> int:
        return len(self._texts)

    def find(self, texts: Sequence[str]) -> NDArray[np.bool_]:
        """Mask (N,) of the texts that are similar to an evaluation text."""
        found = np.zeros(len(texts), dtype=bool)
        pieces = [shingles(text) for text in texts]
        long_enough = np.array([bool(one) for one in pieces], dtype=bool)
        rows = np.flatnonzero(long_enough)
        if not len(rows) or not self._texts:
            return found
        signatures = np.array([signature(pieces[row]) for row in rows], np.uint32)
        for query, candidate in self._candidates(signatures):
            row = rows[query]
            if not found[row]:
                mine, theirs = set(pieces[row]), set(shingles(self._texts[candidate]))
                found[row] = len(mine & theirs) >= self.similarity * len(mine | theirs)
        return found

    def _candidates(self, signatures: Signatures) -> Iterable[tuple[int, int]]:
        """`(query, evaluation text)` that share a band and may be similar enough."""
        queries, candidates = [], []
        for band, values in enumerate(bands(signatures).T):
            column = self._sorted[:, band]
            first, last = np.searchsorted(column, values, "left"), np.searchsorted(column, values, "right")
            counts = last - first
            places = np.repeat(first - np.cumsum(counts) + counts, counts) + np.arange(counts.sum())
            queries.append(np.repeat(np.arange(len(values)), counts))
            candidates.append(self._order[places, band])
        pairs = np.unique(np.stack([np.concatenate(queries), np.concatenate(candidates)], axis=1), axis=0)
        for start in range(0, len(pairs), 65_536):
            x, y = pairs[start : start + 65_536].T
            alike = (signatures[x] == self._signatures[y]).mean(axis=1) >= self.similarity - _DOUBT
            yield from zip(x[alike].tolist(), y[alike].tolist(), strict=True)
