"""ModernBERT and mmBERT: rotary positions, local attention in most layers."""

from mlcl.model.backbones._encoder import Encoder

FAMILY = Encoder(model_types=("modernbert",), first_position=lambda config: 0)
