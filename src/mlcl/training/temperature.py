"""The temperature of InfoNCE: a number, or a parameter that is trained with the model."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from mlcl.training.distributed import mean_over_ranks

RANGE = (0.01, 1.0)
"""Bounds of a learnable temperature. Below 0.01 a few hard negatives take all of the gradient (CLIP's bound, too)."""


class Temperature(nn.Module):
    """The temperature; if learnable, its logarithm is the parameter, as in CLIP (arXiv 2103.00020).

    It is no part of the encoder (a saved model has no temperature), so DDP and FSDP do not know it: `step` averages its
    gradient over the ranks and has an Adam of its own, without weight decay and outside of gradient clipping, at the
    learning rate of the model.

    Args:
        start: The temperature at the start.
        learnable: Whether it is trained.

    Raises:
        ValueError: a learnable temperature that starts outside of `RANGE`.
    """

    def __init__(self, start: float, *, learnable: bool = False) -> None:
        super().__init__()
        if learnable and not RANGE[0] <= start <= RANGE[1]:
            raise ValueError(f"a learnable temperature must start in {list(RANGE)}, not at {start}")
        self.start = start
        self.log = nn.Parameter(torch.tensor(math.log(start))) if learnable else None
        self._optimizer = None if self.log is None else torch.optim.Adam([self.log])

    def forward(self) -> float | Tensor:
        """The temperature: a number, or a scalar tensor with gradient."""
        return self.start if self.log is None else self.log.exp()

    @property
    def value(self) -> float:
        """The temperature as a number."""
        return self.start if self.log is None else math.exp(self.log.item())

    @torch.no_grad()
    def step(self, learning_rate: float) -> None:
        """One update of a learnable temperature from the gradients that have been added up; then they are cleared."""
        if self.log is None or self._optimizer is None:
            return
        if self.log.grad is None:  # a rank without pairs
            self.log.grad = torch.zeros_like(self.log)
        mean_over_ranks(self.log.grad)
        self._optimizer.param_groups[0]["lr"] = learning_rate
        self._optimizer.step()
        self._optimizer.zero_grad()
        self.log.clamp_(math.log(RANGE[0]), math.log(RANGE[1]))

    def get_extra_state(self) -> dict[str, Any]:
        """The state of its optimiser: part of the state dict, so that a resumed run goes on unchanged."""
        return {} if self._optimizer is None else self._optimizer.state_dict()

    def set_extra_state(self, state: dict[str, Any]) -> None:
        """Take the state of the optimiser up."""
        if self._optimizer is not None:
            self._optimizer.load_state_dict(state)
