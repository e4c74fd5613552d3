"""Alignment, uniformity and effective rank of an embedding space. Accuracy alone hides a space that collapses.

In: unit vectors. Out: one number each. Translations lie close together (alignment, lower is better) and sentences at
large spread over the whole sphere (uniformity, lower is better; both Wang & Isola 2020, arXiv 2005.10242), in as many
directions as the vectors have dimensions (effective rank, higher is better; RankMe, Garrido et al. 2022, arXiv
2210.02885).
"""

from __future__ import annotations

import numpy as np

from mlcl.retrieval.knn import Vectors

_ROWS = 1024


def alignment(x: Vectors, y: Vectors) -> float:
    """Mean squared distance of the pairs (x_i, y_i).

    Args:
        x: (N, D) unit vectors.
        y: (N, D) unit vectors.
    """
    difference = x - y
    squares = difference.multiply(difference) if hasattr(difference, "multiply") else difference**2
    return float(squares.sum(dtype=np.float64) / x.shape[0])


def uniformity(x: Vectors, t: float = 2.0) -> float:
    """Logarithm of the mean of exp(-t * squared distance) over all pairs of different rows.

    Args:
        x: (N, D) unit vectors, N >= 2.
        t: Sharpness of the Gaussian kernel; 2 in the paper.
    """
    n, total = x.shape[0], 0.0
    for start in range(0, n, _ROWS):
        cosine = x[start : start + _ROWS] @ x.T  # (rows, N)
        cosine = np.asarray(cosine.toarray() if hasattr(cosine, "toarray") else cosine, dtype=np.float64)
        kernel = np.exp(-t * np.maximum(2.0 - 2.0 * cosine, 0.0))
        own = np.arange(len(kernel))
        kernel[own, start + own] = 0.0  # a sentence is no pair with itself
        total += kernel.sum()
    return float(np.log(total / (n * (n - 1)))) if total > 0 else float("-inf")


def effective_rank(x: np.ndarray) -> float:
    """Exp of the entropy of the singular values, normalised to a sum of 1: how many directions are in use.

    It is at most min(N, D), so numbers of different N compare only while N is well above D. Nothing is centred, as in
    the paper.

    Args:
        x: (N, D) vectors, N >= 1.
    """
    values = np.linalg.svd(np.asarray(x, dtype=np.float64), compute_uv=False)
    total = values.sum()
    if not total > 0:
        return 0.0
    share = values[values > 0] / total
    return float(np.exp(-(share * np.log(share)).sum()))
