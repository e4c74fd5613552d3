"""InfoNCE over unit vectors: each query must find its key among the batch, hard negatives and a queue.

In: queries (N, D), keys (N, D), negatives (M, D), group ids. Out: one scalar.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def info_nce(
    queries: Tensor,
    keys: Tensor,
    *,
    negatives: Tensor | None = None,
    temperature: float | Tensor = 0.05,
    symmetric: bool = True,
    margin: float = 0.0,
    ids: Tensor | None = None,
    negative_ids: Tensor | None = None,
) -> Tensor:
    """Mean cross-entropy of finding key i for query i (van den Oord et al., arXiv 1807.03748).

    A logit is `(s - margin * [positive]) / temperature` with s the dot product; the additive margin is LaBSE's
    (arXiv 2007.01852). The candidates of query i are all N keys, then all M negatives. `temperature=1, margin=0,
    symmetric=False` is the textbook formula.

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
        ids: (N,) group id of each pair; -1 means no group.
        negative_ids: (M,) group id of each negative; -1 means no group.

    Returns:
        Scalar in float32 (float64 for float64 inputs).

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

    target = torch.arange(len(queries), device=queries.device)
    similarity = _accurate(queries @ keys.T)  # (N, N)
    logits = similarity - margin * torch.eye(len(queries), device=queries.device, dtype=similarity.dtype)
    if ids is not None:
        logits = logits.masked_fill(_same_group(ids, ids).fill_diagonal_(False), -torch.inf)
    logits = logits / temperature
    columns = logits
    if negatives is not None and len(negatives):
        extra = _accurate(queries @ negatives.T)  # (N, M)
        if ids is not None and negative_ids is not None:
            extra = extra.masked_fill(_same_group(ids, negative_ids), -torch.inf)
        columns = torch.cat([logits, extra / temperature], dim=1)  # (N, N + M)
    loss = F.cross_entropy(columns, target)
    if symmetric:
        loss = (loss + F.cross_entropy(logits.T, target)) / 2
    return loss


def _accurate(logits: Tensor) -> Tensor:
    """At least float32: a sum of exponentials in half precision loses the small negatives."""
    return logits if logits.dtype == torch.float64 else logits.float()


def _same_group(rows: Tensor, columns: Tensor) -> Tensor:
    """(N,), (M,) -> (N, M) bool: both belong to one group."""
    return (rows[:, None] == columns[None, :]) & (rows[:, None] >= 0)
