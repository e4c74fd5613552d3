"""The term `alignment`: the two sides of a pair lie close (`objectives.alignment_uniformity`)."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from mlcl.core.errors import UserError
from mlcl.objectives.alignment_uniformity import alignment
from mlcl.training import terms


@dataclass(frozen=True)
class Settings:
    """Settings of the term."""

    weight: float = 1.0
    """Weight in J."""
    alpha: float = 2.0
    """Exponent of the distance."""

    def __post_init__(self) -> None:
        if self.alpha <= 0:
            raise UserError(f"objectives.alignment.alpha is {self.alpha}, it must be above 0")


class Term(terms.Term):
    """Mean distance of the sides to the power of alpha, on unit vectors."""

    def __init__(self, settings: Settings, context: terms.Context) -> None:
        super().__init__()
        self.alpha = settings.alpha

    def forward(self, view: terms.View) -> Tensor:
        """This rank's share."""
        anchors, positives, _ = view.unit()
        return view.share(alignment(anchors, positives, alpha=self.alpha))
