"""The term `matryoshka`: InfoNCE on the first values of the vectors, so that short ones work (`objectives.matryoshka`).

`Encoder.encode(dim=)` and `SentenceTransformer(truncate_dim=)` then give them.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from mlcl.core.errors import UserError
from mlcl.objectives.matryoshka import matryoshka
from mlcl.training import terms
from mlcl.training.distributed import info_nce_share


@dataclass(frozen=True)
class Settings:
    """Settings of the term."""

    weight: float = 1.0
    """Weight in J of the mean over the dimensions."""
    dims: list[int] | None = None
    """Dimensions that are to work; None = a half, a quarter and an eighth of the model's."""
    dim_weights: list[float] | None = None
    """Weights of the dimensions; None = all alike."""

    def __post_init__(self) -> None:
        dims, weights = self.dims, self.dim_weights
        whole = dims is None or all(isinstance(dim, int) and not isinstance(dim, bool) and dim > 0 for dim in dims)
        if dims is not None and (not dims or not whole or len(set(dims)) < len(dims)):
            raise UserError(f"objectives.matryoshka.dims is {dims}, it must be different numbers above 0")
        if weights is None:
            return
        numbers = all(isinstance(weight, (int, float)) and weight >= 0 for weight in weights)
        if not numbers or not sum(weights) > 0 or len(weights) != (3 if dims is None else len(dims)):
            raise UserError(
                f"objectives.matryoshka.dim_weights is {weights}, it must have a number from 0 on for each of dims"
            )


class Term(terms.Term):
    """InfoNCE of the batch and its hard negatives, without the queue, at each dimension.

    Temperature, margins and direction are those of InfoNCE itself.
    """

    def __init__(self, settings: Settings, context: terms.Context) -> None:
        super().__init__()
        self.dims = settings.dims or [max(1, context.dimension // part) for part in (2, 4, 8)]
        self.weights = settings.dim_weights
        if max(self.dims) > context.dimension:
            raise UserError(
                f"objectives.matryoshka.dims is {self.dims}, the model has {context.dimension} dimensions",
                remedy="give 1 to that many",
            )

    def forward(self, view: terms.View) -> Tensor:
        """This rank's share."""

        def loss(anchors: Tensor, positives: Tensor, hard_negatives: Tensor) -> Tensor:
            return info_nce_share(
                anchors,
                positives,
                hard_negatives,
                ids=view.ids,
                hard_negative_ids=view.negative_ids,
                counts=view.counts,
                temperature=view.temperature,
                symmetric=view.symmetric,
                margin=view.margin,
                angular_margin=view.angular_margin,
            )

        with view.autocast():
            return matryoshka(loss, (view.anchors, view.positives, view.hard_negatives), self.dims, self.weights)
