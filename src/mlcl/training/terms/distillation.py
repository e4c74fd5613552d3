"""The term `distillation`: both sides of a pair towards the teacher's vector of their sentence (arXiv 2004.09813).

Batches carry the columns `teacher` (B, T) and `teacher_known` (B,), which `mlcl.training.teacher` makes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from torch import Tensor, nn

from mlcl.core.errors import UserError
from mlcl.objectives.distillation import distillation
from mlcl.training import terms

COLUMNS = ("teacher", "teacher_known")


@dataclass(frozen=True)
class Settings:
    """Settings of the term."""

    weight: float = 1.0
    """Weight in J."""
    distance: Literal["cosine", "mse"] = "cosine"
    """cosine: 1 - cos; mse: half the squared distance, which pulls the length of the vectors as well."""
    map: bool = False
    """Whether a linear map, trained beside the model and not saved with it, leads from its vectors to the teacher's."""


class Term(terms.Term):
    """Mean over the pairs of the distances of both sides; a pair that the teacher does not know counts 0.

    Raises:
        UserError: a teacher of another dimension without a map.
    """

    needs = frozenset(COLUMNS)

    def __init__(self, settings: Settings, context: terms.Context) -> None:
        super().__init__()
        self.distance, teacher = settings.distance, context.widths["teacher"]
        if context.dimension != teacher and not settings.map:
            raise UserError(
                f"the teacher's vectors have {teacher} values, those of the model {context.dimension}",
                remedy=f"set model.proj_size to {teacher}, or training.objectives.distillation.map to true",
            )
        self.map = nn.Linear(context.dimension, teacher, bias=False) if settings.map else None
        if self.map is not None:
            nn.init.orthogonal_(self.map.weight)  # angles between vectors start as they are

    def forward(self, view: terms.View) -> Tensor:
        """This rank's share."""
        teacher, known = (view.columns[name] for name in COLUMNS)
        far = sum(
            distillation(side if self.map is None else self.map(side), teacher, self.distance)
            for side in (view.anchors, view.positives)
        )  # (B,)
        assert isinstance(far, Tensor)
        return view.share((far * known).sum() / (2 * max(1, len(far))))
