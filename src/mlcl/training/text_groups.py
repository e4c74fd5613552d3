"""Which pairs of a batch of plain rows share a text. In: pairs of texts. Out: group ids, the same in every process."""

from __future__ import annotations

import hashlib

import numpy as np


def text_groups(pairs: list[tuple[str, str]]) -> np.ndarray:
    """Group ids (B,) of pairs that share a text, so that equal texts are no negatives of each other.

    An id is a hash of the smallest text of its group in this batch, so that it means the same in other batches (those
    of other ranks, and the earlier ones in the queue).
    """
    parent = list(range(len(pairs)))

    def root(i: int) -> int:
        while parent[i] != i:
            i = parent[i]
        return i

    first: dict[str, int] = {}
    for i, texts in enumerate(pairs):
        for text in texts:
            parent[root(i)] = root(first.setdefault(text, i))
    smallest: dict[int, str] = {}
    for i, texts in enumerate(pairs):
        smallest[root(i)] = min(*texts, smallest.get(root(i), texts[0]))
    return np.array([_hash(smallest[root(i)]) for i in range(len(pairs))], dtype=np.int64)


def _hash(text: str) -> int:
    """A number in [0, 2^63), the same in every process."""
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") >> 1
