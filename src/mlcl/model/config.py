"""`MLCConfig`: what a multilingual encoder is made of. Saved as `config.json` of a model folder."""

from __future__ import annotations

from typing import Any

from transformers import AutoConfig, PreTrainedConfig

from mlcl.core.errors import UserError

POOLING_NAMES = ("mean", "cls", "max", "pooler")


class MLCConfig(PreTrainedConfig):
    """Configuration of an `MLCModel`.

    Args:
        model_name: Hub id or folder of a Hugging Face encoder to start from. Read once, when the model is made: the
            weights are copied and `backbone` takes the configuration over, so that a saved folder stands alone.
        backbone: Configuration of a fresh backbone, `{"model_type": "xlm-roberta", "hidden_size": 256, ...}`.
            With neither of the two, a fresh XLM-R of base size.
        proj_size: Size of a linear projection of the pooled state; None = no projection.
        pooling: `mean`, `cls`, `max` or `pooler` (the backbone's own trained pooler).
        max_seq_length: Longest input in tokens, special tokens included; longer texts are cut. None = as long as the
            backbone's positions reach.
        hidden_dropout: Dropout of hidden states in training; None keeps the backbone's own.
        attention_dropout: Dropout of attention weights in training; None keeps the backbone's own. Anything but 0
            trains on padded batches, because the packed kernels have none.
        prompts: Named prefixes for encoding, such as `{"query": "query: "}`.
        languages: Canonical tags of the languages that the model was trained on.

    Raises:
        UserError: an unknown pooling or a size below 1.
    """

    model_type = "mlc"

    def __init__(
        self,
        model_name: str | None = None,
        proj_size: int | None = None,
        pooling: str = "mean",
        backbone: dict[str, Any] | None = None,
        max_seq_length: int | None = None,
        hidden_dropout: float | None = 0.0,
        attention_dropout: float | None = 0.0,
        prompts: dict[str, str] | None = None,
        languages: list[str] | None = None,
        **kwargs: Any,
    ) -> None:
        if pooling not in POOLING_NAMES:
            raise UserError(f"unknown pooling {pooling!r}", remedy=f"known: {', '.join(POOLING_NAMES)}")
        for field, value in (("proj_size", proj_size), ("max_seq_length", max_seq_length)):
            if value is not None and value < 1:
                raise UserError(f"{field} is {value}, it must be at least 1")
        self.model_name = model_name
        self.backbone = backbone
        self.proj_size = proj_size
        self.pooling = pooling
        self.max_seq_length = max_seq_length
        self.hidden_dropout = hidden_dropout
        self.attention_dropout = attention_dropout
        self.prompts = prompts or {}
        self.languages = languages or []
        super().__init__(**kwargs)

    def backbone_config(self) -> PreTrainedConfig:
        """The backbone's configuration object, with our dropout in it.

        Raises:
            UserError: `backbone` has no `model_type`, or one that transformers does not know.
        """
        options = dict(self.backbone or {"model_type": "xlm-roberta"})
        model_type = options.pop("model_type", None)
        try:
            config = AutoConfig.for_model(model_type, **options)
        except ValueError as error:
            raise UserError(
                f"backbone.model_type {model_type!r} is no model type of transformers", remedy="for example xlm-roberta"
            ) from error
        self.apply_dropout(config)
        return config

    def apply_dropout(self, config: PreTrainedConfig) -> None:
        """Put `hidden_dropout` and `attention_dropout` into a backbone's configuration, whatever it calls them."""
        for value, names in (
            (self.hidden_dropout, ("hidden_dropout_prob", "embedding_dropout", "mlp_dropout", "dropout")),
            (self.attention_dropout, ("attention_probs_dropout_prob", "attention_dropout")),
        ):
            for name in names:
                if value is not None and hasattr(config, name):
                    setattr(config, name, value)


AutoConfig.register("mlc", MLCConfig)
