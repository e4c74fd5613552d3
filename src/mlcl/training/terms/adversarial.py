"""The term `adversarial`: a discriminator tells languages apart, and the encoder learns to give it nothing.

The gradient is reversed between the two (`objectives.adversarial`; Ganin et al., arXiv 1505.07818).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from mlcl.core.errors import UserError
from mlcl.objectives.adversarial import known_cross_entropy, reverse_gradient
from mlcl.training import terms
from mlcl.training.distributed import gather_integers, world_size


@dataclass(frozen=True)
class Settings:
    """Settings of the term."""

    weight: float = 0.1
    """Weight in J: how hard the encoder works against the discriminator."""
    hidden: int = 256
    """Width of the discriminator's hidden layer."""
    ramp: float = 10.0
    """The reversal grows as 2 / (1 + exp(-ramp * progress)) - 1 over the training, for the discriminator has to learn
    first; 0 = full from the start."""

    def __post_init__(self) -> None:
        if self.hidden < 1 or self.ramp < 0:
            raise UserError(
                f"objectives.adversarial: hidden is {self.hidden} and ramp {self.ramp}, they must be at least 1 and 0"
            )


class Term(terms.Term):
    """Cross-entropy of the language of each sentence, from its unit vector; the discriminator is trained beside."""

    needs: ClassVar[frozenset[str]] = frozenset({"languages"})

    def __init__(self, settings: Settings, context: terms.Context) -> None:
        super().__init__()
        if len(context.languages) < 2:
            raise UserError(
                f"the objective adversarial needs two languages, the training data have {len(context.languages)}",
                remedy="leave it out",
            )
        self.ramp = settings.ramp
        self.scale = math.sqrt(context.dimension)  # values of unit vectors are small; the layer expects about 1
        self.discriminator = nn.Sequential(
            nn.Linear(context.dimension, settings.hidden), nn.GELU(), nn.Linear(settings.hidden, len(context.languages))
        )

    def forward(self, view: terms.View) -> Tensor:
        """This rank's share: the mean is over the sentences of all ranks whose language is known."""
        anchors, positives, _ = view.unit()
        strength = 2 / (1 + math.exp(-self.ramp * view.progress)) - 1 if self.ramp else 1.0
        vectors = reverse_gradient(torch.cat([anchors, positives]), strength)
        total, known = known_cross_entropy(self.discriminator(self.scale * vectors), view.languages.T.flatten())
        (everywhere,) = gather_integers([known], vectors.device)
        return total * (world_size() / max(1, sum(everywhere)))
