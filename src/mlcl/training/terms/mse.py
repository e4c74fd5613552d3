"""The term `mse`: squared error between the two sides of a pair, not normalised (`objectives.translation_mse`)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from mlcl.objectives.translation_mse import translation_mse
from mlcl.training import terms
from mlcl.training.distributed import gather_rows


@dataclass(frozen=True)
class Settings:
    """Settings of the term."""

    weight: float = 0.1
    """Weight in J; SONAR's, beside its translation loss."""
    relative: bool = True
    """Divide by the mean square of the values, so that shrinking all vectors does not lower the term."""


class Term(terms.Term):
    """Squared error between the sides: it also aligns lengths, which InfoNCE does not see."""

    def __init__(self, settings: Settings, context: terms.Context) -> None:
        super().__init__()
        self.relative = settings.relative

    def forward(self, view: terms.View) -> Tensor:
        """The term of the whole batch, the same on each rank: it is a quotient of two means."""
        sides = gather_rows(torch.cat([view.anchors, view.positives], dim=1), view.counts.pairs)  # (N, 2D)
        return translation_mse(*sides.chunk(2, dim=1), relative=self.relative)
