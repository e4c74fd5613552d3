"""GLM-4: `glm` for 9B and its relatives, `glm4` for those of 2025. ChatGLM's own code is not part of transformers 5."""

from mlcl.model.backbones._decoder import Decoder

FAMILY = Decoder(model_types=("glm", "glm4"), first_position=lambda config: 0)
