"""The Triton twin of `blocked_linear_cross_entropy`: a linear layer over a large vocabulary with its cross-entropy.

In: states (T, D), output embeddings (V, D), labels (T,), a bias (V,). Out: the scalar mean. For CUDA. Memory is that of
the gradients and one chunk of a fixed size; weights of another type than the products' are converted a chunk at a time.
The maths and the tiling are in `triton_scores`: positions are the rows, tokens the candidates, the label the positive.

The idea is that of cut cross-entropy (arXiv 2411.09009), here without its gradient filter: every token keeps its part.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from mlcl.objectives.kernels.precision import gradient_scale
from mlcl.objectives.kernels.triton_scores import SIZES, Scores, add_gradients, log_sum_exp, slices


def linear_cross_entropy(
    hidden: Tensor, weight: Tensor, labels: Tensor, bias: Tensor | None, dtype: torch.dtype
) -> Tensor:
    """Mean of -log softmax(hidden weight^T + bias)[label].

    Args:
        hidden: (T, D) states.
        weight: (V, D) output embeddings.
        labels: (T,) token ids, all of them in [0, V).
        bias: (V,) or None.
        dtype: Type of the products: bfloat16, float16 or float32. Sums are in float32.

    Returns:
        Scalar in float32; 0 with gradients of 0 for T = 0; NaN where a state, or the label's embedding, is not finite.

    Raises:
        ValueError: products in another type.
    """
    if dtype not in (torch.bfloat16, torch.float16, torch.float32):
        raise ValueError(f"the Triton kernels multiply in bfloat16, float16 or float32, not in {dtype}")
    with torch.autocast(hidden.device.type, enabled=False):  # it would round the sums as well
        return _LinearCrossEntropy.apply(hidden, weight, labels, bias, dtype)


class _LinearCrossEntropy(torch.autograd.Function):
    """See `linear_cross_entropy`."""

    @staticmethod
    def forward(
        ctx: Any, hidden: Tensor, weight: Tensor, labels: Tensor, bias: Tensor | None, dtype: torch.dtype
    ) -> Tensor:
        others = hidden.new_full((len(hidden),), -torch.inf, dtype=torch.float32)
        rows = hidden.to(dtype).contiguous()
        for tokens in slices(len(weight), weight.shape[0] if weight.dtype == dtype else 2 * SIZES.chunk_columns):
            others = torch.logaddexp(others, log_sum_exp(_scores(rows, weight, labels, bias, tokens), both=False)[0])
        positive = others.new_empty(len(hidden))
        for part in slices(len(hidden), SIZES.chunk_rows):
            positive[part] = (hidden[part].float() * weight[labels[part]].float()).sum(1)
        if bias is not None:
            positive = positive + bias[labels].float()
        # -log p of the label = log(1 + sum of the others / its own): no difference from 1 that rounding could eat.
        excess = others - positive
        loss = torch.logaddexp(excess, torch.zeros_like(excess)) + 0 * positive  # an infinite label logit is NaN
        ctx.save_for_backward(hidden, weight, labels, bias, others, torch.sigmoid(excess))
        ctx.dtype = dtype
        return loss.sum() / max(len(hidden), 1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        hidden, weight, labels, bias, others, missing = ctx.saved_tensors  # missing = 1 - p of the label
        for_hidden, for_weight, _, for_bias, _ = ctx.needs_input_grad
        unit = gradient_scale(ctx.dtype, missing)
        missing, scale = missing / unit, gradient.float() * unit / max(len(hidden), 1)
        d_hidden = None
        if for_hidden:
            # The label's entry of G is rounded like the others, but it is most of the gradient: here is the rest of it.
            rest = missing.to(ctx.dtype).float() - missing
            d_hidden = rest[:, None] * weight[labels].float()
        d_weight = torch.empty_like(weight) if for_weight else None
        d_bias = torch.empty_like(bias) if for_bias else None
        rows = hidden.to(ctx.dtype).contiguous()
        with torch.autocast(hidden.device.type, enabled=False):
            for tokens in slices(len(weight), SIZES.chunk_columns):
                to_weight = others.new_zeros((tokens.stop - tokens.start, weight.shape[1])) if for_weight else None
                to_bias = others.new_zeros(tokens.stop - tokens.start) if for_bias else None
                add_gradients(
                    _scores(rows, weight, labels, bias, tokens),
                    row_lse=others,
                    row_weight=missing,
                    positive=-missing,
                    to_rows=d_hidden,
                    to_columns=to_weight,
                    to_bias=to_bias,
                )
                if d_weight is not None and to_weight is not None:
                    d_weight[tokens] = to_weight.mul_(scale)
                if d_bias is not None and to_bias is not None:
                    d_bias[tokens] = to_bias.mul_(scale)
        return None if d_hidden is None else d_hidden.mul_(scale).to(hidden.dtype), d_weight, None, d_bias, None


def _scores(rows: Tensor, weight: Tensor, labels: Tensor, bias: Tensor | None, tokens: slice) -> Scores:
    """The scores of all positions against some tokens."""
    return Scores(
        rows,
        weight[tokens].to(rows.dtype).contiguous(),
        target=labels.contiguous(),
        bias=None if bias is None else bias[tokens].float().contiguous(),
        first_column=tokens.start,
    )
