"""Decoder-only language models as sentence encoders: causal attention, the next token as their LM term.

A sentence's vector is the state of its last token, which has seen all others (as in E5-Mistral, arXiv 2401.00368), or a
mean. With `MLCConfig.bidirectional` the vectors come from attention in both directions while the LM term stays causal,
as in GritLM (arXiv 2402.09906): the model keeps generating. A share of the term's inputs may be blank infilling instead
(GLM, arXiv 2103.10360; `training.corruption.Blanks`).
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from transformers import AutoModelForCausalLM, PreTrainedConfig, PreTrainedModel

from mlcl.model.backbones._family import Family, Parts, Term, load_vocabulary, output_matrix
from mlcl.model.heads import CausalLMHead


@dataclass(frozen=True, kw_only=True)
class Decoder(Family):
    """A family of decoders with rotary positions, which count from 0."""

    term: Term = "causal"
    pooling: ClassVar[str] = "last"
    causal: ClassVar[bool] = True
    call_options: ClassVar[dict[str, Any]] = {"use_cache": False}

    def fresh(self, config: PreTrainedConfig, attention: str | None, *, tied: bool | None = None) -> Parts:
        """See `Family`."""
        return _parts(AutoModelForCausalLM.from_config(config, attn_implementation=attention), tied)

    def load(self, name: str, config: PreTrainedConfig, attention: str | None, *, pooler: bool) -> Parts:
        """See `Family`."""
        options = {"config": config, "attn_implementation": attention, "dtype": torch.float32}
        return _parts(AutoModelForCausalLM.from_pretrained(name, **options), None)

    def whole(self, backbone: PreTrainedModel, head: CausalLMHead) -> PreTrainedModel:
        """See `Family`. It generates, so its attention is causal whatever that of the vectors is."""
        config = copy.deepcopy(backbone.config)
        if hasattr(config, "is_causal"):
            del config.is_causal
        model = AutoModelForCausalLM.from_config(config, attn_implementation="sdpa")
        model.base_model.load_state_dict(backbone.state_dict())
        load_vocabulary(model, backbone, head)
        return model


def _parts(model: PreTrainedModel, tied: bool | None) -> Parts:
    """The body, and the output matrix where it is not the token embedding."""
    return Parts(model.base_model, CausalLMHead(output_matrix(model, tied)))
