"""The pairs of the other ranks, for terms that compare pairs with one another.

In: a `View`. Out: the other ranks' unit vectors and group ids, whose gradients go back to their ranks.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from mlcl.training.distributed import gather_rows, without_own, zero
from mlcl.training.terms import View


@dataclass(frozen=True)
class Sides:
    """Both sides of the pairs of a batch, and what compares them with the other ranks.

    Attributes:
        own: Anchors (B, D) and positives (B, D) of this rank, of length 1.
        others: Those of the other ranks, (N - B, D) each.
        ids: (B,) group ids of this rank.
        other_ids: (N - B,) group ids of the others.
        zero: To be added to what is made of this: a rank without pairs then takes part in the exchange of gradients.
    """

    own: tuple[Tensor, Tensor]
    others: tuple[Tensor, Tensor]
    ids: Tensor
    other_ids: Tensor
    zero: Tensor

    @classmethod
    def of(cls, view: View) -> Sides:
        """Gather the sides; every rank must call it."""
        anchors, positives, _ = view.unit()
        gathered = gather_rows(torch.cat([anchors, positives], dim=1), view.counts.pairs)  # (N, 2D)
        first, second = without_own(gathered, view.counts.pairs).chunk(2, dim=1)
        other_ids = without_own(gather_rows(view.ids, view.counts.pairs), view.counts.pairs)
        return cls((anchors, positives), (first.contiguous(), second.contiguous()), view.ids, other_ids, zero(gathered))
