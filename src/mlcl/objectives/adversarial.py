"""Adversarial parts: a reversed gradient against a discriminator, and the worst small step in the inputs.

In: tensors. Out: tensors; the losses that they serve are cross-entropy and J itself.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor


def reverse_gradient(x: Tensor, strength: float = 1.0) -> Tensor:
    """The tensor (...) itself; backward, its gradient times -`strength` (Ganin et al., arXiv 1505.07818).

    What comes after it learns to lower the loss, what comes before it to raise it.
    """
    return _Reversed.apply(x, strength)


class _Reversed(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, strength: float) -> Tensor:
        ctx.strength = strength
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return -ctx.strength * gradients[0], None


def known_cross_entropy(logits: Tensor, labels: Tensor) -> tuple[Tensor, int]:
    """Cross-entropy summed over the rows whose label is known, and how many those are.

    Args:
        logits: (N, C).
        labels: (N,) classes, -1 = unknown.

    Returns:
        Scalar (a zero with a gradient where no label is known) and the count.

    Raises:
        ValueError: shapes that do not fit.
    """
    if logits.dim() != 2 or labels.shape != logits.shape[:1]:
        raise ValueError(f"logits {tuple(logits.shape)} and labels {tuple(labels.shape)} must be (N, C) and (N,)")
    known = labels >= 0
    return F.cross_entropy(logits.float(), labels, ignore_index=-1, reduction="sum"), int(known.sum())


def worst_step(gradient: Tensor, radius: float) -> Tensor:
    """The step of length `radius` in which a loss rises fastest: FGM, the L2 form of Miyato et al., arXiv 1605.07725.

    Args:
        gradient: (...) gradient of the loss with respect to what is stepped in.
        radius: Length of the step (Euclidean norm over all values).

    Returns:
        (...) the step; 0 where the gradient is 0 or not finite, for there no direction is the worst.
    """
    norm = gradient.norm()
    if not bool(torch.isfinite(norm)) or float(norm) == 0:
        return torch.zeros_like(gradient)
    return gradient * (radius / norm)
