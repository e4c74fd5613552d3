"""The momentum encoder: a slowly moving copy of the encoder, which makes the keys of the queue."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from mlcl.training.sharding import local, reshard


class MomentumEncoder(nn.Module):
    """Exponential moving average of an encoder (MoCo, arXiv 1911.05722).

    It is a function of the online weights alone, so it is equal on all ranks. Under FSDP2 it is sharded like the
    online encoder, and each rank moves its own shards.

    Args:
        encoder: The online encoder; it is copied and the copy never gets gradients.
        momentum: Share of the old weights that an update keeps, in [0, 1).
    """

    def __init__(self, encoder: nn.Module, momentum: float) -> None:
        super().__init__()
        if not 0 <= momentum < 1:
            raise ValueError(f"momentum {momentum} must be in [0, 1)")
        self.momentum = momentum
        self.encoder = copy.deepcopy(encoder).requires_grad_(False).eval()

    def train(self, mode: bool = True) -> MomentumEncoder:
        """Keys are made without dropout, whatever mode the trainer sets."""
        return super().train(False)

    @torch.no_grad()
    def update(self, online: nn.Module) -> None:
        """Move towards the online encoder: once per optimiser update. Buffers are copied."""
        reshard(self.encoder)
        mine: list[Tensor] = [local(parameter) for parameter in self.encoder.parameters()]
        theirs: list[Tensor] = [local(parameter) for parameter in online.parameters()]
        torch._foreach_lerp_(mine, theirs, 1 - self.momentum)
        for own, other in zip(self.encoder.buffers(), online.buffers(), strict=True):
            own.copy_(other)
