"""Adversarial training of the embeddings: a second look at each batch from where it hurts most (FGM).

In: the embedding matrix with the gradient of a batch. Out: a context in which its rows stand one step uphill.

    gradients of the batch
    with perturbed(embedding.weight, radius):
        gradients of the batch again, added to the first
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from mlcl.objectives.adversarial import worst_step


@contextmanager
def perturbed(weight: Tensor, radius: float) -> Iterator[None]:
    """Move the rows of a matrix (V, D) that have a gradient one step uphill; on leaving, they are what they were.

    The step is that of Miyato et al., arXiv 1605.07725, in the rows and not in each of their uses: a token moves the
    same way wherever it stands. It is `radius` times as long as the rows are together (Frobenius norm), so it does not
    depend on how many a batch touches.

    Args:
        weight: The embeddings, with dense or row-sparse gradient; a tied output layer moves with them.
        radius: Length of the step, as a share of that of the rows.
    """
    if weight.grad is None:
        yield
        return
    with torch.no_grad():
        if weight.grad.is_sparse:
            gradient = weight.grad.coalesce()
            rows, values = gradient.indices()[0], gradient.values()
        else:
            rows = weight.grad.abs().sum(1).nonzero()[:, 0]
            values = weight.grad[rows]
        before = weight[rows]  # a copy
        weight[rows] += worst_step(values.float(), radius * float(before.float().norm())).to(weight.dtype)
    try:
        yield
    finally:
        with torch.no_grad():
            weight[rows] = before
