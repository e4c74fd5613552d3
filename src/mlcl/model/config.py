"""`MLCConfig`: what a multilingual encoder is made of. Saved as `config.json` of a model folder."""

from __future__ import annotations

from typing import Any

from transformers import AutoConfig, PreTrainedConfig

from mlcl.core.errors import UserError
from mlcl.model.backbones import Family, family_of
from mlcl.model.lora import check as check_lora

POOLING_NAMES = ("mean", "cls", "max", "last", "pooler")


class MLCConfig(PreTrainedConfig):
    """Configuration of an `MLCModel`.

    Args:
        model_name: Hub id or folder of a Hugging Face encoder, decoder or encoder-decoder model to start from. Read
            once, when the model is made: the weights are copied and `backbone` takes the configuration over, so that a
            saved folder stands alone.
        backbone: Configuration of a fresh backbone, `{"model_type": "xlm-roberta", "hidden_size": 256, ...}`.
            With neither of the two, a fresh XLM-R of base size.
        proj_size: Size of a linear projection of the pooled state; None = no projection.
        pooling: `mean`, `cls`, `max`, `last` (the last token) or `pooler` (the backbone's own trained pooler). None =
            what suits the backbone: `mean`, or `last` where attention is causal.
        bidirectional: For decoders, sentence vectors from attention in both directions (LLM2Vec, arXiv 2404.05961). The
            LM term predicts from attention that stays causal (GritLM, arXiv 2402.09906).
        tied_output: Whether the output matrix of the LM term is the token embedding; None = as the backbone's
            configuration says. Set when a model is made.
        lora: Train adapters instead of the backbone's weights: `{"rank": 16, "alpha": 32, "dropout": 0.0, "targets":
            ["q_proj", "v_proj"]}`, all optional (`model.lora`). `mlcl pretrain` merges them at its end.
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
        pooling: str | None = None,
        backbone: dict[str, Any] | None = None,
        max_seq_length: int | None = None,
        hidden_dropout: float | None = 0.0,
        attention_dropout: float | None = 0.0,
        prompts: dict[str, str] | None = None,
        languages: list[str] | None = None,
        bidirectional: bool = False,
        tied_output: bool | None = None,
        lora: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        if pooling is not None and pooling not in POOLING_NAMES:
            raise UserError(f"unknown pooling {pooling!r}", remedy=f"known: {', '.join(POOLING_NAMES)}")
        for field, value in (("proj_size", proj_size), ("max_seq_length", max_seq_length)):
            if value is not None and value < 1:
                raise UserError(f"{field} is {value}, it must be at least 1")
        self.model_name = model_name
        self.backbone = backbone
        self.proj_size = proj_size
        self.bidirectional = bidirectional
        self.tied_output = tied_output
        if lora is not None:
            check_lora(lora)
        self.lora = lora
        self.pooling = pooling
        if model_name is None or backbone is not None:
            self.settle(self.family)
        self.max_seq_length = max_seq_length
        self.hidden_dropout = hidden_dropout
        self.attention_dropout = attention_dropout
        self.prompts = prompts or {}
        self.languages = languages or []
        super().__init__(**kwargs)

    @property
    def family(self) -> Family:
        """The family of the backbone, as far as it is known: of the fresh or finished one, not of `model_name`."""
        return family_of((self.backbone or {}).get("model_type", "xlm-roberta"))

    def settle(self, family: Family) -> None:
        """Fill in what depends on the family, and check what it excludes.

        Raises:
            UserError: settings that a backbone of this family cannot have.
        """
        if self.bidirectional and not family.causal:
            raise UserError(
                "bidirectional is for decoders, this backbone's attention is so already", remedy="leave it out"
            )
        if self.pooling is None:
            self.pooling = "mean" if self.bidirectional else family.pooling
        if self.pooling == "cls" and family.causal and not self.bidirectional:
            raise UserError(
                "pooling is 'cls', but under causal attention the first token sees no other",
                remedy="use last or mean, or set bidirectional",
            )

    def to_diff_dict(self) -> dict[str, Any]:
        """What is saved: what differs from the defaults, and the pooling, whose default depends on the backbone."""
        return {**super().to_diff_dict(), "pooling": self.pooling}

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
        self.prepare(config)
        return config

    def prepare(self, config: PreTrainedConfig) -> None:
        """Put our dropout, whatever it is called there, and the direction of attention into that of a backbone."""
        if self.bidirectional:
            config.is_causal = False
        hidden = ("hidden_dropout_prob", "embedding_dropout", "mlp_dropout", "dropout", "dropout_rate")
        for value, names in (
            (self.hidden_dropout, (*hidden, "activation_dropout")),
            (self.attention_dropout, ("attention_probs_dropout_prob", "attention_dropout")),
        ):
            for name in names:
                if value is not None and hasattr(config, name):
                    setattr(config, name, value)


AutoConfig.register("mlc", MLCConfig)
