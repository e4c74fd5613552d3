"""Alignment and uniformity of an embedding space (Wang & Isola 2020, arXiv 2005.10242).

In: unit vectors. Out: one number each. Lower is better for both: translations lie close together (alignment), and
sentences at large spread over the whole sphere (uniformity). Accuracy alone hides a space that collapses.
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
