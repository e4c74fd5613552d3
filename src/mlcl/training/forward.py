"""The online encoder in a training step: a packed batch in, embeddings and the LM term out, in one `forward`.

DDP and FSDP2 act on `forward`. DDP looks for the parameters in use in its outputs, and FSDP2 has the weights gathered
only while it runs; the LM term needs the embedding matrix a second time, outside of the embedding layer. So the term is
computed inside, by hooks, whatever wraps the model:

    attach(model)
    encoded = encode(wrapped_model, packed, masked, labels)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers.utils import ModelOutput

from mlcl.model.model import MLCModel, MLCOutput
from mlcl.model.packing import Packed
from mlcl.objectives import masked_lm_loss


@dataclass
class Encoded(ModelOutput):
    """What a step needs of the encoder.

    Attributes:
        embeddings: (N, D) sentence vectors in packed order, not normalised.
        lm_sum: Scalar, cross-entropy summed over the predicted tokens; None without an LM term.
    """

    embeddings: Tensor | None = None
    lm_sum: Tensor | None = None


@dataclass(frozen=True)
class _Inputs:
    """Inputs as wrappers should leave them: DDP and FSDP2 would copy the lengths, which steer the host, to the GPU."""

    packed: Packed
    masked: Tensor | None
    labels: Tensor | None


def encode(model: nn.Module, packed: Packed, masked: Tensor | None = None, labels: Tensor | None = None) -> Encoded:
    """Encode a packed batch with a model that `attach` has prepared, wrapped or not.

    Args:
        model: The model.
        packed: N sentences.
        masked: (P,) positions in the stream that the labels belong to; P may be 0, the head then gets zero gradients
            (all ranks need gradients for the same parameters). None = no LM term.
        labels: (P,) token ids that are predicted.
    """
    return model(step=_Inputs(packed, masked, labels))


def attach(model: MLCModel) -> None:
    """Prepare a model for `encode`; before it is wrapped."""

    def unpack(module: MLCModel, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        inputs = kwargs.get("step")
        if inputs is None:
            return None
        options = {"lengths": inputs.packed.lengths, "step": inputs}
        if module.family.causal and inputs.masked is not None:
            both = module.config.bidirectional
            options["prefix"] = _prefix(inputs.packed.lengths, inputs.masked, both_directions=both)
        return (inputs.packed.input_ids,), options

    def finish(module: MLCModel, args: tuple[Any, ...], kwargs: dict[str, Any], output: MLCOutput) -> Encoded | None:
        inputs = kwargs.get("step")
        if inputs is None or isinstance(output, Encoded):  # attached twice: by a second trainer
            return None
        if inputs.masked is None or inputs.labels is None:
            return Encoded(embeddings=output.embeddings)
        assert output.last_hidden_state is not None
        lm_sum = _lm_sum(module, output.last_hidden_state, inputs.packed.lengths, inputs.masked, inputs.labels)
        return Encoded(embeddings=output.embeddings, lm_sum=lm_sum)

    model.register_forward_pre_hook(unpack, with_kwargs=True)  # type: ignore[arg-type]
    model.register_forward_hook(finish, with_kwargs=True)  # type: ignore[arg-type]


def _prefix(lengths: Tensor, masked: Tensor, *, both_directions: bool) -> Tensor:
    """(N,) tokens at the start of each sentence of a stream that all of it sees.

    A sentence of the LM term is read in both directions up to its first predicted place and causally from there. So no
    label is seen by the place that predicts it: with the next token as label all of the sentence is causal, with blanks
    the part that writes them. Other sentences are read as the model reads texts.

    Args:
        lengths: (N,) tokens of each sentence.
        masked: (P,) places in the stream that the labels belong to, ascending.
        both_directions: How the model reads texts.
    """
    prefix = lengths.clone() if both_directions else torch.zeros_like(lengths)
    stops, places = lengths.cumsum(0), masked.cpu()
    sentences = torch.searchsorted(stops, places, right=True)  # (P,)
    first = sentences.diff(prepend=sentences.new_tensor([-1])) > 0
    prefix[sentences[first]] = places[first] - (stops - lengths)[sentences[first]]
    return prefix


def _lm_sum(model: MLCModel, hidden: Tensor, lengths: Tensor, masked: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy summed over P labels of the states (T, H)."""
    head = model.lm_head
    states = head.states(model.backbone, hidden, lengths, masked, labels)  # (P, H)
    weight = model.output_matrix
    if not len(masked):
        return F.linear(states, weight, head.bias).float().sum()  # an empty sum with gradients
    return masked_lm_loss(states, weight, labels, head.bias) * len(masked)
