"""KoLeo: no sentence should lie too close to the next one; spreads vectors over the sphere.

In: unit vectors (N, D), further candidates (M, D), group ids. Out: one scalar.
"""

from __future__ import annotations

import torch
from torch import Tensor

from mlcl.objectives._candidates import complete

_ROWS = 1024  # of the similarity matrix that exist at once


def koleo(
    vectors: Tensor,
    *,
    ids: Tensor | None = None,
    others: Tensor | None = None,
    other_ids: Tensor | None = None,
    eps: float = 1e-6,
) -> Tensor:
    """Kozachenko-Leonenko estimate of (minus) the entropy: mean of -log(distance to the nearest other vector).

    Spreading vectors for similarity search, Sablayrolles et al., arXiv 1806.03198; beside alignment losses in DINOv2
    (arXiv 2304.07193) and MEXMA (arXiv 2409.12737), there with weights around 0.01 to 0.1. A row's nearest neighbour
    is looked for among the other rows and `others`, but not in its own group: translations shall be close.

    The trap: the gradient grows as 1 / distance, so duplicates without a group id would dominate the batch; `eps`
    bounds it to 1 / (2 sqrt(eps)).

    Args:
        vectors: (N, D) unit vectors.
        ids: (N,) group ids; -1 means no group.
        others: (M, D) further unit vectors, candidates only.
        other_ids: (M,) their group ids.
        eps: Added to the squared distance.

    Returns:
        Scalar; a row without any candidate counts as 0, and so does an empty batch.

    Raises:
        ValueError: shapes that do not fit.
    """
    ids, others, other_ids = complete(vectors, ids, others, other_ids)
    if not len(vectors):
        return vectors.float().sum()
    candidates, candidate_ids = torch.cat([vectors, others]), torch.cat([ids, other_ids])
    nearest, found = _nearest(vectors.detach(), candidates.detach(), ids, candidate_ids)
    difference = vectors - candidates[nearest]  # (N, D)
    logs = -0.5 * torch.log(difference.pow(2).sum(-1) + eps)  # (N,)
    return logs[found].sum() / len(vectors)


@torch.no_grad()
def _nearest(vectors: Tensor, candidates: Tensor, ids: Tensor, candidate_ids: Tensor) -> tuple[Tensor, Tensor]:
    """Row (N,) of the candidate nearest to each vector, and whether there is one; candidates (N + M, D) begin with us.

    Float32 at least: in bfloat16 many candidates tie, and the wrong one may win.
    """
    places, found = [], []
    for start in range(0, len(vectors), _ROWS):
        rows = slice(start, start + _ROWS)
        with torch.autocast(vectors.device.type, enabled=False):
            similarity = vectors[rows] @ candidates.T  # (R, N + M)
        own = ids[rows]
        similarity.masked_fill_((own[:, None] == candidate_ids) & (own >= 0)[:, None], -torch.inf)
        at = torch.arange(len(own), device=vectors.device)
        similarity[at, at + start] = -torch.inf
        best, place = similarity.max(dim=1)
        places.append(place)
        found.append(best != -torch.inf)  # nan stays: it must be seen
    return torch.cat(places), torch.cat(found)
