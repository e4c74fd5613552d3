"""The term `koleo`: anchors and positives each spread over the sphere (`objectives.koleo`)."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from mlcl.objectives.koleo import koleo
from mlcl.training import terms


@dataclass(frozen=True)
class Settings:
    """Settings of the term."""

    weight: float = 0.1
    """Weight in J; DINOv2 and MEXMA take 0.1 and 0.01."""


class Term(terms.Term):
    """Mean of KoLeo over both sides; neighbours are looked for on this rank alone, as in DINOv2 (arXiv 2304.07193)."""

    def __init__(self, settings: Settings, context: terms.Context) -> None:
        super().__init__()

    def forward(self, view: terms.View) -> Tensor:
        """This rank's share."""
        anchors, positives, _ = view.unit()
        return view.share((koleo(anchors, view.ids) + koleo(positives, view.ids)) / 2)
