"""InfoNCE over unit vectors: each query must find its key among the batch, hard negatives and a queue.

In: queries (N, D), keys (N, D), negatives (M, D), group ids. Out: one scalar.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from mlcl.objectives.kernels import twin
from mlcl.objectives.kernels.precision import product_dtype, sum_dtype


def info_nce(
    queries: Tensor,
    keys: Tensor,
    *,
    negatives: Tensor | None = None,
    temperature: float | Tensor = 0.05,
    symmetric: bool = True,
    margin: float = 0.0,
    angular_margin: float = 0.0,
    ids: Tensor | None = None,
    negative_ids: Tensor | None = None,
) -> Tensor:
    """Mean cross-entropy of finding key i for query i (van den Oord et al., arXiv 1807.03748).

    A logit is `(s - margin * [positive]) / temperature` with s the dot product; the additive margin is LaBSE's
    (arXiv 2007.01852). The candidates of query i are all N keys, then all M negatives. `temperature=1, margin=0,
    symmetric=False` is the textbook formula.

    Computed in tiles, so that memory is O((N + M) D) and never the N x M matrix; products in the inputs' type or that
    of autocast, sums in float32 at least.

    Translations of one sentence that meet in a batch or in a queue are not negatives: a candidate whose group id
    equals that of the positive is left out of the sum. Losing this mask is the usual reason why larger batches
    make a multilingual encoder worse.

    Args:
        queries: (N, D) unit vectors.
        keys: (N, D) unit vectors; row i is the positive of query i.
        negatives: (M, D) unit vectors, further columns of the query -> key direction only.
        temperature: Positive number or scalar tensor (learnable).
        symmetric: Average with the key -> query direction over the batch.
        margin: Subtracted from the positive's similarity.
        angular_margin: Added to the positive's angle, in radians (ArcFace, arXiv 1801.07698): cos(angle + margin)
            takes the place of its similarity.
        ids: (N,) group id of each pair; -1 means no group.
        negative_ids: (M,) group id of each negative; -1 means no group.

    Returns:
        Scalar in float32 (float64 for float64 inputs): 0 where no query has another candidate than its positive, or
        where there is no query; NaN where an input is not finite.

    Raises:
        ValueError: shapes that do not fit.
    """
    if queries.shape != keys.shape or queries.dim() != 2:
        raise ValueError(f"queries {tuple(queries.shape)} and keys {tuple(keys.shape)} must be (N, D) both")
    if negatives is not None and (negatives.dim() != 2 or negatives.shape[1] != queries.shape[1]):
        raise ValueError(f"negatives {tuple(negatives.shape)} must be (M, {queries.shape[1]})")
    if ids is not None and ids.shape != queries.shape[:1]:
        raise ValueError(f"ids {tuple(ids.shape)} must be ({len(queries)},)")
    if negative_ids is not None and (negatives is None or negative_ids.shape != negatives.shape[:1]):
        raise ValueError("negative_ids must be (M,), one for each row of negatives")

    if not len(queries):
        return (queries.sum() + keys.sum()).float() * 0.0
    dtype = product_dtype(queries, keys)
    exact = sum_dtype(dtype)
    scaled = queries.to(exact) / temperature  # (N, D): s / temperature is scaled . key, and carries its gradient
    positive = (scaled * keys.to(exact)).sum(-1)  # (N,)
    if angular_margin:
        positive = _turned(positive * temperature, angular_margin) / temperature
    positive = positive - margin / temperature
    kernels = twin("info_nce", queries.device, dtype)
    rows, columns = kernels.other_candidates(scaled, keys, negatives, dtype, ids, negative_ids, symmetric)
    # -log p of the positive = log(1 + sum of the others / positive): no difference from 1 that rounding could eat.
    loss = _softplus(rows - positive).mean()
    if columns is not None:
        loss = (loss + _softplus(columns - positive).mean()) / 2
    return loss


def _turned(cosine: Tensor, margin: float) -> Tensor:
    """cos(angle + margin) of cosines (N,); past a half turn, where that would rise again, a line (ArcFace)."""
    sine = (1 - cosine.square()).clamp_min(1e-6).sqrt()  # bounded: its slope is infinite where the two sides agree
    turned = cosine * math.cos(margin) - sine * math.sin(margin)
    return torch.where(cosine > -math.cos(margin), turned, cosine - margin * math.sin(margin))


def _softplus(x: Tensor) -> Tensor:
    """log(1 + exp(x)), exact for large x in any precision, 0 for -inf."""
    return torch.logaddexp(x, torch.zeros_like(x))
