"""KoLeo: spread the vectors of a batch over the sphere.

In: unit vectors (N, D), group ids. Out: one scalar.
"""

from __future__ import annotations

import torch
from torch import Tensor


def koleo(vectors: Tensor, ids: Tensor | None = None, eps: float = 1e-6) -> Tensor:
    """Minus the mean logarithm of the distance to the nearest other vector (Sablayrolles et al., arXiv 1806.03198).

    Minus the Kozachenko-Leonenko estimate of the entropy, up to constants: the lower, the more evenly the vectors lie.
    Vectors of one group (translations of one sentence) ought to lie together, so they are no neighbours here.

    Args:
        vectors: (N, D) unit vectors.
        ids: (N,) group ids, -1 = no group.
        eps: Added to the distances, whose logarithm would be infinite for equal vectors.

    Returns:
        Scalar; 0 with gradients where no vector has a neighbour.
    """
    count = len(vectors)
    blocked = torch.eye(count, dtype=torch.bool, device=vectors.device)
    if ids is not None:
        blocked |= (ids[:, None] == ids) & (ids >= 0)[:, None]
    lonely = blocked.all(1)
    if bool(lonely.all()):
        return vectors.flatten()[:0].sum()
    with torch.no_grad():  # the index of the nearest needs no gradient
        nearest = (vectors @ vectors.T).masked_fill(blocked, -torch.inf).argmax(1)
    distances = (vectors - vectors[nearest])[~lonely].norm(dim=1)  # (n,)
    return -(distances + eps).log().mean()
