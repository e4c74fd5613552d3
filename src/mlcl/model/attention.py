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
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from mlcl.model import packing
from mlcl.model.blocks import Blocks, attend, attend_backward

NAME = "mlcl"


class PackedLengths:
    """Lengths (N,) of the sentences of a stream, with what the kernels derive from them once for all layers.

    Args:
        lengths: (N,) tokens of each sentence.
        prefix: (N,) tokens at the start of each sentence that all of it sees; beyond them a token sees itself and those
            before it. None = all see all.
    """

    def __init__(self, lengths: Tensor, prefix: Tensor | None = None) -> None:
        self.lengths, self.prefix = lengths, lengths if prefix is None else torch.minimum(prefix, lengths)
        self._blocks: dict[tuple[int, torch.device, int | None], Blocks] = {}
        self._calls: dict[torch.device, list[Call]] = {}

    def blocks(self, heads: int, device: torch.device, tokens: int | None = None) -> Blocks:
        """The blocks for this many heads, in a stream of `tokens` if that is longer than the sentences."""
        key = heads, device, tokens
        if key not in self._blocks:
            self._blocks[key] = Blocks(self.lengths, heads, device, tokens, self.prefix)
        return self._blocks[key]

    def calls(self, device: torch.device) -> list[Call]:
        """The calls of a variable-length kernel that are this attention.

        One is enough where all sentences are of one kind. Else the tokens of the prefixes read each other, and the
        tokens beyond read, causally, what their sentence has up to them: two calls, and no padding.
        """
        if device not in self._calls:
            lengths, prefix = self.lengths, self.prefix
            beyond = lengths - prefix
            if not bool(beyond.any()) or not bool(prefix.any()):
                calls = [Call.of(device, lengths, lengths, causal=bool(beyond.any()))]
            else:
                inside = packing.positions(lengths) < prefix.repeat_interleave(lengths)  # (T,)
                read = (beyond > 0).repeat_interleave(lengths)  # (T,)
                some, rest = prefix[prefix > 0], beyond > 0
                calls = [
                    Call.of(device, some, some, causal=False, queries=inside, keys=inside),
                    Call.of(device, beyond[rest], lengths[rest], causal=True, queries=~inside, keys=read),
                ]
            self._calls[device] = calls
        return self._calls[device]


@dataclass(frozen=True)
class Call:
    """One call of a variable-length attention kernel.

    Attributes:
        queries: (S,) rows of the stream that ask; None = all.
        keys: (R,) rows that are seen; None = all.
        offsets: (n + 1,) int32, where each of n sentences starts among the queries, and the end; the same of the keys.
        longest: Most queries, and most keys, of a sentence.
        causal: Whether the last query of a sentence sees all its keys, the one before all but the last key, and so on.
    """

    queries: Tensor | None
    keys: Tensor | None
    offsets: tuple[Tensor, Tensor]
    longest: tuple[int, int]
    causal: bool

    @classmethod
    def of(
        cls,
        device: torch.device,
        asking: Tensor,
        seen: Tensor,
        *,
        causal: bool,
        queries: Tensor | None = None,
        keys: Tensor | None = None,
    ) -> Call:
        """From how many queries and keys each sentence has (n,), and which rows of the stream (T,) these are."""
        offsets = [nn.functional.pad(counts.cumsum(0), (1, 0)).to(device, torch.int32) for counts in (asking, seen)]
        rows = [None if chosen is None else chosen.nonzero()[:, 0].to(device) for chosen in (queries, keys)]
        longest = int(asking.max()), int(seen.max())
        return cls(rows[0], rows[1], (offsets[0], offsets[1]), longest, causal)


_PACKED: ContextVar[PackedLengths | None] = ContextVar("mlcl_packed_lengths", default=None)


@contextmanager
def packed(lengths: Tensor, prefix: Tensor | None = None) -> Iterator[PackedLengths]:
    """Within the block, backbones whose attention is `mlcl` see a stream of sentences of these lengths (N,).

    `prefix` (N,) says how many tokens at its start all of a sentence sees, see `PackedLengths`; None = all of them.
    """
    state = PackedLengths(lengths, prefix)
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
    # Under autocast the rotations of positions make float32 of queries and keys, but not of values
    query, key = query.to(value.dtype), key.to(value.dtype)
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
    """Attention (T, H, K) of streams of queries, keys and values (T, H, K)."""
    calls = state.calls(streams[0].device)
    if len(calls) == 1:
        return _flash_kernel(streams, calls[0], scale, window)
    query, key, value = streams
    output = torch.empty_like(query)
    for call in calls:
        output[call.queries] = _flash_kernel(
            [query[call.queries], key[call.keys], value[call.keys]], call, scale, window
        )
    return output


def _flash_kernel(streams: list[Tensor], call: Call, scale: float, window: int | None) -> Tensor:
    from torch.nn.attention.varlen import varlen_attn

    back = -1 if window is None else window - 1
    query, key, value = (stream.contiguous() for stream in streams)
    reach = (back, 0 if call.causal else back)
    output = varlen_attn(query, key, value, *call.offsets, *call.longest, scale=scale, window_size=reach)
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
