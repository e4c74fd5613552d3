"""A trainer whose optimiser and gradient clipping know of row-sparse gradients (see `optimizer`).

In: a checkpointed trainer. Out: the same, which updates and clips the rows of an embedding that a step touches.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from mlcl.training.checkpointing import CheckpointedTrainer
from mlcl.training.distributed import world_size
from mlcl.training.optimizer import RowAdamW, clip_gradients


class RowTrainer(CheckpointedTrainer):
    """A `CheckpointedTrainer` with `RowAdamW`."""

    def updates_rows(self) -> bool:
        """Whether the embedding has row-sparse gradients: with our optimiser, on a CPU, where dense ones cost most."""
        plain = self.optimizer is None and self.get_optimizer_cls_and_kwargs(self.args)[0] is RowAdamW
        return plain and self.args.use_cpu and world_size() == 1

    @staticmethod
    def get_optimizer_cls_and_kwargs(args: Any, model: Any = None) -> tuple[Any, Any]:
        """AdamW, which is the default, that knows of rows; any other as transformers has it."""
        kind, options = CheckpointedTrainer.get_optimizer_cls_and_kwargs(args, model)
        return (RowAdamW if kind is torch.optim.AdamW else kind), options

    def _clip_grad_norm(self, model: nn.Module) -> Any:
        if _has_rows(model):
            return clip_gradients(model.parameters(), self.args.max_grad_norm)
        return super()._clip_grad_norm(model)

    def _get_grad_norm(self, model: nn.Module, grad_norm: Any = None) -> Any:
        if grad_norm is None and _has_rows(model):
            grad_norm = clip_gradients(model.parameters(), torch.inf)
        return super()._get_grad_norm(model, grad_norm=grad_norm)


def _has_rows(model: nn.Module) -> bool:
    return any(parameter.grad is not None and parameter.grad.is_sparse for parameter in model.parameters())
