"""The tiled twins of the losses: the same numbers without the big matrix. The maths stands beside this folder.

`blocked_*.py` are plain torch for any device, `triton_*.py` the same functions for NVIDIA GPUs.
"""

from __future__ import annotations

import importlib
import importlib.util
from types import ModuleType

import torch


def twin(name: str, device: torch.device, dtype: torch.dtype) -> ModuleType:
    """The module that computes `name` on this device with products of this type."""
    on_gpu = device.type == "cuda" and dtype in (torch.float16, torch.bfloat16, torch.float32)
    kind = "triton" if on_gpu and importlib.util.find_spec("triton") is not None else "blocked"
    return importlib.import_module(f"{__name__}.{kind}_{name}")
