"""BERT."""

from mlcl.model.backbones._encoder import Encoder

FAMILY = Encoder(model_types=("bert",), first_position=lambda config: 0)
