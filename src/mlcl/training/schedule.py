"""Learning rate by the clock: a run of so many minutes ends with a finished schedule on any machine."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from mlcl.core.errors import UserError

_DECAY: dict[str, Callable[[float], float]] = {
    "linear": lambda progress: 1 - progress,
    "cosine": lambda progress: 0.5 * (1 + math.cos(math.pi * progress)),
    "constant_with_warmup": lambda progress: 1.0,
}


def timed_schedule(optimizer: Optimizer, args: Any, progress: Callable[[], float]) -> LambdaLR:
    """Warm-up over `args.warmup_steps` updates, then decay over the time, or over `args.max_steps` if they end first.

    Args:
        optimizer: The optimiser.
        args: Training arguments; `lr_scheduler_type` is linear, cosine or constant_with_warmup.
        progress: Share of the time budget that has passed.

    Raises:
        UserError: a schedule type that cannot follow the clock.
    """
    kind = str(getattr(args.lr_scheduler_type, "value", args.lr_scheduler_type))
    if kind not in _DECAY:
        raise UserError(f"lr_scheduler_type {kind} cannot follow max_minutes", remedy=f"use {', '.join(_DECAY)}")
    warmup, last = int(args.warmup_steps), max(1, int(args.max_steps))

    def factor(step: int) -> float:
        done = min(1.0, max(step / last, progress()))
        return min(1.0, (step + 1) / max(1, warmup)) * max(0.0, _DECAY[kind](done))

    return LambdaLR(optimizer, factor)
