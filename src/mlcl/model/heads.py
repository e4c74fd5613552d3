"""Heads of the language-model term on top of the token states.

In: the states (T, H) of a packed stream and the places that the term predicts. Out: the states (P, H) that the output
matrix scores, for `masked_lm_loss(states, weight, labels, bias)`. Only predicted places reach the head.
"""

from __future__ import annotations

import copy
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mlcl.core.shapes import round_up

_PREDICTED_COUNTS = 8  # numbers of predicted places between powers of two, see core/shapes.py


class LMHead(nn.Module):
    """What every head answers.

    Attributes:
        weight: (V, H) output matrix; None = the token embedding.
        bias: (V,) added to the logits; None = none.
        scale: Factor of the states before the output matrix.
    """

    weight: nn.Parameter | None
    bias: Tensor | None
    scale: float = 1.0

    def states(self, backbone: Any, hidden: Tensor, lengths: Tensor, places: Tensor, labels: Tensor) -> Tensor:
        """States (P, H) that predict the labels; P = 0 gives none of them, with a graph to every weight of the head.

        Args:
            backbone: The encoder below.
            hidden: (T, H) states of the stream.
            lengths: (N,) tokens of its sentences.
            places: (P,) where in the stream each label belongs, ascending.
            labels: (P,) token ids.
        """
        room = round_up(len(places), _PREDICTED_COUNTS) - len(places)
        chosen = F.pad(places, (0, room)) if len(places) else places
        return self(hidden[chosen])[: len(places)]

    def transform(self) -> nn.Module | None:
        """A copy of the layers from a state of the encoder (T, H) to the output matrix's (T, H); None = no such."""
        return None

    @torch.no_grad()
    def keep_rows(self, rows: Tensor) -> None:
        """Keep these rows of the vocabulary, in this order."""
        if self.weight is not None:
            self.weight = nn.Parameter(self.weight[rows].clone())
        if isinstance(self.bias, nn.Parameter):
            self.bias = nn.Parameter(self.bias[rows].clone())
        elif self.bias is not None:
            self.bias = self.bias[rows].clone()


class MaskedLMHead(LMHead):
    """Dense, GELU, norm and an output bias; the output matrix is the input embedding itself (tied by sharing).

    `forward` maps states (T, H) to states (T, H) for `masked_lm_loss(hidden, embedding_weight, labels, head.bias)`.
    """

    bias: nn.Parameter

    def __init__(self, hidden_size: int, vocab_size: int, layer_norm_eps: float = 1e-5) -> None:
        super().__init__()
        self.register_parameter("weight", None)
        self.dense = nn.Linear(hidden_size, hidden_size)
        self.layer_norm = nn.LayerNorm(hidden_size, eps=layer_norm_eps)
        self.bias = nn.Parameter(Tensor(vocab_size).zero_())

    def forward(self, hidden: Tensor) -> Tensor:
        """States (T, H) -> states (T, H)."""
        return self.layer_norm(F.gelu(self.dense(hidden)))

    def transform(self) -> nn.Module:
        """See `LMHead`."""
        return copy.deepcopy(nn.Sequential(self.dense, nn.GELU(), self.layer_norm))

    def load_from(self, masked_lm: Any) -> bool:
        """Copy the trained head of a Hugging Face masked language model; False where it has another shape."""
        parts = _masked_lm_parts(masked_lm)
        if parts is None or parts[2].shape != self.bias.shape:
            return False
        dense, norm, bias = parts
        self.dense.load_state_dict(dense.state_dict())
        self.layer_norm.load_state_dict(norm.state_dict())
        self.bias.data.copy_(bias.data)
        return True

    def copy_to(self, masked_lm: Any) -> bool:
        """Write this head into a Hugging Face masked language model; False where that has another shape."""
        parts = _masked_lm_parts(masked_lm)
        if parts is None or parts[2].shape != self.bias.shape:
            return False
        dense, norm, bias = parts
        dense.load_state_dict(self.dense.state_dict())
        norm.load_state_dict(self.layer_norm.state_dict())
        bias.data.copy_(self.bias.data)
        return True


