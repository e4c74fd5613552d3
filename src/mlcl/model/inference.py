"""The packed encoder for use on a CPU in bfloat16: the arithmetic of `MLCModel.forward_packed`, laid out for speed.

In: a loaded `MLCModel` of the BERT family (`supported` says which). Out: `InferenceEncoder`, which maps a packed stream
of token ids (T,) and lengths (N,) to sentence vectors (N, D) in float32.

One layer, with x (T, H) in bfloat16 and every product summed in float32:

    qkv = x Wqkv + b                          (T, 3H)   one product; 1/sqrt(K) is folded into the weights of q
    x   = norm(x + attend(qkv) Wo + b)        (T, H)    bias and residual are added inside the product
    x   = norm(x + gelu(x W1 + b) W2 + b)     (T, H)    GELU, bias and residual too

What makes it quicker than the same model in training (`packed_layers`): the weights are converted once and laid out in
the blocks that oneDNN multiplies, and attention, which has no backward to keep anything for, takes sentences of equal
length as they lie in the stream and pads only the few that do not fill a product of their own.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mlcl.core.hardware import cpu_has_bf16_products, cpu_multiplies_bf16
from mlcl.core.shapes import round_up
from mlcl.model.model import MLCModel
from mlcl.model.packing import equal_runs, positions
from mlcl.model.pooling import POOLINGS

TOKENS_PER_BATCH = 4096  # the widest activation, (T, 4H) in bf16, then stays near the caches
LEAST_COSINE = 0.9998  # to the float32 vectors, one text at a time
_TOKEN_COUNTS = 16  # lengths of a stream between powers of two, see core/shapes.py
_LEAST_HIDDEN = 128  # below it the products are too small for bfloat16 to gain anything
_BUCKET = 16  # sentences whose lengths fall into one bucket of this width may share a span; float32 lanes of AVX-512
_ALONE_FROM = 1024  # tokens from which a run of equal length is a span of its own
_FLASH_FROM = 64  # tokens of a sentence from which fused attention beats matmul + softmax
_FAMILIES = ("bert", "roberta", "xlm-roberta", "camembert")  # their layers have the same parts under the same names
_PROBE_LENGTHS = (2, 4, 8, 12, 16, 24, 32, 40)
# Activations that oneDNN applies inside a product: name in transformers -> name and algorithm of the fused operation.
_ACTIVATIONS = {
    "gelu": ("gelu", "none"),
    "gelu_new": ("gelu", "tanh"),
    "gelu_pytorch_tanh": ("gelu", "tanh"),
    "relu": ("relu", ""),
}


def supported(model: MLCModel) -> bool:
    """Whether `InferenceEncoder` computes this model: BERT family, absolute positions, an activation that is fused."""
    config = model.backbone.config
    return (
        config.model_type in _FAMILIES
        and model.supports_packing
        and cpu_has_bf16_products()
        and getattr(config, "hidden_act", None) in _ACTIVATIONS
        and getattr(config, "position_embedding_type", "absolute") in (None, "absolute")
        and not getattr(config, "is_decoder", False)
    )


def pays(model: MLCModel) -> bool:
    """Whether bfloat16 is quicker than float32 here: a CPU that multiplies it in hardware, products of some size."""
    return cpu_multiplies_bf16() and model.backbone.config.hidden_size >= _LEAST_HIDDEN


@torch.inference_mode()
def agreement(model: MLCModel, encoder: Callable[[Tensor, Tensor], Tensor]) -> float:
    """Smallest cosine between `encoder` and the float32 model over a few sentences of random tokens (fixed seed)."""
    lengths = torch.tensor([length for length in _PROBE_LENGTHS if length <= model.max_length] or [1])
    vocabulary = model.get_input_embeddings().num_embeddings
    ids = torch.randint(vocabulary, (int(lengths.sum()),), generator=torch.Generator().manual_seed(0))
    expected = model.forward_packed(ids, lengths).embeddings
    assert expected is not None
    return float(F.cosine_similarity(encoder(ids, lengths), expected, dim=-1).nan_to_num(-1.0).min())


class InferenceEncoder:
    """Sentence vectors from a packed stream, in bfloat16 on a CPU; see the top of this module.

    It shares the embedding table with the model that it was made from and keeps nothing else of its encoder, so that
    the float32 layers can be freed.

    Args:
        model: A model that is `supported`.
    """

    def __init__(self, model: MLCModel) -> None:
        backbone, config = model.backbone, model.backbone.config
        first = model._first_position or 0
        embeddings = backbone.embeddings
        self._words = embeddings.word_embeddings.weight.detach()  # (V, H) float32
        token_type = embeddings.token_type_embeddings.weight.detach()[0]
        self._positions = embeddings.position_embeddings.weight.detach()[first:] + token_type  # (P, H)
        self._norm = _Norm(embeddings.LayerNorm)
        self._layers = [_Layer(layer, config) for layer in backbone.encoder.layer]
        self._pooling = model.config.pooling
        self._pooler = backbone.pooler if self._pooling == "pooler" else None
        self._projection = model.projection

    @torch.inference_mode()
    def __call__(self, input_ids: Tensor, lengths: Tensor) -> Tensor:
        """Token ids (T,), sorted by length, and lengths (N,) -> vectors (N, D), float32, not normalised."""
        x = self._words.index_select(0, input_ids) + self._positions.index_select(0, positions(lengths))  # (T, H)
        x = self._norm(x).bfloat16()
        tokens = len(x)
        x = F.pad(x, (0, 0, 0, round_up(tokens, _TOKEN_COUNTS) - tokens))  # its end is not read, see core/shapes.py
        spans = plan_spans(lengths)
        for layer in self._layers[:-1]:
            x = layer.second_norm(layer(x, spans))
        last = self._layers[-1]
        return self._pool(last.second_norm(last(x, spans)[:tokens].float()), lengths)

    def _pool(self, hidden: Tensor, lengths: Tensor) -> Tensor:
        """Token states (T, H), float32 -> (N, D), as `MLCModel` does it."""
        if self._pooler is None:
            pooled = POOLINGS[self._pooling](hidden, lengths)
        else:
            pooled = self._pooler(POOLINGS["cls"](hidden, lengths)[:, None])
        return pooled if self._projection is None else self._projection(pooled)


class _Linear:
    """A product whose weights lie as oneDNN wants them, and what is done to its result before that is rounded."""

    def __init__(self, weight: Tensor, bias: Tensor) -> None:
        self.weight = torch.ops.mkldnn._reorder_linear_weight(weight.detach().bfloat16().contiguous(), TOKENS_PER_BATCH)
        self.bias = bias.detach().float()
        self._rounded_bias = self.bias.bfloat16()  # all that the operation with a residual takes

    def plain(self, x: Tensor) -> Tensor:
        """X W + b."""
        return torch.ops.mkldnn._linear_pointwise(x, self.weight, self.bias, "none", [], "")

    def activated(self, x: Tensor, name: str, algorithm: str) -> Tensor:
        """f(x W + b)."""
        return torch.ops.mkldnn._linear_pointwise(x, self.weight, self.bias, name, [], algorithm)

    def added(self, x: Tensor, residual: Tensor) -> Tensor:
        """Residual + x W + b."""
        return torch.ops.mkldnn._linear_pointwise.binary(x, residual, self.weight, self._rounded_bias, "add")


class _Norm:
    """LayerNorm with float32 parameters over bfloat16 or float32 states."""

    def __init__(self, norm: nn.LayerNorm) -> None:
        self.weight, self.bias, self.eps = norm.weight.detach(), norm.bias.detach(), norm.eps

    def __call__(self, x: Tensor) -> Tensor:
        return F.layer_norm(x, self.weight.shape, self.weight, self.bias, self.eps)


class _Layer:
    """One layer, without its last norm: (T, H) -> (T, H)."""

    def __init__(self, layer: Any, config: Any) -> None:
        attention = layer.attention
        self.heads = config.num_attention_heads
        query, key, value = (getattr(attention.self, name) for name in ("query", "key", "value"))
        scale = (config.hidden_size // self.heads) ** -0.5
        self.qkv = _Linear(
            torch.cat([query.weight * scale, key.weight, value.weight]),
            torch.cat([query.bias * scale, key.bias, value.bias]),
        )
        self.output = _Linear(attention.output.dense.weight, attention.output.dense.bias)
        self.first_norm = _Norm(attention.output.LayerNorm)
        self.up = _Linear(layer.intermediate.dense.weight, layer.intermediate.dense.bias)
        self.down = _Linear(layer.output.dense.weight, layer.output.dense.bias)
        self.second_norm = _Norm(layer.output.LayerNorm)
        self.activation = _ACTIVATIONS[config.hidden_act]

    def __call__(self, x: Tensor, spans: list[Span]) -> Tensor:
        context = attend(self.qkv.plain(x), spans, self.heads)  # (T, H)
        x = self.first_norm(self.output.added(context, x))
        return self.down.added(self.up.activated(x, *self.activation), x)


@dataclass(slots=True)
class Span:
    """Neighbouring sentences of a packed stream that attend in one batched product.

    Attributes:
        start: First token in the stream.
        stop: Token after the last.
        count: Sentences n.
        width: L, the length of each, or of the longest where they differ.
        rows: (n * L,) token of the span behind each place when all have L; None where nothing is padded.
        real: (stop - start,) place of each token when all have L; None where nothing is padded.
        padding: (first sentence, sentence after the last, length) of each run that is shorter than L.
    """

    start: int
    stop: int
    count: int
    width: int
    rows: Tensor | None = None
    real: Tensor | None = None
    padding: tuple[tuple[int, int, int], ...] = ()


def plan_spans(lengths: Tensor) -> list[Span]:
    """Spans of a stream of sentences of these lengths (N,), which need not be sorted.

    A long run of equal length is a span as it is. Short runs of similar length are padded to one span: a product per
    length costs more in calls than a few padded places cost in arithmetic. Only attention ever sees that padding.
    """
    groups: list[list[tuple[int, int, int]]] = []
    for run in equal_runs(lengths):
        start, count, length = run
        large = count * length >= _ALONE_FROM and length >= _BUCKET
        last = groups[-1][-1] if groups else None
        if last is None or large or last[1] * last[2] >= _ALONE_FROM or _bucket(last[2]) != _bucket(length):
            groups.append([run])
        else:
            groups[-1].append(run)
    return [_span(runs) for runs in groups]


def _bucket(length: int) -> int:
    return -(-length // _BUCKET)


def _span(runs: list[tuple[int, int, int]]) -> Span:
    """Runs (first token, sentences, length) as one span; narrower than a vector register is padded to that width."""
    start = runs[0][0]
    sizes = torch.cat([torch.full((count,), length) for _, count, length in runs])  # (n,)
    width = max(_BUCKET, int(sizes.max()))
    stop = start + int(sizes.sum())
    if int(sizes.min()) == width:
        return Span(start, stop, len(sizes), width)
    places = torch.arange(width)
    first = torch.cumsum(sizes, 0) - sizes  # within the span
    rows = (first[:, None] + torch.minimum(places, sizes[:, None] - 1)).flatten()  # padding repeats the last token
    real = (places < sizes[:, None]).flatten().nonzero()[:, 0]
    padding, sentence = [], 0
    for _, count, length in runs:
        if length < width:
            padding.append((sentence, sentence + count, length))
        sentence += count
    return Span(start, stop, len(sizes), width, rows, real, tuple(padding))


def attend(qkv: Tensor, spans: list[Span], heads: int) -> Tensor:
    """softmax(q k^T) v inside each sentence: (T, 3H) with q scaled already -> (T, H).

    The softmax is computed in float32. Its input has bfloat16's rounding where it comes from a product of its own.
    """
    hidden = qkv.shape[1] // 3
    context = qkv.new_empty(len(qkv), hidden)
    context[spans[-1].stop :] = 0
    for span in spans:
        stream = qkv[span.start : span.stop]
        if span.rows is not None:
            stream = stream.index_select(0, span.rows)
        q, k, v = stream.view(span.count, span.width, 3, heads, -1).permute(2, 0, 3, 1, 4)  # (n, heads, L, K) each
        if span.width >= _FLASH_FROM:
            bias = _hide_padding(qkv.new_zeros(span.count, 1, 1, span.width), span) if span.padding else None
            mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=bias, scale=1.0)
        else:
            scores = _hide_padding(torch.matmul(q, k.transpose(-1, -2)), span)  # (n, heads, L, L)
            mixed = torch.matmul(torch.softmax(scores, dim=-1, dtype=torch.float32).to(qkv.dtype), v)
        rows = mixed.transpose(1, 2)  # (n, L, heads, K)
        target = context[span.start : span.stop]
        if span.real is None:
            target.view(rows.shape).copy_(rows)
        else:
            torch.index_select(rows.reshape(-1, hidden), 0, span.real, out=target)
    return context


def _hide_padding(scores: Tensor, span: Span) -> Tensor:
    """-inf into the columns of padding, in place: (n, ., ., L). A few narrow fills cost less than adding a mask."""
    for first, last, length in span.padding:
        scores[first:last, ..., length:] = -torch.inf
    return scores
