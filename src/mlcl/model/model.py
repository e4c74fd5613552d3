"""`MLCModel`: a Hugging Face encoder, pooling, an optional projection and a masked-LM head.

In: token ids, padded (N, L) or packed (T,). Out: `MLCOutput` with one vector per sentence and the token states.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoModel, AutoModelForMaskedLM, PreTrainedConfig, PreTrainedModel
from transformers.utils import ModelOutput

from mlcl.core.errors import UserError
from mlcl.core.shapes import round_up
from mlcl.model import attention, packed_layers, packing
from mlcl.model.config import MLCConfig
from mlcl.model.heads import MaskedLMHead
from mlcl.model.pooling import POOLINGS

# Families whose layers see other tokens only through the attention function, with the number of their first position.
# Everything else runs padded.
_PACKABLE: dict[str, Callable[[PreTrainedConfig], int]] = {
    "bert": lambda config: 0,
    "roberta": lambda config: (config.pad_token_id or 0) + 1,
    "xlm-roberta": lambda config: (config.pad_token_id or 0) + 1,
    "camembert": lambda config: (config.pad_token_id or 0) + 1,
    "modernbert": lambda config: 0,
}
_TOKEN_COUNTS = 16  # lengths of a stream between powers of two, see core/shapes.py
_CHUNK_TOKENS = 4096  # padded tokens in one chunk of a backbone that cannot run packed


@dataclass
class MLCOutput(ModelOutput):
    """Output of `MLCModel`.

    Attributes:
        embeddings: (N, D) sentence vectors, not normalised.
        last_hidden_state: (N, L, H) token states, or (T, H) from `forward_packed`.
    """

    embeddings: Tensor | None = None
    last_hidden_state: Tensor | None = None


class MLCModel(PreTrainedModel):
    """Multilingual sentence encoder over any Hugging Face encoder.

    Raises:
        UserError: the backbone cannot be loaded, or lacks what the pooling asks for.
    """

    config_class = MLCConfig
    base_model_prefix = "mlc"
    supports_gradient_checkpointing = True
    _supports_sdpa = True
    backbone: Any  # a PreTrainedModel of any family

    def __init__(self, config: MLCConfig) -> None:
        super().__init__(config)
        self.started_from = config.model_name  # for finding the tokenizer; never saved
        self.backbone, masked_lm = _make_backbone(config)
        hidden_size = self.backbone.config.hidden_size
        self.projection = None if config.proj_size is None else nn.Linear(hidden_size, config.proj_size)
        eps = getattr(self.backbone.config, "layer_norm_eps", 1e-5)
        self.lm_head = MaskedLMHead(hidden_size, self.get_input_embeddings().num_embeddings, eps)
        self.post_init()
        if masked_lm is not None:
            self.lm_head.load_from(masked_lm)
        if config.pooling == "pooler" and getattr(self.backbone, "pooler", None) is None:
            raise UserError(
                f"pooling is 'pooler' but a {self.backbone.config.model_type} backbone has none", remedy="use mean"
            )

    @property
    def dimension(self) -> int:
        """Length of a sentence vector."""
        return self.config.proj_size or self.backbone.config.hidden_size

    @property
    def reach(self) -> int:
        """Number of positions that the backbone knows."""
        return getattr(self.backbone.config, "max_position_embeddings", 512) - (self._first_position or 0)

    @property
    def max_length(self) -> int:
        """Longest input in tokens."""
        return min(self.config.max_seq_length or self.reach, self.reach)

    @property
    def _first_position(self) -> int | None:
        first = _PACKABLE.get(self.backbone.config.model_type)
        return None if first is None else first(self.backbone.config)

    @property
    def supports_packing(self) -> bool:
        """Whether `forward_packed` works: a known family and, in training, no attention dropout."""
        config = self.backbone.config
        dropout = getattr(config, "attention_probs_dropout_prob", getattr(config, "attention_dropout", 0.0))
        return self._first_position is not None and config._attn_implementation == attention.NAME and (
            not self.training or dropout == 0
        )  # fmt: skip

    def get_input_embeddings(self) -> nn.Embedding:
        """The token embedding, shared with the masked-LM head."""
        return self.backbone.get_input_embeddings()

    def set_input_embeddings(self, value: nn.Module) -> None:
        """Replace the token embedding."""
        self.backbone.set_input_embeddings(value)

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        lengths: Tensor | None = None,
        **kwargs: Any,
    ) -> MLCOutput:
        """Encode a padded batch: input_ids (N, L), attention_mask (N, L) -> embeddings (N, D), states (N, L, H).

        A row of nothing but padding has the embedding 0.

        With `lengths` (N,) the input is a packed stream instead, as for `forward_packed`; this is the way in for
        wrappers such as DDP, which see `forward` only.
        """
        if input_ids is None:
            raise ValueError("input_ids are needed")
        if lengths is not None:
            return self.forward_packed(input_ids, lengths.cpu())  # wrappers move them to the GPU; they steer the host
        if attention_mask is None:
            attention_mask = torch.ones_like(input_ids)
        empty = ~attention_mask.bool().any(1)  # (N,) they see one token, because attention to nothing is NaN
        attention_mask = torch.cat([attention_mask[:, :1] + empty[:, None], attention_mask[:, 1:]], dim=1)
        hidden = self.backbone(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        real = attention_mask.bool()
        embeddings = self._embed(hidden[real], real.sum(1)).masked_fill(empty[:, None], 0)
        return MLCOutput(embeddings=embeddings, last_hidden_state=hidden)

    def forward_packed(self, input_ids: Tensor, lengths: Tensor) -> MLCOutput:
        """Encode a packed batch: input_ids (T,), lengths (N,) -> embeddings (N, D), states (T, H).

        Equal, sentence by sentence, to `forward`; the cost is that of the real tokens only. Sort by length first
        (`packing.pack`): every change of length in the stream starts a block of its own. A backbone that cannot run
        packed (see `supports_packing`) gets the same sentences in padded chunks of similar length.

        Raises:
            ValueError: a sentence that is longer than the backbone has positions, or empty.
        """
        if not 0 < int(lengths.min()) <= int(lengths.max()) <= self.reach:
            raise ValueError(
                f"sentences have {int(lengths.min())} to {int(lengths.max())} tokens, not 1 to {self.reach}"
            )
        if not self.supports_packing:
            return self._forward_chunks(input_ids, lengths)
        position_ids = (packing.positions(lengths) + (self._first_position or 0)).to(input_ids.device)  # (T,)
        with attention.packed(lengths) as state:
            if self._has_plain_layers(input_ids.device):
                hidden = self._run_layers(input_ids, position_ids, state)  # (T, H)
            else:
                hidden = self.backbone(input_ids=input_ids[None], position_ids=position_ids[None]).last_hidden_state[0]
        return MLCOutput(embeddings=self._embed(hidden, lengths.to(hidden.device)), last_hidden_state=hidden)

    def _has_plain_layers(self, device: torch.device) -> bool:
        """Whether the layers can run as `packed_layers`. On a GPU their savings are not where the time goes."""
        layers = getattr(getattr(self.backbone, "encoder", None), "layer", None)
        return device.type == "cpu" and layers is not None and all(packed_layers.supports(layer) for layer in layers)

    def _run_layers(self, input_ids: Tensor, position_ids: Tensor, state: attention.PackedLengths) -> Tensor:
        """The backbone over a packed stream (T,), layer by layer -> (T, H)."""
        embedded = self.backbone.embeddings(input_ids=input_ids[None], position_ids=position_ids[None])[0]
        kind = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else embedded.dtype
        tokens = round_up(len(embedded), _TOKEN_COUNTS)
        blocks = state.blocks(self.backbone.config.num_attention_heads, input_ids.device, tokens)
        states = nn.functional.pad(embedded.to(kind), (0, 0, 0, tokens - len(embedded)))
        for layer in self.backbone.encoder.layer:
            states = packed_layers.encoder_layer(layer, states, blocks)
        return states[: len(embedded)].to(embedded.dtype)

    def _forward_chunks(self, input_ids: Tensor, lengths: Tensor) -> MLCOutput:
        """`forward_packed` by way of padding: chunks of neighbours, which are of similar length."""
        embeddings, states = [], []
        pad_token_id = self.backbone.config.pad_token_id or 0
        for ids, sizes in packing.chunks(input_ids, lengths, _CHUNK_TOKENS):
            padded, mask = packing.pad(ids, sizes, pad_token_id)
            output = self(padded, mask)
            embeddings.append(output.embeddings)
            states.append(output.last_hidden_state[mask.bool()])
        return MLCOutput(embeddings=torch.cat(embeddings), last_hidden_state=torch.cat(states))

    def padding_of(self, lengths: Tensor) -> float:
        """Share of padding among the tokens that `forward_packed` computes for sentences of these lengths (N,)."""
        if self.supports_packing:
            return 0.0
        stream = torch.empty(int(lengths.sum()), device="meta")
        computed = sum(len(sizes) * int(sizes.max()) for _, sizes in packing.chunks(stream, lengths, _CHUNK_TOKENS))
        return 1 - len(stream) / computed

    def _embed(self, hidden: Tensor, lengths: Tensor) -> Tensor:
        """Token states (T, H) and lengths (N,) -> (N, D)."""
        if self.config.pooling == "pooler":
            pooled = self.backbone.pooler(POOLINGS["cls"](hidden, lengths)[:, None])
        else:
            pooled = POOLINGS[self.config.pooling](hidden, lengths)
        return pooled if self.projection is None else self.projection(pooled)

    def save_pretrained(self, save_directory: str | Path, *args: Any, **kwargs: Any) -> None:  # type: ignore[override]
        """Save as a Hugging Face folder that `SentenceTransformer(folder)` loads as well."""
        super().save_pretrained(save_directory, *args, **kwargs)
        if kwargs.get("is_main_process", True):
            from mlcl.model.interop import write_sentence_transformers_files

            write_sentence_transformers_files(self, Path(save_directory))

    def _init_weights(self, module: nn.Module) -> None:
        """Only our own heads: the backbone has been initialised, or loaded, by its own class."""
        if isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, std=0.02)
            nn.init.zeros_(module.bias)
        elif isinstance(module, nn.LayerNorm):
            nn.init.ones_(module.weight)
            nn.init.zeros_(module.bias)
        elif isinstance(module, MaskedLMHead):
            nn.init.zeros_(module.bias)


def _make_backbone(config: MLCConfig) -> tuple[Any, PreTrainedModel | None]:
    """The backbone, and the masked LM that it was taken from if there is one; fills `config.backbone` in."""
    backbone: Any
    masked_lm = None
    if config.model_name is not None and config.backbone is None:
        backbone, masked_lm = _load(config, config.model_name)
        config.backbone = {**backbone.config.to_diff_dict(), "model_type": backbone.config.model_type}
        config.model_name = None
    else:
        backbone = AutoModel.from_config(config.backbone_config(), attn_implementation=_attention_for(config))
        config.backbone = config.backbone or {"model_type": "xlm-roberta"}
    if config.pooling != "pooler" and getattr(backbone, "pooler", None) is not None:
        backbone.pooler = None  # an unused pooler would be parameters without a gradient
    return backbone, masked_lm


def _load(config: MLCConfig, name: str) -> tuple[PreTrainedModel, PreTrainedModel | None]:
    from transformers import AutoConfig

    try:
        backbone_config = AutoConfig.from_pretrained(name)
        if backbone_config.model_type == MLCConfig.model_type:
            return _continue_from(config, name)
        config.apply_dropout(backbone_config)
        options = {"config": backbone_config, "attn_implementation": _attention_for(config, backbone_config.model_type)}
        masked_lm = None
        if any("MaskedLM" in name for name in backbone_config.architectures or []):
            with suppress(ValueError):  # no masked LM class for this architecture: a fresh head will do
                masked_lm = AutoModelForMaskedLM.from_pretrained(name, **options)
        if masked_lm is not None and config.pooling != "pooler":
            return masked_lm.base_model, masked_lm
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return AutoModel.from_pretrained(name, **options), masked_lm
    except (OSError, ValueError) as error:
        first_line = str(error).partition("\n")[0]
        raise UserError(f"cannot load the backbone {name!r}: {first_line}", remedy="hub id or folder?") from error


def _continue_from(config: MLCConfig, name: str) -> tuple[Any, PreTrainedModel]:
    """The backbone and head of a saved `MLCModel`; projection, pooling and dropout are the new configuration's."""
    source = MLCModel.from_pretrained(name)
    backbone_config = source.backbone.config
    config.apply_dropout(backbone_config)
    backbone = AutoModel.from_config(
        backbone_config, attn_implementation=_attention_for(config, backbone_config.model_type)
    )
    backbone.load_state_dict(source.backbone.state_dict(), strict=source.config.pooling == "pooler")
    return backbone, source


def _attention_for(config: MLCConfig, model_type: str | None = None) -> str | None:
    model_type = model_type or (config.backbone or {}).get("model_type", "xlm-roberta")
    return attention.NAME if model_type in _PACKABLE else None


AutoModel.register(MLCConfig, MLCModel)
