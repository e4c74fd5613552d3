"""T5, mT5 and UMT5: spans of the text are replaced by sentinels, and the decoder writes them (arXiv 1910.10683)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from transformers import PreTrainedConfig

from mlcl.model.backbones._seq2seq import Seq2Seq

SENTINELS = 100  # the most spans of one text


@dataclass(frozen=True, kw_only=True)
class T5(Seq2Seq):
    """The T5 family."""

    def saved(self, config: PreTrainedConfig) -> dict[str, Any]:
        """See `Family`. T5 reads whether to scale the decoder's states from a key that it overwrites (T5 1.1: no)."""
        scaled = {"tie_word_embeddings": config.scale_decoder_outputs} if config.model_type == "t5" else {}
        return {**super().saved(config), **scaled}


def _start(config: PreTrainedConfig) -> int:
    start = getattr(config, "decoder_start_token_id", None)
    return (config.pad_token_id or 0) if start is None else start


def _scale(config: PreTrainedConfig) -> float:
    """As the model classes of transformers do it."""
    scaled = {"t5": "scale_decoder_outputs", "umt5": "tie_word_embeddings"}.get(config.model_type)
    return config.d_model**-0.5 if scaled is not None and getattr(config, scaled) else 1.0


FAMILY = T5(
    model_types=("t5", "mt5", "umt5"),
    term="spans",
    start=_start,
    scale=_scale,
    of_first_layer=("layer.0.SelfAttention.relative_attention_bias.",),  # of T5 and mT5; UMT5 has one in each layer
    special_tokens=tuple(f"<extra_id_{number}>" for number in range(SENTINELS)),
)
