"""Encoder-decoder models: the encoder makes the sentence vectors, the decoder serves the LM term and stays trained."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoModelForSeq2SeqLM, PreTrainedConfig, PreTrainedModel

from mlcl.model.backbones._family import Family, Parts, load_vocabulary, output_matrix
from mlcl.model.heads import Seq2SeqHead


@dataclass(frozen=True, kw_only=True)
class Seq2Seq(Family):
    """A family of encoder-decoder models, which run padded.

    Attributes:
        start: Token id that decoding starts with, from the configuration; None = as `Seq2SeqHead` says.
        scale: Factor of the decoder's states before the output matrix, from the configuration.
        library: See `library_settings`.
        decoder_keys: Whether sentence-transformers loads the decoder as well, so that its weights must be found.
    """

    start: Callable[[PreTrainedConfig], int | None]
    scale: Callable[[PreTrainedConfig], float] = lambda config: 1.0
    library: Callable[[], dict[str, Any]] = dict
    decoder_keys: bool = False

    def fresh(self, config: PreTrainedConfig, attention: str | None, *, tied: bool | None = None) -> Parts:
        """See `Family`."""
        return self._parts(AutoModelForSeq2SeqLM.from_config(config, attn_implementation=attention), tied)

    def load(self, name: str, config: PreTrainedConfig, attention: str | None, *, pooler: bool) -> Parts:
        """See `Family`."""
        options = {"config": config, "attn_implementation": attention, "dtype": torch.float32}
        return self._parts(AutoModelForSeq2SeqLM.from_pretrained(name, **options), None)

    def whole(self, backbone: PreTrainedModel, head: Seq2SeqHead) -> PreTrainedModel:
        """See `Family`."""
        config = copy.deepcopy(backbone.config)
        config.use_cache = True
        model: Any = AutoModelForSeq2SeqLM.from_config(config)
        model.get_encoder().load_state_dict(backbone.state_dict())
        model.get_decoder().load_state_dict(head.decoder.state_dict(), strict=False)  # without its token embedding
        load_vocabulary(model, backbone, head)
        if head.bias is not None:
            model.final_logits_bias.copy_(head.bias)
        return model

    def adapted(self, backbone: nn.Module, head: nn.Module) -> dict[str, nn.Module]:
        """See `Family`."""
        return {"backbone": backbone, "lm_head": head}

    def library_settings(self) -> dict[str, Any]:
        """See `Family`."""
        return self.library()

    def library_keys(self) -> dict[str, str]:
        """See `Family`."""
        return {r"^backbone\.": "encoder.", **({r"^lm_head\.decoder\.": "decoder."} if self.decoder_keys else {})}

    def _parts(self, model: Any, tied: bool | None) -> Parts:
        encoder, decoder, embedding = model.get_encoder(), model.get_decoder(), model.get_input_embeddings()
        encoder.set_input_embeddings(embedding)
        decoder.embed_tokens = None
        bias: Tensor | None = getattr(model, "final_logits_bias", None)
        head = Seq2SeqHead(
            decoder,
            output_matrix(model, tied),
            None if bias is None else bias[0].clone(),
            self.scale(model.config),
            self.start(model.config),
        )
        encoder.config = copy.deepcopy(model.config)  # that of the whole model, of which the saved folder speaks
        encoder.config.use_cache = False
        if head.start is not None:
            encoder.config.decoder_start_token_id = head.start
        return Parts(encoder, head)
