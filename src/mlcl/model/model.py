"""`MLCModel`: a Hugging Face backbone, pooling, an optional projection and the head of its LM term.

In: token ids, padded (N, L) or packed (T,). Out: `MLCOutput` with one vector per sentence and the token states.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoConfig, AutoModel, PreTrainedModel
from transformers.utils import ModelOutput

from mlcl.core.errors import UserError
from mlcl.core.shapes import round_up
from mlcl.model import attention, lora, packed_layers, packing
from mlcl.model.backbones import Family, Parts, family_of
from mlcl.model.blocks import seen
from mlcl.model.config import MLCConfig
from mlcl.model.heads import MaskedLMHead
from mlcl.model.pooling import POOLINGS

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
    """Multilingual sentence encoder over any Hugging Face encoder, decoder or encoder-decoder model.

    Raises:
        UserError: the backbone cannot be loaded, or lacks what the pooling asks for.
    """

    config_class = MLCConfig
    base_model_prefix = "mlc"
    supports_gradient_checkpointing = True
    _supports_sdpa = True
    backbone: Any  # a PreTrainedModel of any family
    lm_head: Any  # an LMHead

    def __init__(self, config: MLCConfig) -> None:
        super().__init__(config)
        self.started_from = config.model_name  # for finding the tokenizer; never saved
        parts = _make_parts(config)
        self.backbone, self.lm_head = parts.backbone, parts.head
        self.family: Family = config.family
        self._direct()
        self.projection = None if config.proj_size is None else nn.Linear(self.hidden_size, config.proj_size)
        self.post_init()
        if parts.finish is not None:
            parts.finish()
        if config.lora is not None:
            lora.add(self)
        if config.pooling == "pooler" and getattr(self.backbone, "pooler", None) is None:
            raise UserError(
                f"pooling is 'pooler' but a {self.backbone.config.model_type} backbone has none", remedy="use mean"
            )

    def _direct(self) -> None:
        """Tell the layers of a bidirectional decoder, which would take a batch without padding for causal."""
        if self.config.bidirectional:
            for module in self.backbone.modules():
                if hasattr(module, "is_causal"):
                    module.is_causal = False

    @property
    def hidden_size(self) -> int:
        """H, the width of a token state."""
        return self.backbone.config.hidden_size

    @property
    def dimension(self) -> int:
        """Length of a sentence vector."""
        return self.config.proj_size or self.hidden_size

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
        first = self.family.first_position
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

    @property
    def output_matrix(self) -> Tensor:
        """(V, H) what scores tokens: the token embedding, or a matrix of the LM head's own."""
        return self.get_input_embeddings().weight if self.lm_head.weight is None else self.lm_head.weight

    def set_input_embeddings(self, value: nn.Module) -> None:
        """Replace the token embedding."""
        self.backbone.set_input_embeddings(value)

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        lengths: Tensor | None = None,
        prefix: Tensor | None = None,
        **kwargs: Any,
    ) -> MLCOutput:
        """Encode a padded batch: input_ids (N, L), attention_mask (N, L) -> embeddings (N, D), states (N, L, H).

        A row of nothing but padding has the embedding 0.

        With `lengths` (N,) the input is a packed stream instead, as for `forward_packed`; this is the way in for
        wrappers such as DDP, which see `forward` only. `prefix` (N,): see there; padding is on the right then.
        """
        if input_ids is None:
            raise ValueError("input_ids are needed")
        if lengths is not None:
            return self.forward_packed(
                input_ids, lengths.cpu(), prefix
            )  # wrappers move them to the GPU; they steer the host
        if attention_mask is None:
            attention_mask = torch.ones_like(input_ids)
        empty = ~attention_mask.bool().any(1)  # (N,) they see one token, because attention to nothing is NaN
        attention_mask = torch.cat([attention_mask[:, :1] + empty[:, None], attention_mask[:, 1:]], dim=1)
        real = attention_mask.bool()
        if prefix is not None and self.family.causal:
            in_sight = seen(input_ids.shape[1], prefix.to(input_ids.device))  # (N, L, L)
            attention_mask = (in_sight & real[:, None])[:, None]  # (N, 1, L, L)
        hidden = self._run_backbone(input_ids=input_ids, attention_mask=attention_mask)
        embeddings = self._embed(hidden[real], real.sum(1)).masked_fill(empty[:, None], 0)
        return MLCOutput(embeddings=embeddings, last_hidden_state=hidden)

    def _run_backbone(self, **inputs: Tensor) -> Tensor:
        """Token states (N, L, H)."""
        return self.backbone(**inputs, **self.family.call_options).last_hidden_state

    def forward_packed(self, input_ids: Tensor, lengths: Tensor, prefix: Tensor | None = None) -> MLCOutput:
        """Encode a packed batch: input_ids (T,), lengths (N,) -> embeddings (N, D), states (T, H).

        Equal, sentence by sentence, to `forward`; the cost is that of the real tokens only. Sort by length first
        (`packing.pack`): every change of length in the stream starts a block of its own. A backbone that cannot run
        packed (see `supports_packing`) gets the same sentences in padded chunks of similar length.

        Args:
            input_ids: The stream.
            lengths: Tokens of each sentence.
            prefix: (N,) tokens at the start of each sentence that all of it sees, for the LM term of decoders: beyond
                them a token sees itself and those before it. 0 is causal attention, the length attention in both
                directions. None = as `MLCConfig.bidirectional` says. Other families do not look at it.

        Raises:
            ValueError: a sentence that is longer than the backbone has positions, or empty.
        """
        if not 0 < int(lengths.min()) <= int(lengths.max()) <= self.reach:
            raise ValueError(
                f"sentences have {int(lengths.min())} to {int(lengths.max())} tokens, not 1 to {self.reach}"
            )
        if not self.supports_packing:
            return self._forward_chunks(input_ids, lengths, prefix)
        position_ids = (packing.positions(lengths) + (self._first_position or 0)).to(input_ids.device)  # (T,)
        with attention.packed(lengths, self._prefix(lengths, prefix)) as state:
            if self._has_plain_layers(input_ids.device):
                hidden = self._run_layers(input_ids, position_ids, state)  # (T, H)
            else:
                hidden = self._run_backbone(input_ids=input_ids[None], position_ids=position_ids[None])[0]
        return MLCOutput(embeddings=self._embed(hidden, lengths.to(hidden.device)), last_hidden_state=hidden)

    def _prefix(self, lengths: Tensor, prefix: Tensor | None) -> Tensor | None:
        """(N,) tokens at the start of each sentence that all of it sees; None = all of them."""
        if not self.family.causal:
            return None
        if prefix is not None:
            return prefix.cpu()
        return None if self.config.bidirectional else torch.zeros_like(lengths)

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

    def _forward_chunks(self, input_ids: Tensor, lengths: Tensor, prefix: Tensor | None = None) -> MLCOutput:
        """`forward_packed` by way of padding: chunks of neighbours, which are of similar length."""
        embeddings, states, first = [], [], 0
        pad_token_id = self.backbone.config.pad_token_id or 0
        for ids, sizes in packing.chunks(input_ids, lengths, _CHUNK_TOKENS):
            padded, mask = packing.pad(ids, sizes, pad_token_id)
            output = self(padded, mask, prefix=None if prefix is None else prefix[first : first + len(sizes)])
            first += len(sizes)
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
        """Save as a Hugging Face folder that `SentenceTransformer(folder)` loads as well, once adapters are merged."""
        super().save_pretrained(save_directory, *args, **kwargs)
        if kwargs.get("is_main_process", True) and self.config.lora is None:
            from mlcl.model.interop import write_sentence_transformers_files

            write_sentence_transformers_files(self, Path(save_directory))

    def merge_lora(self) -> None:
        """Make the adapters, if there are any, part of the weights."""
        if self.config.lora is not None:
            lora.merge(self)
            self.config.lora = None

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


