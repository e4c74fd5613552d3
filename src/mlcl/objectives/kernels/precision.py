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
