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

import torch.nn.functional as F
from torch import Tensor, nn
from transformers.utils import ModelOutput

from mlcl.core.shapes import round_up
from mlcl.model.model import MLCModel, MLCOutput
from mlcl.model.packing import Packed
from mlcl.objectives import masked_lm_loss

_MASKED_COUNTS = 8  # numbers of masked positions between powers of two, see core/shapes.py


@dataclass
class Encoded(ModelOutput):
    """What a step needs of the encoder.

    Attributes:
        embeddings: (N, D) sentence vectors in packed order, not normalised.
        lm_sum: Scalar, cross-entropy summed over the masked tokens; None without an LM term.
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
        masked: (P,) positions in the stream that the LM term predicts; P may be 0, the head then gets zero gradients
            (all ranks need gradients for the same parameters). None = no LM term.
        labels: (P,) token ids at these positions.
    """
    return model(step=_Inputs(packed, masked, labels))


def attach(model: MLCModel) -> None:
    """Prepare a model for `encode`; before it is wrapped."""

    def unpack(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        inputs = kwargs.get("step")
        if inputs is None:
            return None
        return (inputs.packed.input_ids,), {"lengths": inputs.packed.lengths, "step": inputs}

    def finish(module: MLCModel, args: tuple[Any, ...], kwargs: dict[str, Any], output: MLCOutput) -> Encoded | None:
        inputs = kwargs.get("step")
        if inputs is None or isinstance(output, Encoded):  # attached twice: by a second trainer
            return None
        if inputs.masked is None or inputs.labels is None:
            return Encoded(embeddings=output.embeddings)
        assert output.last_hidden_state is not None
        lm_sum = _lm_sum(module, output.last_hidden_state, inputs.masked, inputs.labels)
        return Encoded(embeddings=output.embeddings, lm_sum=lm_sum)

    model.register_forward_pre_hook(unpack, with_kwargs=True)
    model.register_forward_hook(finish, with_kwargs=True)  # type: ignore[arg-type]


def _lm_sum(model: MLCModel, hidden: Tensor, masked: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy summed over P masked positions of the states (T, H)."""
    room = round_up(len(masked), _MASKED_COUNTS) - len(masked)
    chosen = F.pad(masked, (0, room)) if len(masked) else masked
    states = model.lm_head(hidden[chosen])  # (P, H): only masked positions reach the head
    weight, bias = model.get_input_embeddings().weight, model.lm_head.bias
    if not len(masked):
        return F.linear(states, weight, bias).float().sum()  # an empty sum with gradients
    return masked_lm_loss(states[: len(masked)], weight, labels, bias) * len(masked)
