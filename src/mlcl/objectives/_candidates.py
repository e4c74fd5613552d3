"""Checks that losses over "each row against the other rows" share.

In: vectors, further candidates and group ids. Out: the same, complete and of fitting shapes.
"""

from __future__ import annotations

import torch
from torch import Tensor


def complete(
    vectors: Tensor, ids: Tensor | None, others: Tensor | None, other_ids: Tensor | None
) -> tuple[Tensor, Tensor, Tensor]:
    """Group ids (N,), further candidates (M, D) and their group ids (M,), with nothing left out.

    Args:
        vectors: (N, D).
        ids: (N,) group ids, -1 = none; None = none for all.
        others: (M, D) further candidates; None = no such.
        other_ids: (M,) their group ids.

    Raises:
        ValueError: shapes that do not fit.
    """
    if vectors.dim() != 2:
        raise ValueError(f"vectors {tuple(vectors.shape)} must be (N, D)")
    others = vectors[:0] if others is None else others
    if others.dim() != 2 or others.shape[1] != vectors.shape[1]:
        raise ValueError(f"others {tuple(others.shape)} must be (M, {vectors.shape[1]})")
    whole = []
    for name, given, rows in (("ids", ids, vectors), ("other_ids", other_ids, others)):
        if given is None:
            given = torch.full((len(rows),), -1, dtype=torch.long, device=vectors.device)
        if given.shape != rows.shape[:1]:
            raise ValueError(f"{name} {tuple(given.shape)} must be ({len(rows)},)")
        whole.append(given)
    return whole[0], others, whole[1]
