"""Llama, and the many models that are published as one."""

from mlcl.model.backbones._decoder import Decoder

FAMILY = Decoder(model_types=("llama",), first_position=lambda config: 0)