class CausalLMHead(LMHead):
    """The output matrix of a decoder: the token embedding, or one of its own."""

    def __init__(self, weight: nn.Parameter | None) -> None:
        super().__init__()
        self.register_parameter("weight", weight)
        self.register_parameter("bias", None)

    def forward(self, hidden: Tensor) -> Tensor:
        """States (T, H) as they are: a decoder's last norm belongs to its body."""
        return hidden


class Seq2SeqHead(LMHead):
    """The decoder of an encoder-decoder model: it writes the labels of a sentence down, reading the encoder's states.

    All labels of a sentence belong to the same place, the sentence's first token; in their order they are what the
    decoder writes. So they are all that a batch has to carry: the decoder's input is the labels, one to the right.

    Args:
        decoder: Decoder of a Hugging Face model, without its token embedding, which is the encoder's.
        weight: (V, H) output matrix; None = the token embedding.
        bias: (V,) added to the logits, never trained; None = none.
        scale: Factor of the decoder's states before the output matrix.
        start: Token id that decoding starts with; None = the last label, as mBART has it (there, the language).
    """

    def __init__(
        self, decoder: Any, weight: nn.Parameter | None, bias: Tensor | None, scale: float, start: int | None
    ) -> None:
        super().__init__()
        self.decoder, self.scale, self.start = decoder, scale, start
        self.register_parameter("weight", weight)
        self.register_buffer("bias", bias)

    def states(self, backbone: Any, hidden: Tensor, lengths: Tensor, places: Tensor, labels: Tensor) -> Tensor:
        """See `LMHead`."""
        lengths = lengths.to(hidden.device)
        stops = lengths.cumsum(0)
        if len(places):
            first, written = places.unique_consecutive(return_counts=True)
            sentences = torch.searchsorted(stops, first, right=True)  # (K,)
        else:  # one token of the first sentence, to be thrown away
            sentences, written, labels = stops.new_zeros(1), stops.new_ones(1), labels.new_zeros(1)
        sizes = lengths[sentences]
        reading = _mask(sizes)  # (K, L)
        source = (stops - lengths)[sentences][:, None] + torch.arange(reading.shape[1], device=hidden.device)
        memory = hidden[source.where(reading, 0)]  # (K, L, H)
        writing = _mask(written)  # (K, M)
        targets = labels.new_zeros(writing.shape)
        targets[writing] = labels
        last = targets.gather(1, written[:, None] - 1) if self.start is None else targets.new_full((1, 1), self.start)
        shifted = torch.cat([last.expand(len(targets), 1), targets[:, :-1]], dim=1)
        states = self.decoder(
            inputs_embeds=backbone.get_input_embeddings()(shifted),
            attention_mask=writing.long(),
            encoder_hidden_states=memory,
            encoder_attention_mask=reading.long(),
            use_cache=False,
        ).last_hidden_state
        return states[writing][: len(places)] * self.scale


def _mask(sizes: Tensor) -> Tensor:
    """(K,) sizes -> (K, L) whether a place is filled."""
    return torch.arange(int(sizes.max()), device=sizes.device) < sizes[:, None]


def _masked_lm_parts(masked_lm: Any) -> tuple[nn.Module, nn.Module, Tensor] | None:
    """Dense layer, norm and output bias of a masked LM of transformers; None where it has others, or lacks biases."""
    head = getattr(masked_lm, "lm_head", None)  # RoBERTa, XLM-R
    if head is not None and hasattr(head, "dense") and hasattr(head, "layer_norm"):
        dense, norm, bias = head.dense, head.layer_norm, head.bias
    elif hasattr(masked_lm, "cls") and hasattr(masked_lm.cls, "predictions"):  # BERT
        predictions = masked_lm.cls.predictions
        dense, norm, bias = predictions.transform.dense, predictions.transform.LayerNorm, predictions.bias
    else:
        return None
    return None if bias is None else (dense, norm, bias)
