"""Attention inside each sentence of a packed stream, for ordinary Hugging Face backbones.

transformers looks attention up by name in a registry; ours is registered as `mlcl`. Inside `packed(lengths)` it attends
sentence by sentence over the packed stream; outside it is plain SDPA. Packed position ids alone are not enough:
transformers 5 then lets attention leak across the sentences of XLM-R without an error.

On a CPU the backward of bf16 SDPA is pathologically slow, and autograd would add up one dense (T, D) gradient per
length; an own function does both with matmul and a float32 softmax, writing into one buffer.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from mlcl.model.packing import equal_runs

NAME = "mlcl"
Runs = list[tuple[int, int, int]]
_RUNS: ContextVar[Runs | None] = ContextVar("mlcl_packed_runs", default=None)


@contextmanager
def packed(lengths: Tensor) -> Iterator[None]:
    """Within the block, backbones whose attention is `mlcl` see a stream of sentences of these lengths (N,)."""
    token = _RUNS.set(equal_runs(lengths))
    try:
        yield
    finally:
        _RUNS.reset(token)


def attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """Attention function for transformers' registry: query, key, value (B, H, L, K) -> (B, L, H, K).

    Raises:
        ValueError: attention dropout inside a packed block (the packed kernels have none).
    """
    runs = _RUNS.get()
    if runs is None and query.device.type == "cpu" and query.dtype == torch.bfloat16 and query.requires_grad:
        return _padded_attention(module, query, key, value, attention_mask, scaling, dropout), None
    if runs is None:
        output, _ = sdpa_attention_forward(
            module, query, key, value, attention_mask, dropout=dropout, scaling=scaling, **kwargs
        )
        return output, None
    if dropout:
        raise ValueError("packed attention has no dropout: set attention_probs_dropout_prob to 0")
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    # (1, H, T, K) -> (T, H, K): a view, since the backbone made (1, T, H, K) and transposed it.
    streams = [tensor[0].transpose(0, 1) for tensor in (query, key, value)]
    output = _PackedAttention.apply(*streams, runs, scale)
    return output[None], None


def _padded_attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    mask: Tensor | None,
    scaling: float | None,
    dropout: float,
) -> Tensor:
    """Plain attention (B, H, L, K) -> (B, L, H, K): in bf16 on a CPU, SDPA's backward takes nine times as long."""
    scores = torch.matmul(query, key.transpose(-1, -2)) * (query.shape[-1] ** -0.5 if scaling is None else scaling)
    if mask is not None:
        scores = scores.masked_fill(~mask, -torch.inf) if mask.dtype == torch.bool else scores + mask
    weight = torch.softmax(scores.float(), dim=-1).to(query.dtype)
    weight = nn.functional.dropout(weight, p=dropout, training=module.training)
    return torch.matmul(weight, value).transpose(1, 2)


class _PackedAttention(torch.autograd.Function):
    """softmax(q k^T * scale) v for each sentence of a stream; (T, H, K) each."""

    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor, runs: Runs, scale: float) -> Tensor:
        output = torch.empty_like(query, memory_format=torch.contiguous_format)
        weights = []
        for run in runs:
            q, k, v = (_block(tensor, run) for tensor in (query, key, value))  # (n, H, L, K)
            scores = torch.matmul(q, k.transpose(-1, -2)).float().mul_(scale)  # (n, H, L, L)
            weight = torch.softmax(scores, dim=-1).to(query.dtype)
            _block(output, run).copy_(torch.matmul(weight, v))
            weights.append(weight)
        ctx.save_for_backward(query, key, value, *weights)
        ctx.runs, ctx.scale = runs, scale
        return output

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        query, key, value, *weights = ctx.saved_tensors
        d_query, d_key, d_value = (
            torch.empty_like(tensor, memory_format=torch.contiguous_format) for tensor in (query, key, value)
        )
        gradient = gradients[0].to(query.dtype)
        for run, weight in zip(ctx.runs, weights, strict=True):
            q, k, v, d_out = (_block(tensor, run) for tensor in (query, key, value, gradient))
            _block(d_value, run).copy_(torch.matmul(weight.transpose(-1, -2), d_out))
            d_weight = torch.matmul(d_out, v.transpose(-1, -2))  # (n, H, L, L)
            product = d_weight.float() * weight
            d_scores = product.sub_(weight * product.sum(-1, keepdim=True)).mul_(ctx.scale).to(query.dtype)
            _block(d_query, run).copy_(torch.matmul(d_scores, k))
            _block(d_key, run).copy_(torch.matmul(d_scores.transpose(-1, -2), q))
        return d_query, d_key, d_value, None, None


def _block(stream: Tensor, run: tuple[int, int, int]) -> Tensor:
    """View of the sentences of one run: (T, H, K) -> (n, H, L, K)."""
    start, count, length = run
    rows = stream[start : start + count * length]
    return rows.unflatten(0, (count, length)).transpose(1, 2)


AttentionInterface.register(NAME, attention)
AttentionMaskInterface.register(NAME, sdpa_mask)
