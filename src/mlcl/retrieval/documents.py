"""Which document translates which: documents as means of their sentences, matched by margin and length.

In: sentence vectors of both collections, with the sizes of the documents. Out: pairs of documents with their scores.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mlcl.retrieval.knn import unit
from mlcl.retrieval.mining import mine


def document_vectors(sentences: np.ndarray, sizes: Sequence[int]) -> np.ndarray:
    """Vectors (C, D) of length 1 of C documents.

    A sentence counts by how much it says that the other documents do not: its vector less the mean of all, so that
    greetings and boilerplate, which lie near that mean, say little.

    Args:
        sentences: (N, D) unit vectors of the sentences, document after document.
        sizes: (C,) sentences of each document, at least one each.

    Raises:
        ValueError: the sizes do not add up to N.
    """
    if sum(sizes) != len(sentences) or min(sizes, default=1) < 1:
        raise ValueError(f"documents of {sum(sizes)} sentences, but {len(sentences)} vectors")
    special = sentences - sentences.mean(axis=0, keepdims=True) if len(sizes) > 1 else sentences
    starts = np.concatenate([[0], np.cumsum(sizes)[:-1]]).astype(int)
    return np.asarray(unit(np.add.reduceat(special, starts)))


def match_documents(
    source: np.ndarray,
    target: np.ndarray,
    source_sizes: Sequence[int],
    target_sizes: Sequence[int],
    *,
    max_ratio: float = 2.0,
) -> list[tuple[int, int, float]]:
    """Pairs `(source document, target document, margin score)`, each document at most once, best pair first.

    Args:
        source: (N, D) unit vectors of all source sentences.
        target: (M, D) of all target sentences.
        source_sizes: Sentences of each source document.
        target_sizes: Sentences of each target document.
        max_ratio: Largest ratio of the numbers of sentences of a pair, after 3 is added to both.
    """
    x, y = document_vectors(source, source_sizes), document_vectors(target, target_sizes)
    left, right, score = mine(x, y, k=min(4, len(x), len(y)), margin="distance")
    found = zip(left.tolist(), right.tolist(), score.tolist(), strict=True)
    return [(a, b, value) for a, b, value in found if _ratio(source_sizes[a] + 3, target_sizes[b] + 3) <= max_ratio]


def _ratio(a: int, b: int) -> float:
    return max(a, b) / min(a, b)
