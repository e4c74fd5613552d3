"""InfoNCE, forward and backward, beside the textbook form, which keeps the N x N matrix.

The gradient error is that of both inputs' gradients together against float64, relative in the Euclidean norm, at a
smaller N: for random vectors, and near convergence, where queries and keys almost agree and gradients almost vanish.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import nullcontext
from typing import Any

from harness import Case, Job

TITLE = "InfoNCE, forward and backward"
_TILE = 2048
_STATES = {"random": None, "converged": 0.05}  # how far a key lies from its query, as noise per unit of length


def cases(quick: bool) -> list[Case]:
    """N = 8192 beside the naive forms, and N = 65,536, where the matrix alone would take 17 GB a copy."""
    if quick:
        return [Case("toy", {"n": 96, "d": 16, "check_n": 48}, ("mlcl bf16", "naive bf16"))]
    return [
        Case("N 8192", {"n": 8192, "d": 384, "check_n": 2048}, ("mlcl bf16", "mlcl fp32", "naive bf16", "naive fp32")),
        Case("N 65536", {"n": 65_536, "d": 384, "check_n": 0}, ("mlcl bf16",)),
    ]


def work(settings: dict[str, Any]) -> dict[str, Any]:
    """Three products of N^2 d: the similarities, and the gradient of either side; by tiles, which stay cached."""
    n, d = settings["n"], settings["d"]
    tile = min(n, _TILE)
    gemms = [[tile, tile, d, "bfloat16", (n / tile) ** 2], [tile, d, tile, "bfloat16", 2 * (n / tile) ** 2]]
    return {"gemms": gemms, "bytes": 4 * 4 * n * d}


def naive(queries: Any, keys: Any, temperature: float) -> Any:
    """The textbook form, both directions."""
    import torch
    import torch.nn.functional as F

    logits = (queries @ keys.T) / temperature
    logits = logits.float()
    target = torch.arange(len(logits), device=logits.device)
    return (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2


def exact(queries: Any, keys: Any, temperature: float) -> Any:
    """The same in float64, as log(1 + sum of the others / positive): 1 - p has 35 zeros in the last of our cases."""
    import torch
    import torch.nn.functional as F

    logits = (queries.double() @ keys.double().T) / temperature
    positive = torch.eye(len(logits), dtype=torch.bool, device=logits.device)
    others = logits.masked_fill(positive, -torch.inf)
    sides = [F.softplus(others.logsumexp(dim) - logits.diagonal(), threshold=1000.0).mean() for dim in (1, 0)]
    return (sides[0] + sides[1]) / 2


def vectors(n: int, d: int, noise: float | None, device: str = "cpu") -> tuple[Any, Any]:
    """Unit queries and keys (n, d); with `noise`, each key lies near its query."""
    import torch
    import torch.nn.functional as F

    generator = torch.Generator().manual_seed(0)
    queries, other = (F.normalize(torch.randn(n, d, generator=generator), dim=-1) for _ in range(2))
    keys = other if noise is None else F.normalize(queries + noise * other, dim=-1)
    return queries.to(device), keys.to(device)


def gradient(loss: Callable[[Any, Any, float], Any], queries: Any, keys: Any, temperature: float) -> tuple[float, Any]:
    """Loss, and the gradients of both inputs in one tensor."""
    import torch

    inputs = [tensor.detach().clone().requires_grad_() for tensor in (queries, keys)]
    value = loss(inputs[0], inputs[1], temperature)
    return float(value.detach()), torch.cat(torch.autograd.grad(value, inputs))


def gradient_errors(loss: Callable[[Any, Any, float], Any], n: int, d: int, device: str = "cpu") -> Iterator[tuple]:
    """(what, relative error) of the gradients against float64, and (what, error) of the loss."""
    for state, noise in _STATES.items():
        for temperature in (0.05, 0.01):
            queries, keys = vectors(n, d, noise, device)
            exact_value, expected = gradient(exact, queries.double(), keys.double(), temperature)
            value, mine = gradient(loss, queries, keys, temperature)
            where = f"{state}, temperature {temperature}"
            yield f"gradient error, {where}", float((mine.double() - expected).norm() / expected.norm())
            yield f"loss error, {where}", abs(value - exact_value)


def job(peer: str, settings: dict[str, Any]) -> Job:
    """Forward and backward from unit vectors in float32."""
    import torch

    from mlcl.objectives import info_nce

    half = peer.endswith("bf16")

    def loss(queries: Any, keys: Any, temperature: float) -> Any:
        with torch.autocast("cpu", dtype=torch.bfloat16) if half else nullcontext():
            if peer.startswith("naive"):
                return naive(queries, keys, temperature)
            return info_nce(queries, keys, temperature=temperature)

    queries, keys = (tensor.requires_grad_() for tensor in vectors(settings["n"], settings["d"], None))

    def run() -> None:
        loss(queries, keys, 0.05).backward()
        queries.grad = keys.grad = None  # now, so that the memory of the next run is its own

    n = settings["check_n"]
    return Job(run=run, check=lambda: dict(gradient_errors(loss, n, settings["d"])) if n else {})
