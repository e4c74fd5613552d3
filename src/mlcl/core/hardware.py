"""Where the machine can compute, and what it can in bfloat16."""

from __future__ import annotations

import platform

import torch

from mlcl.core.errors import UserError


def cpu_has_bf16_products() -> bool:
    """Whether oneDNN makes kernels for bfloat16 on this CPU: AVX-512 or newer, some of which emulate them."""
    return torch.backends.mkldnn.is_available() and torch.ops.mkldnn._is_mkldnn_bf16_supported()


def cpu_multiplies_bf16() -> bool:
    """Whether this CPU multiplies bfloat16 in hardware: on x86, one with AMX or AVX-512 BF16."""
    if platform.machine().lower() in ("x86_64", "amd64"):
        return torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported()
    return cpu_has_bf16_products()


def bf16_pays() -> bool:
    """Whether this machine computes bf16 in hardware: a GPU that does, else `cpu_multiplies_bf16`."""
    if torch.cuda.is_available():
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return cpu_multiplies_bf16()


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
