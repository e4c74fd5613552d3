"""RoBERTa, XLM-R and CamemBERT: their positions count from one above the padding token."""

from mlcl.model.backbones._encoder import Encoder

FAMILY = Encoder(
    model_types=("roberta", "xlm-roberta", "camembert"), first_position=lambda config: (config.pad_token_id or 0) + 1
)
