"""Context as supervision: sentences of one document are nearer to one another than to the rest.

In: unit vectors of both sides, document numbers, group ids. Out: one scalar.
"""

from __future__ import annotations

import torch
from torch import Tensor

from mlcl.objectives._candidates import complete
from mlcl.objectives.kernels import twin
from mlcl.objectives.kernels.precision import product_dtype, sum_dtype


def context_loss(
    queries: Tensor,
    keys: Tensor,
    documents: Tensor,
    *,
    temperature: float | Tensor = 0.05,
    ids: Tensor | None = None,
    others: Tensor | None = None,
    other_documents: Tensor | None = None,
    other_ids: Tensor | None = None,
) -> Tensor:
    """Mean cross-entropy of finding the keys of a query's document among all that do not translate it.

    For query i, P_i are the candidates of its document and O_i all candidates, both without those of its group:

        -1 / |P_i| * sum over p in P_i of log(exp(q_i . k_p / t) / sum over o in O_i of exp(q_i . k_o / t))

    which is the supervised contrastive loss (Khosla et al., arXiv 2004.11362) with documents as labels. In tiles and
    sums over documents: the N x (N + M) matrix never exists.

    Args:
        queries: (N, D) unit vectors.
        keys: (N, D) unit vectors; row i translates query i.
        documents: (N,) document of each pair; -1 means unknown.
        temperature: Positive number or scalar tensor.
        ids: (N,) group ids; -1 means no group.
        others: (M, D) further keys.
        other_documents: (M,) their documents.
        other_ids: (M,) their group ids.

    Returns:
        Scalar; a query without another sentence of its document counts as 0, and so does an empty batch.

    Raises:
        ValueError: shapes that do not fit.
    """
    ids, others, other_ids = complete(keys, ids, others, other_ids)
    other_documents = torch.full_like(other_ids, -1) if other_documents is None else other_documents
    if queries.shape != keys.shape or documents.shape != ids.shape or other_documents.shape != other_ids.shape:
        raise ValueError(
            f"queries {tuple(queries.shape)}, keys {tuple(keys.shape)}, documents {tuple(documents.shape)} and "
            f"other_documents {tuple(other_documents.shape)} must be (N, D), (N, D), (N,) and (M,)"
        )
    if not len(queries):
        return (queries.sum() + keys.sum()).float()
    dtype = product_dtype(queries, keys)
    scaled = queries.to(sum_dtype(dtype)) / temperature
    kernels = twin("info_nce", queries.device, dtype)
    every, _ = kernels.other_candidates(scaled, keys, others, dtype, ids, other_ids, False)  # (N,)
    mean, count = _mean_of_context(
        torch.cat([keys, others]), torch.cat([documents, other_documents]), torch.cat([ids, other_ids]), len(queries)
    )
    has_context = (count > 0) & (documents >= 0)
    losses = every[has_context] - (scaled * mean).sum(-1)[has_context]
    return losses.sum() / len(queries)


def _mean_of_context(vectors: Tensor, documents: Tensor, ids: Tensor, rows: int) -> tuple[Tensor, Tensor]:
    """For the first N rows, mean (N, D) and number (N,) of the vectors (N + M, D) of their document but not group.

    The sum is the sum over the document less that over the part of it that is of the row's group.
    """
    alone = torch.arange(len(ids), device=ids.device)
    group = torch.where(ids >= 0, ids, -2 - alone)  # a row without a group is a group of its own
    _, document = torch.unique(documents, return_inverse=True)
    _, part = torch.unique(torch.stack([documents, group], dim=1), dim=0, return_inverse=True)
    sums, counts = [], []
    for label in (document, part):
        size = int(label.max()) + 1
        total = vectors.new_zeros(size, vectors.shape[1]).index_add(0, label, vectors)
        sums.append(total[label[:rows]])
        counts.append(torch.bincount(label, minlength=size)[label[:rows]])
    count = counts[0] - counts[1]
    return (sums[0] - sums[1]) / count.clamp_min(1)[:, None], count
