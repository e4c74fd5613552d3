"""In which precision a loss computes its matrix products."""

from __future__ import annotations

import torch
from torch import Tensor


def product_dtype(*tensors: Tensor) -> torch.dtype:
    """The inputs' common type, or autocast's in its place.

    Float16 on a CPU is widened, for its products are slow there. Float64 stays float64 under autocast, as it does
    everywhere in torch.
    """
    dtype = tensors[0].dtype
    for tensor in tensors[1:]:
        dtype = torch.promote_types(dtype, tensor.dtype)
    device = tensors[0].device.type
    if dtype != torch.float64 and torch.is_autocast_enabled(device):
        dtype = torch.get_autocast_dtype(device)
    return torch.float32 if dtype == torch.float16 and device == "cpu" else dtype


def sum_dtype(dtype: torch.dtype) -> torch.dtype:
    """At least float32: a sum of exponentials in half precision loses the small negatives."""
    return torch.float64 if dtype == torch.float64 else torch.float32


def gradient_scale(dtype: torch.dtype, *weights: Tensor | None) -> Tensor:
    """() float32 by which to divide the weights of G, so that rounding to `dtype` keeps what matters.

    Weights are of the order 1 - p and 1 / N. Divided by the largest of them G is within [-2, 2], where bfloat16 has all
    it needs; float16 ends at 6e-8, so there G goes up to 2**13.
    """
    given = [weight for weight in weights if weight is not None]
    largest = torch.cat([given[0].new_zeros(1), *given]).abs().max()
    return largest.clamp_min(torch.finfo(torch.float32).tiny) / (2.0**12 if dtype == torch.float16 else 1.0)
