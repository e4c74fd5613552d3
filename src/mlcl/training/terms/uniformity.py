"""The term `uniformity`: all vectors spread over the sphere (`objectives.alignment_uniformity`)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from mlcl.core.errors import UserError
from mlcl.objectives.alignment_uniformity import mean_potential, pair_potentials
from mlcl.training import terms
from mlcl.training.distributed import gather_rows
from mlcl.training.terms._others import Sides


@dataclass(frozen=True)
class Settings:
    """Settings of the term."""

    weight: float = 0.1
    """Weight in J."""
    t: float = 2.0
    """Sharpness of the Gaussian potential: the larger, the more local the repulsion."""

    def __post_init__(self) -> None:
        if self.t <= 0:
            raise UserError(f"objectives.uniformity.t is {self.t}, it must be above 0")


class Term(terms.Term):
    """Mean of the uniformity of both sides, over the sentences of all ranks."""

    def __init__(self, settings: Settings, context: terms.Context) -> None:
        super().__init__()
        self.t = settings.t

    def forward(self, view: terms.View) -> Tensor:
        """The term of the whole batch, the same on each rank: the logarithm stands outside of the mean over pairs."""
        sides, each = Sides.of(view), []
        for own, others in zip(sides.own, sides.others, strict=True):
            with view.autocast():
                sums, partners = pair_potentials(own, t=self.t, ids=sides.ids, others=others, other_ids=sides.other_ids)
            pairs = view.counts.pairs
            each.append(mean_potential(gather_rows(sums, pairs), gather_rows(partners, pairs)))
        return torch.stack(each).mean() + sides.zero
