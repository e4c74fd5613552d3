"""What every family of backbones answers. `_encoder`, `_decoder` and `_seq2seq` are the three kinds that there are."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from torch import nn
from transformers import PreTrainedConfig, PreTrainedModel

from mlcl.model.heads import LMHead

Term = Literal["masked", "causal", "spans", "infilling"]


@dataclass
class Parts:
    """A backbone and what predicts tokens on top of it.

    Attributes:
        backbone: The encoder; called with input_ids and attention_mask, it gives `last_hidden_state` (N, L, H).
        head: Head of the LM term.
        finish: Gives the head its trained weights, if it has yet to get them; called when the whole model has been
            initialised, which would overwrite a head of ours.
    """

    backbone: Any
    head: LMHead
    finish: Callable[[], object] | None = None


@dataclass(frozen=True, kw_only=True)
class Family(ABC):
    """A family of backbones.

    Attributes:
        model_types: Types in transformers' registry.
        first_position: Number of the first position of a sentence, from the configuration, where attention is all that
            lets a token see others, so that sentences can be packed; None = runs padded.
        pooling: The pooling that such a model is used with unless its user says otherwise.
        term: What the LM term predicts: `masked` tokens, the next one (`causal`; a run may ask for blank infilling in
            its place), hidden `spans`, or the whole text from one with spans replaced by masks (`infilling`).
        causal: Whether a token sees only itself and those before it.
        special_tokens: What a tokenizer that is trained for such a backbone needs beyond the usual special tokens.
        of_first_layer: Weights that the first layer has for all layers, by the start of their name in the layer.
    """

    model_types: tuple[str, ...] = ()
    first_position: Callable[[PreTrainedConfig], int] | None = None
    special_tokens: tuple[str, ...] = ()
    of_first_layer: tuple[str, ...] = ()
    pooling: ClassVar[str] = "mean"
    term: Term
    causal: ClassVar[bool] = False
    call_options: ClassVar[dict[str, Any]] = {}

    @abstractmethod
    def fresh(self, config: PreTrainedConfig, attention: str | None, *, tied: bool | None = None) -> Parts:
        """New weights from a configuration.

        Args:
            config: Of the backbone.
            attention: Attention implementation; None = the library's choice.
            tied: Whether the output matrix is the token embedding; None = as the configuration says.
        """

    @abstractmethod
    def load(self, name: str, config: PreTrainedConfig, attention: str | None, *, pooler: bool) -> Parts:
        """The weights of a checkpoint, in float32. `pooler` asks for the backbone's own trained pooler."""

    @abstractmethod
    def whole(self, backbone: PreTrainedModel, head: Any) -> PreTrainedModel:
        """The language model of transformers with (copies of) these weights."""

    def saved(self, config: PreTrainedConfig) -> dict[str, Any]:
        """The configuration as plain values from which `AutoConfig.for_model` makes an equal one."""
        return {**config.to_diff_dict(), "model_type": config.model_type}

    def adapted(self, backbone: nn.Module, head: nn.Module) -> dict[str, nn.Module]:
        """Parts of the model that LoRA adapters belong in, by their name in `MLCModel`."""
        return {"backbone": backbone}

    def library_settings(self) -> dict[str, Any]:
        """What `sentence_bert_config.json` says beyond the usual, so that sentence-transformers runs the encoder."""
        return {}

    def library_keys(self) -> dict[str, str]:
        """Prefixes (regular expressions) of our weights -> prefixes that sentence-transformers' model has for them."""
        return {r"^backbone\.": ""}


def output_matrix(model: Any, tied: bool | None) -> nn.Parameter | None:
    """The output matrix of a language model of transformers; None where it is the token embedding."""
    output, embedding = model.get_output_embeddings().weight, model.get_input_embeddings().weight
    if tied is None:
        tied = output is embedding
    return None if tied else nn.Parameter(output.detach().clone()) if output is embedding else output


@torch.no_grad()
def load_vocabulary(model: Any, backbone: Any, head: LMHead) -> None:
    """Give a language model of transformers our token embedding and output matrix."""
    embedding = backbone.get_input_embeddings().weight
    model.get_input_embeddings().weight.copy_(embedding)
    if head.weight is None:
        model.tie_weights()
    elif model.get_output_embeddings().weight is model.get_input_embeddings().weight:
        model.get_output_embeddings().weight = nn.Parameter(head.weight.clone())
    else:
        model.get_output_embeddings().weight.copy_(head.weight)
