"""Where the machine can compute, and what it can in bfloat16."""

from __future__ import annotations

import torch

from mlcl.core.errors import UserError


def cpu_has_bf16_products() -> bool:
    """Whether oneDNN multiplies bfloat16 on this CPU: AVX-512 or newer; without it, its kernels refuse to be made."""
    return torch.backends.mkldnn.is_available() and torch.ops.mkldnn._is_mkldnn_bf16_supported()


def bf16_pays() -> bool:
    """Whether this machine computes bf16 in hardware: a GPU that does, or a CPU with AMX or AVX-512 BF16."""
    if torch.cuda.is_available():
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return cpu_has_bf16_products()


def usable_device(device: str | torch.device | None) -> torch.device:
    """The device of that name; None takes a GPU if there is one.

    Raises:
        UserError: there is no such device, or torch cannot use it.
    """
    if device is None:
        device = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        found = torch.device(device)
    except RuntimeError as error:
        raise UserError(f"unknown device {device!r}", remedy="give cpu, cuda, cuda:1, mps or None") from error
    try:
        torch.empty(0, device=found)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).strip().partition("\n")[0]
        raise UserError(f"the device {device!r} cannot be used: {reason}", remedy="give another, or none") from error
    return found