def _make_parts(config: MLCConfig) -> Parts:
    """Backbone and head; fills in what the configuration left to them."""
    if config.model_name is not None and config.backbone is None:
        parts = _load(config, config.model_name)
        backbone_config = parts.backbone.config
        config.backbone = family_of(backbone_config.model_type).saved(backbone_config)
        config.model_name = None
    else:
        config.backbone = config.backbone or {"model_type": "xlm-roberta"}
        attention_name = _attention_for(config.family)
        parts = config.family.fresh(config.backbone_config(), attention_name, tied=config.tied_output)
    config.tied_output = parts.head.weight is None
    config.settle(config.family)
    if config.pooling != "pooler" and getattr(parts.backbone, "pooler", None) is not None:
        parts.backbone.pooler = None  # an unused pooler would be parameters without a gradient
    return parts


def _load(config: MLCConfig, name: str) -> Parts:
    try:
        backbone_config = AutoConfig.from_pretrained(name)
        if backbone_config.model_type == MLCConfig.model_type:
            return _continue_from(config, name)
        family = family_of(backbone_config.model_type)
        if family.causal and not getattr(backbone_config, "is_causal", True):
            config.bidirectional = True
        config.settle(family)
        config.prepare(backbone_config)
        return family.load(name, backbone_config, _attention_for(family), pooler=config.pooling == "pooler")
    except (OSError, ValueError) as error:
        first_line = str(error).partition("\n")[0]
        raise UserError(f"cannot load the backbone {name!r}: {first_line}", remedy="hub id or folder?") from error


def _continue_from(config: MLCConfig, name: str) -> Parts:
    """Backbone and head of a saved `MLCModel`; all else is as the new configuration says."""
    source = MLCModel.from_pretrained(name)
    source.merge_lora()
    family, backbone_config = source.family, source.backbone.config
    config.settle(family)
    if family.causal:
        backbone_config.is_causal = True
    config.prepare(backbone_config)
    parts = family.fresh(backbone_config, _attention_for(family), tied=source.config.tied_output)
    parts.backbone.load_state_dict(source.backbone.state_dict(), strict=source.config.pooling == "pooler")
    parts.finish = lambda: parts.head.load_state_dict(source.lm_head.state_dict())
    return parts


def _attention_for(family: Family) -> str | None:
    return None if family.first_position is None else attention.NAME


AutoModel.register(MLCConfig, MLCModel)
