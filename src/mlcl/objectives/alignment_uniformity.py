"""Alignment and uniformity: how close the two sides of a pair are, and how evenly all vectors cover the sphere.

In: unit vectors of both sides, group ids. Out: one scalar each. Wang & Isola, arXiv 2005.10242: InfoNCE with many
negatives asymptotically optimises the sum of both; here they can be weighed apart.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from mlcl.objectives._candidates import complete
from mlcl.objectives.kernels import twin
from mlcl.objectives.kernels.precision import product_dtype


def alignment(anchors: Tensor, positives: Tensor, *, alpha: float = 2.0) -> Tensor:
    """Mean over the pairs of |anchor - positive|^alpha; 0 is perfect, 2 is chance for alpha = 2.

    Args:
        anchors: (N, D) unit vectors.
        positives: (N, D) unit vectors.
        alpha: Exponent, above 0.

    Raises:
        ValueError: shapes that do not fit.
    """
    if anchors.shape != positives.shape or anchors.dim() != 2:
        raise ValueError(f"anchors {tuple(anchors.shape)} and positives {tuple(positives.shape)} must be (N, D) both")
    if not len(anchors):
        return (anchors.sum() + positives.sum()).float()
    squared = (anchors - positives).pow(2).sum(-1)  # (N,)
    if alpha != 2:
        squared = squared.clamp_min(torch.finfo(squared.dtype).tiny ** 0.5).pow(alpha / 2)  # no root of 0: nan gradient
    return squared.mean()


def uniformity(
    vectors: Tensor,
    *,
    t: float = 2.0,
    ids: Tensor | None = None,
    others: Tensor | None = None,
    other_ids: Tensor | None = None,
) -> Tensor:
    """Log of the mean over pairs of exp(-t |x - y|^2): the lower, the more evenly the sphere is covered.

    Pairs are each row with each other row and each of `others`, but for those of one group. In tiles: the N x (N + M)
    matrix never exists.

    Args:
        vectors: (N, D) unit vectors.
        t: Sharpness of the Gaussian; the larger, the more local.
        ids: (N,) group ids; -1 means no group.
        others: (M, D) further unit vectors.
        other_ids: (M,) their group ids.

    Returns:
        Scalar, at most 0; 0 where there is no pair.

    Raises:
        ValueError: shapes that do not fit.
    """
    return mean_potential(*pair_potentials(vectors, t=t, ids=ids, others=others, other_ids=other_ids))


def pair_potentials(
    vectors: Tensor,
    *,
    t: float = 2.0,
    ids: Tensor | None = None,
    others: Tensor | None = None,
    other_ids: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """The part of `uniformity` before the mean over the rows, for those who hold the rows in several places.

    Returns:
        (N,) log of the sum over a row's partners of exp(-t |x - y|^2), -inf where it has none, and (N,) the number of
        its partners.
    """
    ids, others, other_ids = complete(vectors, ids, others, other_ids)
    every = torch.cat([ids, other_ids])
    same = torch.zeros_like(ids) + 1  # the row itself; with a group, all of the group
    if len(ids):
        _, inverse, counts = torch.unique(every, return_inverse=True, return_counts=True)
        same = torch.where(ids >= 0, counts[inverse[: len(ids)]], same)
    partners = len(every) - same
    if not len(ids):
        return vectors.float().sum(-1), partners
    dtype = product_dtype(vectors, others)
    kernels = twin("info_nce", vectors.device, dtype)
    # |x - y|^2 = 2 - 2 x.y for unit vectors, so this is InfoNCE's sum of the other candidates at temperature 1 / (2 t).
    sums, _ = kernels.other_candidates(2 * t * vectors, vectors, others, dtype, ids, other_ids, False)
    return sums - 2 * t, partners


def mean_potential(log_sums: Tensor, partners: Tensor) -> Tensor:
    """`uniformity` from the two results of `pair_potentials`, each (N,)."""
    total = int(partners.sum())
    if not total:
        return log_sums[:0].sum()
    return torch.logsumexp(log_sums[partners > 0], dim=0) - math.log(total)
