"""Sentences of a packed stream as padded blocks of similar length, and attention inside of them.

In: a stream of tokens (T, ...) and the lengths of its sentences. Out: per block, queries, keys and values (n, H, L, K)
on which attention is three plain matrix operations.

One block per distinct length would need no padding, but some sixty lengths make thousands of small operations a step,
and on a CPU these cost more than the arithmetic. So lengths are rounded up to few values, fine enough to cost about a
tenth of padding, in the (small) attention part only. One index lookup moves all heads of all sentences into their
blocks, and one moves the result back.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from mlcl.core.shapes import round_up

_STEPS = 4  # lengths between a power of two and the next are rounded up to this many values
_LEAST = 16  # shorter rows than a vector register would be computed number by number: ten times slower
_LANES = 32  # bfloat16 numbers in a vector register
_COUNTS = 8  # numbers of sentences between powers of two, see core/shapes.py


@dataclass(frozen=True)
class Block:
    """Sentences of similar length.

    Attributes:
        rows: Where it lies among the rows of all blocks; a row is one head of one token.
        shape: (n sentences, H heads, L tokens); the last sentences may be made up.
        padding: (first sentence, sentence after the last, tokens) of each run of sentences that are shorter than L.
        prefix: (n,) tokens at the start of each sentence that all of it sees, or (1,) if it is one number for all;
            beyond them a token sees itself and those before it. None = all see all.
    """

    rows: slice
    shape: tuple[int, int, int]
    padding: tuple[tuple[int, int, int], ...]
    prefix: Tensor | None = None


class Blocks:
    """The blocks of one stream, for any number of layers.

    Args:
        lengths: (N,) tokens of each sentence, in stream order, which may be any.
        heads: H.
        device: Where the stream is.
        tokens: T, if the stream goes on after the last sentence: what is there is left out, and 0 on the way back.
        prefix: (N,) tokens at the start of each sentence that all of it sees, see `Block`; None = all of them.
    """

    def __init__(
        self,
        lengths: Tensor,
        heads: int,
        device: torch.device,
        tokens: int | None = None,
        prefix: Tensor | None = None,
    ) -> None:
        lengths = lengths.cpu()
        prefix = lengths if prefix is None else prefix.cpu()
        in_order = prefix < lengths  # (N,) whether some token of the sentence does not see those after it
        starts = lengths.cumsum(0) - lengths
        rounded = _rounded(lengths)
        self.heads, self._real_tokens = heads, int(lengths.sum())
        self.tokens = self._real_tokens if tokens is None else tokens
        self.blocks: list[Block] = []
        sources, padding, first = [], [], 0
        for length, kind in torch.stack([rounded, in_order.long()], dim=1).unique(dim=0).tolist():
            chosen = ((rounded == length) & (in_order == bool(kind))).nonzero()[:, 0]
            made_up = round_up(len(chosen), _COUNTS) - len(chosen)
            place = torch.arange(length)[None, :]
            missing = place >= F.pad(lengths[chosen], (0, made_up))[:, None]  # (n, L)
            token = F.pad(starts[chosen], (0, made_up))[:, None] + place.where(~missing, 0)
            shape = (len(chosen) + made_up, heads, length)
            size = shape[0] * heads * length
            sources.append(token[:, None].expand(shape).reshape(-1))
            padding.append(missing[:, None].expand(shape).reshape(-1))
            padded = _short_runs(lengths[chosen], length)
            shown = F.pad(prefix[chosen], (0, made_up)) if bool(prefix[chosen].any()) else lengths.new_zeros(1)
            self.blocks.append(Block(slice(first, first + size), shape, padded, shown.to(device) if kind else None))
            first += size
        self._token = torch.cat(sources)  # (rows,) the token of each row; some token for padding
        self._head = torch.cat(
            [torch.arange(heads).repeat_interleave(b.shape[2]).repeat(b.shape[0]) for b in self.blocks]
        )
        self._padded = torch.cat(padding)
        self.padding_rows = self._padded.nonzero()[:, 0].to(device)
        self._device = device
        self._lookups: dict[int, tuple[Tensor, Tensor]] = {}

    def __iter__(self) -> Iterator[Block]:
        return iter(self.blocks)

    def gather(self, stream: Tensor) -> Tensor:
        """(T, P, H, K) -> (P, rows, K): P matrices of the stream, block by block. Padding repeats some token."""
        parts, size = stream.shape[1], stream.shape[3]
        there, _ = self._lookup(parts)
        return stream.reshape(-1, size).index_select(0, there).view(parts, -1, size)

    def scatter(self, blocked: Tensor) -> Tensor:
        """(P, rows, K) -> (T, P, H, K): the way back, without the padding."""
        parts, _, size = blocked.shape
        _, back = self._lookup(parts)
        stream = blocked.view(-1, size).index_select(0, back).view(self.tokens, parts, self.heads, size)
        stream[self._real_tokens :] = 0
        return stream

    def _lookup(self, parts: int) -> tuple[Tensor, Tensor]:
        """Row numbers of the stream for each blocked row, and of the blocks for each row of the stream."""
        if parts not in self._lookups:
            rows = len(self._token)
            part = torch.arange(parts)[:, None]
            there = ((self._token * parts + part) * self.heads + self._head).reshape(-1)  # (P * rows,)
            back = torch.zeros(self.tokens * parts * self.heads, dtype=torch.long)
            real = (~self._padded).repeat(parts)
            back[there[real]] = torch.arange(parts * rows)[real]
            self._lookups[parts] = there.to(self._device), back.to(self._device)
        return self._lookups[parts]


def attend(blocked: Tensor, blocks: Blocks, scale: float, window: int | None = None) -> tuple[Tensor, list[Tensor]]:
    """softmax(q k^T scale) v for each sentence and head; the softmax is computed in float32.

    Args:
        blocked: (3, rows, K) queries, keys, values.
        blocks: Where they are.
        scale: Factor of the scores.
        window: Tokens at this distance or more do not see each other; None = all do.

    Returns:
        (rows, K) outputs, and the weights (n H, L, L) of each block for `attend_backward`.
    """
    output = torch.empty_like(blocked[0])
    weights = []
    for block in blocks:
        query, key, value = _matrices(blocked, block)
        scores = torch.bmm(query, key.transpose(1, 2)).mul_(scale)  # (n H, L, L)
        _mask(scores, block, window)
        weight = _softmax(scores)
        torch.bmm(weight, value, out=_matrix(output, block))
        weights.append(weight)
    return output, weights


def attend_backward(d_output: Tensor, blocked: Tensor, weights: list[Tensor], blocks: Blocks, scale: float) -> Tensor:
    """Gradient (3, rows, K) of the queries, keys and values from that of the outputs (rows, K), which is changed."""
    d_output.index_fill_(0, blocks.padding_rows, 0)
    gradient = torch.empty_like(blocked)
    for block, weight in zip(blocks, weights, strict=True):
        query, key, value = _matrices(blocked, block)
        d_query, d_key, d_value = _matrices(gradient, block)
        d_out = _matrix(d_output, block)
        torch.bmm(weight.transpose(1, 2), d_out, out=d_value)
        d_weight = torch.bmm(d_out, value.transpose(1, 2))
        d_scores = _softmax_backward(d_weight, weight).mul_(scale)
        torch.bmm(d_scores, key, out=d_query)
        torch.bmm(d_scores.transpose(1, 2), query, out=d_key)
    return gradient


def seen(length: int, prefix: Tensor) -> Tensor:
    """Which token (last) each token of N sentences sees (N, L, L): itself, those before it, the first `prefix` (N,).

    A prefix of 0 is causal attention, one of all tokens attention in both directions, and one between them that of a
    prefix language model (arXiv 1905.03197) or of blank infilling (GLM, arXiv 2103.10360).
    """
    place = torch.arange(length, device=prefix.device)
    return (place <= place[:, None]) | (place < prefix[:, None])[:, None]


def _rounded(lengths: Tensor) -> Tensor:
    """(N,) lengths, rounded up to multiples of a quarter of the power of two below them."""
    below = 2 ** torch.log2(lengths.clamp(min=_LEAST).double()).floor().long()
    step = below // _STEPS
    return ((lengths + step - 1) // step * step).clamp(min=_LEAST)


def _short_runs(lengths: Tensor, length: int) -> tuple[tuple[int, int, int], ...]:
    """Runs (first, last, tokens) of sentences (n,) that are shorter than their block."""
    values, counts = lengths.unique_consecutive(return_counts=True)
    stops = counts.cumsum(0)
    runs = zip((stops - counts).tolist(), stops.tolist(), values.tolist(), strict=True)
    return tuple(run for run in runs if run[2] < length)


def _softmax(scores: Tensor) -> Tensor:
    """Softmax (..., L) by float32 arithmetic, in the type of the scores.

    torch's kernel for bfloat16 does that too, but what does not fill a vector register it computes number by number.
    """
    if scores.dtype == torch.bfloat16 and scores.shape[-1] % _LANES:
        return torch.softmax(scores, dim=-1, dtype=torch.float32).to(scores.dtype)
    return torch.softmax(scores, dim=-1)


def _softmax_backward(gradient: Tensor, weight: Tensor) -> Tensor:
    """Gradient (..., L) of the scores from that of the weights."""
    kind = weight.dtype
    if kind == torch.bfloat16 and weight.shape[-1] < _LANES:
        gradient, weight = gradient.float(), weight.float()
    return torch.ops.aten._softmax_backward_data(gradient, weight, -1, weight.dtype).to(kind)


def _matrix(blocked: Tensor, block: Block) -> Tensor:
    """(rows, K) -> (n H, L, K) of one block, a view."""
    sentences, heads, length = block.shape
    return blocked[block.rows].view(sentences * heads, length, -1)


def _matrices(blocked: Tensor, block: Block) -> tuple[Tensor, Tensor, Tensor]:
    return _matrix(blocked[0], block), _matrix(blocked[1], block), _matrix(blocked[2], block)


def _mask(scores: Tensor, block: Block, window: int | None) -> None:
    """Write -inf where a token does not see another. Some narrow fills cost less than one pass with a mask."""
    sentences, heads, length = block.shape
    by_sentence = scores.view(sentences, heads, length, length)
    if block.prefix is not None:
        by_sentence.masked_fill_(~seen(length, block.prefix)[:, None], -torch.inf)
    if window is not None and length > window:
        place = torch.arange(length, device=scores.device)
        by_sentence.masked_fill_((place[:, None] - place).abs() >= window, -torch.inf)
    for first, last, tokens in block.padding:
        by_sentence[first:last, ..., tokens:] = -torch.inf
        if window is not None:  # else a padded query may see nothing, and a row of nothing but -inf is NaN
            by_sentence[first:last, :, tokens:, 0] = 0
