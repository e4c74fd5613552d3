"""Cross-entropy of a linear layer over a large vocabulary, tile by tile: the (T, V) logits never exist.

In: states (T, D), output embeddings (V, D), labels (T,), a bias (V,). Out: the scalar mean. Plain torch, for any
device; beside the gradients memory is a few tiles. (The idea is that of cut cross-entropy, arXiv 2411.09009.)

The maths. With l_tv = h_t . w_v + b_v, the label y of t, and the sum over all other tokens

    others_t = log sum_{v != y} exp l_tv        loss_t = softplus(others_t - l_ty)

    d loss_t / d l_tv = exp(l_tv - l_ty - loss_t)  for v != y        d loss_t / d l_ty = -sigmoid(others_t - l_ty)

so that nothing is a difference from 1, which near convergence would be all rounding (as in blocked_info_nce.py).

The tiling. A tile holds exp(l_tv - l_ty) of some vocabulary entries for all t. The bias and the shift by l_ty are
columns of the product. The factor exp(-loss_t) of the backward goes to the narrow matrices, so the tile itself is made
by product, exponential and rounding alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from mlcl.objectives.kernels.precision import sum_dtype

_AREA = 1 << 19  # elements of a tile: with its copies it should stay in the cache of two cores
_ROWS = (256, 4096)  # fewest and most vocabulary entries of a tile
_ALIGNMENT = 32  # columns of a product are filled up to a multiple of this: what matrix units take in one go
_TOKENS = 64  # tokens are filled up to a multiple of this: a new number of them would be compiled for, core/shapes.py
_RANGE = 60.0  # nats by which others_t may exceed l_ty for float32's exponents to hold a tile


def linear_cross_entropy(
    hidden: Tensor, weight: Tensor, labels: Tensor, bias: Tensor | None, dtype: torch.dtype
) -> Tensor:
    """Mean of -log softmax(hidden weight^T + bias)[label].

    Args:
        hidden: (T, D) states, T > 0.
        weight: (V, D) output embeddings.
        labels: (T,) token ids, all of them in [0, V).
        bias: (V,) or None.
        dtype: Type of the products.

    Returns:
        Scalar in float32 (float64 for float64 products).
    """
    with torch.autocast(hidden.device.type, enabled=False):  # it would round the sums as well
        return _LinearCrossEntropy.apply(hidden, weight, bias, labels, dtype)


class _LinearCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, hidden: Tensor, weight: Tensor, bias: Tensor | None, labels: Tensor, dtype: torch.dtype
    ) -> Tensor:
        exact = sum_dtype(dtype)
        own = (hidden.to(exact) * weight[labels].to(exact)).sum(1)  # (T,) l_ty
        if bias is not None:
            own = own + bias[labels].to(exact)
        tiles = _Tiles(hidden, weight, bias, labels, own, dtype)
        others = tiles.log_sum_exp()
        if not bool((others - own < _RANGE).all()):  # some logit is far above the label's: shift by the largest
            tiles = _Tiles(hidden, weight, bias, labels, tiles.largest(), dtype)
            others = tiles.log_sum_exp()
        losses = torch.logaddexp(others - own, torch.zeros_like(own))  # (T,)
        ctx.save_for_backward(hidden, weight, bias, labels, tiles.requested_shift, own, losses, others)
        ctx.dtype = dtype
        return losses.mean()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        hidden, weight, bias, labels, shift, own, losses, others = ctx.saved_tensors
        tiles = _Tiles(hidden, weight, bias, labels, shift, ctx.dtype)
        each = gradients[0] / len(hidden)
        factor = each * (tiles.shift - own - losses).exp()  # (T,) turns a tile into the gradient of the logits
        of_label = -each * torch.sigmoid(others - own)  # (T,) the same for the label's own logit
        scaled = torch.zeros_like(tiles.states)  # (T, P): the columns after D gather the bias' gradient
        scaled[: tiles.tokens] = tiles.states[: tiles.tokens] * factor[:, None]
        d_hidden = torch.zeros(tiles.states.shape, dtype=tiles.shift.dtype, device=hidden.device)
        _, for_weight, for_bias, _, _ = ctx.needs_input_grad
        d_weight = torch.empty_like(weight, dtype=tiles.shift.dtype) if for_weight else None
        d_bias = torch.empty_like(bias, dtype=tiles.shift.dtype) if for_bias else None
        width = hidden.shape[1]
        for entries, wide, values in tiles.exponentials():
            tile = values if values.dtype == ctx.dtype else tiles.product(len(values)).copy_(values)
            if d_weight is not None:
                d_wide = tile @ scaled  # (entries, P)
                d_weight[entries] = d_wide[:, :width]
                if d_bias is not None:
                    d_bias[entries] = d_wide[:, width]
            elif d_bias is not None:
                d_bias[entries] = (tile @ scaled[:, width, None])[:, 0].to(d_bias.dtype)
            d_hidden += tile.T @ wide
        d_hidden = d_hidden[: tiles.tokens, :width] * factor[:, None]
        d_hidden.addcmul_(of_label[:, None], weight[labels].to(d_hidden.dtype))
        if d_weight is not None:
            d_weight.index_add_(0, labels, of_label[:, None] * hidden.to(d_weight.dtype))
        if d_bias is not None:
            d_bias.index_add_(0, labels, of_label)
        return (
            d_hidden.to(hidden.dtype),
            None if d_weight is None else d_weight.to(weight.dtype),
            None if d_bias is None else d_bias.to(bias.dtype),
            None,
            None,
        )


class _Tiles:
    """All tiles of one problem, in buffers that each tile uses again. T is filled up to some more than `tokens`."""

    def __init__(
        self, hidden: Tensor, weight: Tensor, bias: Tensor | None, labels: Tensor, shift: Tensor, dtype: torch.dtype
    ) -> None:
        tokens, width = hidden.shape
        kind = sum_dtype(dtype)
        self.weight, self.bias, self.requested_shift = weight, bias, shift
        rounded = shift.to(dtype)
        self.shift = rounded.to(kind)  # what the product really subtracts
        padded = -(-(width + 2) // _ALIGNMENT) * _ALIGNMENT
        self.tokens, room = tokens, -(-tokens // _TOKENS) * _TOKENS
        self.states = torch.zeros(room, padded, dtype=dtype, device=hidden.device)  # (T, P): state, 1, -shift
        real = self.states[:tokens]
        real[:, :width], real[:, width], real[:, width + 1] = hidden, 1, -rounded
        rows = min(len(weight), max(_ROWS[0], min(_ROWS[1], _AREA // room)))
        self._wide = torch.zeros(rows, padded, dtype=dtype, device=hidden.device)  # (rows, P): embedding, bias, 1
        self._wide[:, width + 1] = 1
        self._product = torch.empty(rows, room, dtype=dtype, device=hidden.device)
        self._work = self._product if kind == dtype else torch.empty_like(self._product, dtype=kind)
        self._labels, self._token = labels.sort()
        starts = torch.arange(0, len(weight), rows, device=labels.device)
        self._first = torch.searchsorted(self._labels, starts).tolist() + [tokens]

    def product(self, rows: int) -> Tensor:
        """(rows, T) buffer in the type of the products."""
        return self._product[:rows]

    def logits(self) -> Iterator[tuple[slice, Tensor, Tensor]]:
        """Vocabulary entries, their widened embeddings (rows, P), l_tv - shift_t (rows, T); -inf for the label."""
        width = self.weight.shape[1]
        for number, start in enumerate(range(0, len(self.weight), len(self._wide))):
            entries = slice(start, min(start + len(self._wide), len(self.weight)))
            rows = entries.stop - start
            wide, product = self._wide[:rows], self.product(rows)
            wide[:, :width] = self.weight[entries]
            if self.bias is not None:
                wide[:, width] = self.bias[entries]
            torch.mm(wide, self.states.T, out=product)
            values = product if self._work is self._product else self._work[:rows].copy_(product)
            here = slice(self._first[number], self._first[number + 1])
            values[self._labels[here] - start, self._token[here]] = -torch.inf
            yield entries, wide, values

    def exponentials(self) -> Iterator[tuple[slice, Tensor, Tensor]]:
        """The same with exp(l_tv - shift_t), 0 for the label."""
        for entries, wide, values in self.logits():
            yield entries, wide, values.exp_()

    def log_sum_exp(self) -> Tensor:
        """(T,) over all entries but the label."""
        sums = torch.zeros_like(self.shift)
        for _, _, values in self.exponentials():
            sums += values.sum(0)[: self.tokens]
        return sums.log() + self.shift

    def largest(self) -> Tensor:
        """(T,) largest logit of all entries but the label; the present shift where there is no other."""
        largest = torch.full_like(self.shift, -torch.inf)
        for _, _, values in self.logits():
            torch.maximum(largest, values.amax(0)[: self.tokens], out=largest)
        return self.shift + largest.where(largest > -torch.inf, 0)
