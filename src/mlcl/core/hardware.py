"""What the machine can compute in bfloat16."""

from __future__ import annotations

import torch


def cpu_has_bf16_products() -> bool:
    """Whether oneDNN multiplies bfloat16 on this CPU: AVX-512 or newer; without it, its kernels refuse to be made."""
    return torch.backends.mkldnn.is_available() and torch.ops.mkldnn._is_mkldnn_bf16_supported()


def bf16_pays() -> bool:
    """Whether this machine computes bf16 in hardware: a GPU that does, or a CPU with AMX or AVX-512 BF16."""
    if torch.cuda.is_available():
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return cpu_has_bf16_products()
