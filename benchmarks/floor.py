"""The floor: the least time that a piece of work can take here, and the rates that it is made of, measured.

    floor = sum over products of FLOP / measured rate at that shape and type  +  bytes that must move / measured rate

`work` dictionaries hold `gemms`, a list of [m, n, k, type, count] for (m, k) x (k, n), and `bytes`. The rate of a shape
is that of its fastest of ten products, in float32 where the machine has no products of bfloat16; the rate of memory is
that of the fastest of ten sums of two arrays of 256 MB.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
from harness import Case, Job

TITLE = "Measured rates of this machine"
_REPETITIONS = 10


def encoder_work(
    lengths: np.ndarray, *, layers: int, hidden: int, vocabulary_rows: int = 0, training: bool, dtype: str = "bfloat16"
) -> dict[str, Any]:
    """What an encoder must do for sentences of these lengths, forward or forward and backward, with the optimiser.

    Products: T (12 H^2) a layer, and L^2 H twice for attention; the backward does twice as much. Bytes: every weight is
    read once (in a step: read for both passes, its gradient written, and Adam reads 4 and writes 3 arrays); in a step
    also the activations that the weight gradients need, 11 H in `dtype` per token and layer, written and read once;
    of the embedding only `vocabulary_rows` rows.
    """
    tokens, passes = int(lengths.sum()), 3 if training else 1
    attention = int((lengths**2).sum())
    gemms = [
        [tokens, 3 * hidden, hidden, dtype, layers * passes],
        [tokens, hidden, hidden, dtype, layers * passes],
        [tokens, 4 * hidden, hidden, dtype, layers * passes],
        [tokens, hidden, 4 * hidden, dtype, layers * passes],
        # As one product with as much arithmetic, at the best rate of the layer: batched small ones are slower.
        [tokens, max(1, 2 * attention // tokens), hidden, dtype, layers * passes],
    ]
    size = 2 if dtype == "bfloat16" else 4
    weights = layers * 12 * hidden**2
    if not training:
        return {"gemms": gemms, "bytes": size * weights + 4 * tokens * hidden}
    activations = tokens * layers * 11 * hidden * size * 2
    update = 4 * (4 + 3 + 1)
    return {"gemms": gemms, "bytes": weights * (2 * size + update) + vocabulary_rows * hidden * update + activations}


def cases(quick: bool) -> list[Case]:
    """The rates at the shapes of the other comparisons."""
    tokens = 256 if quick else 4096
    shapes = [[tokens, n, k, dtype, 1] for dtype in ("bfloat16", "float32") for n, k in
              ((1152, 384), (384, 384), (1536, 384), (384, 1536), (768, 256), (1024, 256), (256, 1024))]  # fmt: skip
    shapes += [] if quick else [[512, 250_000, 384, "bfloat16", 1], [8192, 8192, 384, "bfloat16", 1]]
    return [Case("rates", {"gemms": shapes, "bytes": 0}, ("rates",), floor=False, timed=False)]


def work(settings: dict[str, Any]) -> dict[str, Any]:
    """Nothing beyond the settings themselves."""
    return settings


def job(peer: str, settings: dict[str, Any]) -> Job:
    """Measure the rates, in `check`: by shape for the comparison `rates`, summed up to a floor for any other one."""
    import torch

    from mlcl.core.hardware import bf16_pays

    rates: dict[str, float] = {}
    total = 0.0
    with torch.inference_mode():
        for m, n, k, wanted, count in settings["gemms"]:
            dtype = wanted if bf16_pays() else "float32"  # what we compute in on this machine
            kind = getattr(torch, dtype)
            x, weight, out = torch.randn(m, k).to(kind), torch.randn(n, k).to(kind), torch.empty(m, n, dtype=kind)
            seconds = _fastest(lambda x=x, weight=weight, out=out: torch.mm(x, weight.T, out=out))
            rates[f"{m}x{n}x{k} {dtype} TFLOP/s"] = 2 * m * n * k / seconds / 1e12
            total += count * seconds
        elements = 1 << 26
        a, b, c = torch.ones(elements), torch.ones(elements), torch.empty(elements)
        bandwidth = 3 * 4 * elements / _fastest(lambda: torch.add(a, b, out=c))
    rates["memory GB/s"] = bandwidth / 1e9
    if peer == "rates":
        return Job(run=lambda: None, check=lambda: rates)
    answer = {"seconds": total + settings["bytes"] / bandwidth, "products_seconds": total, "rates": rates}
    return Job(run=lambda: None, check=lambda: answer)


def _fastest(function: Callable[[], Any]) -> float:
    times = []
    for _ in range(_REPETITIONS + 2):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return min(times[2:])
