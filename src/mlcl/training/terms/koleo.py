"""The term `koleo`: anchors and positives each spread over the sphere (`objectives.koleo`)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from mlcl.objectives.koleo import koleo
from mlcl.training import terms
from mlcl.training.terms._others import Sides


@dataclass(frozen=True)
class Settings:
    """Settings of the term."""

    weight: float = 0.1
    """Weight in J; DINOv2 and MEXMA take 0.1 and 0.01."""


class Term(terms.Term):
    """Mean of KoLeo over both sides; the nearest neighbour is that among the sentences of all ranks."""

    def __init__(self, settings: Settings, context: terms.Context) -> None:
        super().__init__()

    def forward(self, view: terms.View) -> Tensor:
        """This rank's share."""
        sides = Sides.of(view)
        each = [
            koleo(own, ids=sides.ids, others=others, other_ids=sides.other_ids)
            for own, others in zip(sides.own, sides.others, strict=True)
        ]
        return view.share(torch.stack(each).mean()) + sides.zero
