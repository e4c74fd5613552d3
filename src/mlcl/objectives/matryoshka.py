"""Matryoshka representations: the first values of a vector are a good shorter vector by themselves.

In: a contrastive loss of unit vectors, the sides that it takes, dimensions. Out: one scalar.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor


def truncate(vectors: Tensor, dim: int) -> Tensor:
    """The first `dim` values (N, dim) of vectors (N, D), of length 1 again: what `Encoder.encode(dim=)` gives."""
    return F.normalize(vectors[:, :dim], dim=-1)


def matryoshka(
    loss: Callable[..., Tensor], sides: Sequence[Tensor], dims: Sequence[int], weights: Sequence[float] | None = None
) -> Tensor:
    """Weighted mean over `dims` of the loss on truncated, renormalised vectors (Kusupati et al., arXiv 2205.13147).

    The trap: truncation without renormalising trains lengths, which the cosine at use time throws away. The paper sums
    over the dimensions; a mean keeps the term's size independent of how many there are.

    Args:
        loss: Takes the truncated sides, each (N_i, dim) unit vectors, and gives a scalar: `info_nce`, for example.
        sides: Matrices (N_i, D): queries, keys and, where the loss takes them, negatives.
        dims: Each from 1 to D.
        weights: One for each of `dims`; None = all alike.

    Raises:
        ValueError: no dimension, one out of range, or weights that do not fit.
    """
    width = min(side.shape[1] for side in sides)
    weights = [1.0] * len(dims) if weights is None else list(weights)
    if not dims or min(dims) < 1 or max(dims) > width:
        raise ValueError(f"dims {list(dims)} must be some numbers from 1 to {width}")
    if len(weights) != len(dims) or min(weights) < 0 or sum(weights) <= 0:
        raise ValueError(f"weights {weights} must be {len(dims)} numbers from 0 on, not all 0")
    terms = [weight * loss(*(truncate(side, dim) for side in sides)) for dim, weight in zip(dims, weights, strict=True)]
    return torch.stack(terms).sum() / sum(weights)
