"""Attention inside each sentence of a packed stream, for ordinary Hugging Face backbones.

transformers looks attention up by name in a registry; ours is registered as `mlcl`. Inside `packed(lengths)` it attends
sentence by sentence over the packed stream; outside it is plain SDPA. Packed position ids alone are not enough:
transformers 5 then lets attention leak across the sentences of XLM-R without an error.

On CUDA the stream goes to torch's variable-length flash attention in half precision. Elsewhere it is cut into blocks of
similar length (blocks.py); on a CPU the backward of bf16 SDPA is pathologically slow, and autograd would add up one
dense (T, D) gradient per block, so an own function does both.
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

from mlcl.model.blocks import Blocks, attend, attend_backward

NAME = "mlcl"


class PackedLengths:
    """Lengths (N,) of the sentences of a stream, with what the kernels derive from them once for all layers.

    Args:
        lengths: (N,) tokens of each sentence.
        causal: (N,) whether a token of the sentence sees only itself and those before it; None = in none.
    """

    def __init__(self, lengths: Tensor, causal: Tensor | None = None) -> None:
        self.lengths, self.causal = lengths, causal
        self._blocks: dict[tuple[int, torch.device, int | None], Blocks] = {}
        self._offsets: dict[torch.device, Tensor] = {}

    def blocks(self, heads: int, device: torch.device, tokens: int | None = None) -> Blocks:
        """The blocks for this many heads, in a stream of `tokens` if that is longer than the sentences."""
        key = heads, device, tokens
        if key not in self._blocks:
            self._blocks[key] = Blocks(self.lengths, heads, device, tokens, self.causal)
        return self._blocks[key]

    def offsets(self, device: torch.device) -> Tensor:
        """(N + 1,) int32: where each sentence starts, and the end."""
        if device not in self._offsets:
            offsets = nn.functional.pad(self.lengths.cumsum(0), (1, 0))
            self._offsets[device] = offsets.to(device, torch.int32)
        return self._offsets[device]


_PACKED: ContextVar[PackedLengths | None] = ContextVar("mlcl_packed_lengths", default=None)


@contextmanager
def packed(lengths: Tensor, causal: Tensor | None = None) -> Iterator[PackedLengths]:
    """Within the block, backbones whose attention is `mlcl` see a stream of sentences of these lengths (N,).

    `causal` (N,) says in which of them a token sees only itself and those before it; None = in none.
    """
    state = PackedLengths(lengths, causal)
    token = _PACKED.set(state)
    try:
        yield state
    finally:
        _PACKED.reset(token)


def attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    sliding_window: int | None = None,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """Attention function for transformers' registry: query (B, H, L, K), key, value (B, G, L, K) -> (B, L, H, K).

    With G < H heads of keys and values, each serves H / G neighbouring queries (arXiv 2305.13245).

    Raises:
        ValueError: attention dropout inside a packed block (the packed kernels have none).
    """
    state = _PACKED.get()
    if state is None and query.device.type == "cpu" and query.dtype == torch.bfloat16 and query.requires_grad:
        return _padded_attention(module, query, key, value, attention_mask, scaling, dropout), None
    if state is None:
        output, _ = sdpa_attention_forward(
            module, query, key, value, attention_mask, dropout=dropout, scaling=scaling, **kwargs
        )
        return output, None
    key, value = _as_many_heads(key, query), _as_many_heads(value, query)
    if dropout:
        raise ValueError("packed attention has no dropout: set the backbone's attention dropout to 0")
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    # (1, H, T, K) -> (T, H, K): a view, since the backbone made (1, T, H, K) and transposed it.
    streams = [tensor[0].transpose(0, 1) for tensor in (query, key, value)]
    if query.is_cuda and query.dtype in (torch.float16, torch.bfloat16):
        return _flash_attention(streams, state, scale, sliding_window)[None], None
    blocks = state.blocks(query.shape[1], query.device)
    return _PackedAttention.apply(torch.stack(streams, dim=1), blocks, scale, sliding_window)[None], None


def _as_many_heads(tensor: Tensor, query: Tensor) -> Tensor:
    """Keys or values (B, G, L, K) -> (B, H, L, K)."""
    times = query.shape[1] // tensor.shape[1]
    return tensor if times == 1 else tensor.repeat_interleave(times, dim=1)


def _flash_attention(streams: list[Tensor], state: PackedLengths, scale: float, window: int | None) -> Tensor:
    """Attention (T, H, K) of streams (T, H, K); sentences of the two kinds go through the kernel one kind at a time."""
    causal = state.causal
    if causal is None or bool(causal.all()) or not bool(causal.any()):
        return _flash_kernel(streams, state, scale, window, causal is not None and bool(causal.any()))
    output = torch.empty_like(streams[0])
    for kind in (False, True):
        chosen = causal == kind
        rows = chosen.repeat_interleave(state.lengths).nonzero()[:, 0].to(output.device)
        part = PackedLengths(state.lengths[chosen])
        output[rows] = _flash_kernel([stream[rows] for stream in streams], part, scale, window, kind)
    return output


def _flash_kernel(
    streams: list[Tensor], state: PackedLengths, scale: float, window: int | None, causal: bool
) -> Tensor:
    from torch.nn.attention.varlen import varlen_attn

    offsets, longest = state.offsets(streams[0].device), int(state.lengths.max())
    back = -1 if window is None else window - 1
    reach = (back, 0 if causal else back)
    query, key, value = (stream.contiguous() for stream in streams)
    output = varlen_attn(query, key, value, offsets, offsets, longest, longest, scale=scale, window_size=reach)
    assert isinstance(output, Tensor)
    return output


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
    key, value = _as_many_heads(key, query), _as_many_heads(value, query)
    scores = torch.matmul(query, key.transpose(-1, -2)) * (query.shape[-1] ** -0.5 if scaling is None else scaling)
    if mask is None and getattr(module, "is_causal", False):  # transformers leaves the mask of a full batch out
        later = torch.ones(scores.shape[-2:], dtype=torch.bool, device=scores.device).triu_(1)
        scores = scores.masked_fill(later, -torch.inf)
    if mask is not None:
        scores = scores.masked_fill(~mask, -torch.inf) if mask.dtype == torch.bool else scores + mask
    weight = torch.softmax(scores.float(), dim=-1).to(query.dtype)
    weight = nn.functional.dropout(weight, p=dropout, training=module.training)
    return torch.matmul(weight, value).transpose(1, 2)


class _PackedAttention(torch.autograd.Function):
    """softmax(q k^T * scale) v for each sentence of a stream: (T, 3, H, K) -> (T, H, K)."""

    @staticmethod
    def forward(ctx: Any, stream: Tensor, blocks: Blocks, scale: float, window: int | None) -> Tensor:
        blocked = blocks.gather(stream)
        output, weights = attend(blocked, blocks, scale, window)
        ctx.save_for_backward(blocked, *weights)
        ctx.blocks, ctx.scale = blocks, scale
        return blocks.scatter(output[None])[:, 0]

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        blocked, *weights = ctx.saved_tensors
        d_output = ctx.blocks.gather(gradients[0].to(blocked.dtype)[:, None])[0]
        return ctx.blocks.scatter(attend_backward(d_output, blocked, weights, ctx.blocks, ctx.scale)), None, None, None


def _mask(*args: Any, **kwargs: Any) -> Tensor | None:
    """No mask over the stream, which would be (T, T): inside `packed` the kernels know who sees whom."""
    return None if _PACKED.get() is not None else sdpa_mask(*args, **kwargs)


AttentionInterface.register(NAME, attention)
AttentionMaskInterface.register(NAME, _mask)
