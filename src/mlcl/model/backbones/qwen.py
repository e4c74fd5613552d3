"""Qwen2, Qwen2.5 and Qwen3."""

from mlcl.model.backbones._decoder import Decoder

FAMILY = Decoder(model_types=("qwen2", "qwen3"), first_position=lambda config: 0)
