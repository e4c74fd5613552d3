"""AdamW whose cost for an embedding is that of the rows a step touches, and gradient clipping that knows of rows.

In: parameters, of which embeddings may have row-sparse gradients (`row_sparse` makes it so). Out: updated parameters.
A vocabulary of 250,000 entries has a hundred million weights; a batch touches some thousand rows of it. Dense AdamW
would fill, norm and sweep all of them in every step, which on a CPU takes as long as the encoder.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import get_total_norm


class RowAdamW(torch.optim.AdamW):
    """AdamW (Loshchilov and Hutter, arXiv 1711.05101) that leaves the rows without a gradient alone.

    A row-sparse gradient updates its rows only. The promise: **each row moves exactly as dense AdamW would move it if
    the steps in which the row occurs were all the steps there are**. So moments, bias correction and weight decay
    count the occurrences of the row; a row that never occurs never moves; and where every row occurs in every step,
    this is dense AdamW. It differs from dense AdamW for a row that pauses: there its moments would fade, drag it on
    along its old direction meanwhile, and decay its weights. Parameters with dense gradients are torch's own AdamW.

    Not supported for row-sparse gradients: `amsgrad`, `maximize`, a tensor as learning rate.
    """

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        """One update; rows first, then everything dense."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        sparse = []
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None and parameter.grad.is_sparse:
                    sparse.append((parameter, parameter.grad.coalesce()))
                    _update_rows(parameter, sparse[-1][1], self.state[parameter], group)
                    parameter.grad = None  # hidden from the dense update
        super().step()
        for parameter, gradient in sparse:
            parameter.grad = gradient
        return loss


@contextmanager
def row_sparse(embedding: nn.Embedding, wanted: bool = True) -> Iterator[None]:
    """Within the block, the lookups of an embedding give it row-sparse gradients.

    Where an LM term adds the gradient of all rows to them, the sum is dense, and made without a second dense matrix.
    """
    before, embedding.sparse = embedding.sparse, wanted or embedding.sparse
    try:
        yield
    finally:
        embedding.sparse = before


def _update_rows(parameter: Tensor, gradient: Tensor, state: dict[str, Any], group: dict[str, Any]) -> None:
    """AdamW on the rows of a coalesced gradient (V, D); the state is that of dense AdamW, with a count per row."""
    if not state:
        state["step"] = torch.zeros(len(parameter), dtype=torch.float32, device=parameter.device)  # (V,)
        state["exp_avg"] = torch.zeros_like(parameter)
        state["exp_avg_sq"] = torch.zeros_like(parameter)
    rows, values = gradient.indices()[0], gradient.values().to(parameter.dtype)  # (n,), (n, D)
    beta1, beta2 = group["betas"]
    steps = state["step"][rows] + 1
    mean = state["exp_avg"][rows].lerp_(values, 1 - beta1)
    square = state["exp_avg_sq"][rows].mul_(beta2).addcmul_(values, values, value=1 - beta2)
    state["step"][rows], state["exp_avg"][rows], state["exp_avg_sq"][rows] = steps, mean, square
    steps = steps.double()  # 1 - beta2^step loses half its digits in float32
    step_size = (group["lr"] / (1 - beta1**steps)).to(values)[:, None]
    correction = (1 - beta2**steps).sqrt().to(values)[:, None]
    weights = parameter[rows].mul_(1 - group["lr"] * group["weight_decay"])
    parameter[rows] = weights.sub_(step_size * mean / (square.sqrt().div_(correction).add_(group["eps"])))


def clip_gradients(parameters: Iterable[nn.Parameter], max_norm: float) -> Tensor:
    """Scale all gradients so that their common norm is at most `max_norm`; returns the norm before, a scalar.

    `torch.nn.utils.clip_grad_norm_` does not take row-sparse gradients.
    """
    gradients = []
    for parameter in parameters:
        if parameter.grad is not None and parameter.grad.is_sparse:
            parameter.grad = parameter.grad.coalesce()
            gradients.append(parameter.grad.values())  # shares memory with the gradient
        elif parameter.grad is not None:
            gradients.append(parameter.grad)
    norm = get_total_norm(gradients)
    torch._foreach_mul_(gradients, (max_norm / (norm + 1e-6)).clamp(max=1.0))
    return norm
