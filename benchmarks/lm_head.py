"""The masked-LM head: linear + cross-entropy over a large vocabulary, forward and backward.

The extra memory of every peer holds the gradient of the output matrix, V * d * 4 bytes, which any of them has to
return; the table's check gives it, so that the rest can be read off. Gradient errors are against float64 at a smaller
size.
"""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

from harness import Case, Job

TITLE = "LM head, forward and backward"
_TILE = 8192  # rows of the vocabulary in one product of the floor: as tiles they stay in the caches


def cases(quick: bool) -> list[Case]:
    """T = 512 masked positions, d = 384, V = 250,000."""
    if quick:
        sizes = {"t": 24, "d": 16, "v": 301, "check_v": 150}
        return [Case("toy", sizes, ("mlcl bf16", "linear bf16 + CE"), "tokens")]
    sizes = {"t": 512, "d": 384, "v": 250_000, "check_v": 20_000}
    peers = ("mlcl bf16", "mlcl fp32", "linear bf16 + CE", "linear fp32 + CE")
    return [Case("T 512, V 250k", sizes, peers, "tokens")]


def work(settings: dict[str, Any]) -> dict[str, Any]:
    """Three products of T V d; the matrix is read twice and its gradient written once."""
    t, d, v = settings["t"], settings["d"], settings["v"]
    tile = min(v, _TILE)
    gemms = [[t, tile, d, "bfloat16", v / tile], [t, d, tile, "bfloat16", v / tile], [tile, d, t, "bfloat16", v / tile]]
    return {"gemms": gemms, "bytes": 3 * 4 * v * d}


def inputs(t: int, d: int, v: int, device: str = "cpu") -> tuple[Any, Any, Any, Any]:
    """States (t, d) as a LayerNorm gives them, output matrix (v, d), bias (v,), labels (t,)."""
    import torch

    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(t, d, generator=generator)
    weight = 0.05 * torch.randn(v, d, generator=generator)
    bias = 0.1 * torch.randn(v, generator=generator)
    labels = torch.randint(v, (t,), generator=generator)
    return hidden.to(device), weight.to(device), bias.to(device), labels.to(device)


def naive(hidden: Any, weight: Any, labels: Any, bias: Any) -> Any:
    """The textbook form: all T x V logits, cross-entropy in float32 at least."""
    import torch
    import torch.nn.functional as F

    logits = F.linear(hidden, weight, bias)
    return F.cross_entropy(logits if logits.dtype == torch.float64 else logits.float(), labels)


def gradient_errors(loss: Any, t: int, d: int, v: int, device: str = "cpu") -> dict[str, float]:
    """Relative errors of the gradients of states, matrix and bias against float64, and of the loss."""
    import torch

    hidden, weight, bias, labels = inputs(t, d, v, device)

    def run(function: Any, kind: Any) -> tuple[float, list[Any]]:
        given = [tensor.to(kind).requires_grad_() for tensor in (hidden, weight, bias)]
        value = function(given[0], given[1], labels, given[2])
        return float(value.detach()), [part.double() for part in torch.autograd.grad(value, given)]

    (value, mine), (exact_value, exact) = run(loss, torch.float32), run(naive, torch.float64)
    errors = {
        f"gradient error, {name}": float((a - b).norm() / b.norm())
        for name, a, b in zip(("hidden", "weight", "bias"), mine, exact, strict=True)
    }
    return errors | {"loss error": abs(value - exact_value)}


def job(peer: str, settings: dict[str, Any]) -> Job:
    """Forward and backward to states, matrix and bias in float32."""
    import torch

    from mlcl.objectives import masked_lm_loss

    half = "bf16" in peer

    def loss(hidden: Any, weight: Any, labels: Any, bias: Any) -> Any:
        with torch.autocast("cpu", dtype=torch.bfloat16) if half else nullcontext():
            return (masked_lm_loss if peer.startswith("mlcl") else naive)(hidden, weight, labels, bias)

    hidden, weight, bias, labels = inputs(settings["t"], settings["d"], settings["v"])
    for tensor in (hidden, weight, bias):
        tensor.requires_grad_()

    def run() -> None:
        loss(hidden, weight, labels, bias).backward()
        hidden.grad = weight.grad = bias.grad = None  # now, so that the memory of the next run is its own

    def check() -> dict[str, float]:
        errors = gradient_errors(loss, settings["t"], settings["d"], settings["check_v"])
        return errors | {"gradient of the matrix, bytes": 4.0 * settings["v"] * settings["d"]}

    return Job(run=run, units=settings["t"], check=check)
