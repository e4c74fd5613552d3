"""Encoder-only backbones (BERT and its descendants): bidirectional, with a masked-LM head."""

from __future__ import annotations

import warnings
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import torch
from transformers import AutoModel, AutoModelForMaskedLM, PreTrainedConfig, PreTrainedModel

from mlcl.core.errors import UserError
from mlcl.model.backbones._family import Family, Parts, Term
from mlcl.model.heads import MaskedLMHead


@dataclass(frozen=True, kw_only=True)
class Encoder(Family):
    """A family of encoders."""

    term: Term = "masked"

    def fresh(self, config: PreTrainedConfig, attention: str | None, *, tied: bool | None = None) -> Parts:
        """See `Family`; the output matrix is always the token embedding."""
        backbone = AutoModel.from_config(config, attn_implementation=attention)
        return Parts(backbone, _head(backbone))

    def load(self, name: str, config: PreTrainedConfig, attention: str | None, *, pooler: bool) -> Parts:
        """See `Family`. Without a trained head in the checkpoint that of the term starts fresh."""
        options = {"config": config, "attn_implementation": attention, "dtype": torch.float32}
        masked_lm = None
        if any("MaskedLM" in architecture for architecture in config.architectures or []):
            with suppress(ValueError):  # no masked LM class for this architecture: a fresh head will do
                masked_lm = AutoModelForMaskedLM.from_pretrained(name, **options)
        if masked_lm is not None and not pooler:
            return _with_head_of(masked_lm, masked_lm.base_model)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            backbone = AutoModel.from_pretrained(name, **options)
        return _with_head_of(masked_lm, backbone)

    def whole(self, backbone: PreTrainedModel, head: MaskedLMHead) -> PreTrainedModel:
        """See `Family`.

        Raises:
            UserError: transformers has no masked LM with such a head for this architecture.
        """
        try:
            model = AutoModelForMaskedLM.from_config(backbone.config)
        except ValueError:
            model = None
        if model is None or not head.copy_to(model):
            raise UserError(
                f"transformers has no masked LM that a {backbone.config.model_type} with this head would fit"
            )
        model.base_model.load_state_dict(backbone.state_dict(), strict=False)  # it has no pooler
        model.tie_weights()
        return model


def _with_head_of(masked_lm: PreTrainedModel | None, backbone: Any) -> Parts:
    head = _head(backbone)
    return Parts(backbone, head, None if masked_lm is None else lambda: head.load_from(masked_lm))


def _head(backbone: Any) -> MaskedLMHead:
    config = backbone.config
    eps = getattr(config, "layer_norm_eps", 1e-5)
    return MaskedLMHead(config.hidden_size, backbone.get_input_embeddings().num_embeddings, eps)


OTHER = Encoder()
