"""The rows of a model's vocabulary: keep some of them, or put others. Everything else in the model stays as it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from mlcl.core.errors import UserError
from mlcl.model.model import MLCModel

_SPECIAL = ("pad_token_id", "bos_token_id", "eos_token_id", "sep_token_id", "cls_token_id")
_DECODING = ("decoder_start_token_id", "forced_bos_token_id", "forced_eos_token_id")


def padding_may_move(model: MLCModel) -> bool:
    """Whether padding may get another number: not where positions are counted from it, or where that is unknown."""
    first = model.family.first_position
    return first is not None and first(model.backbone.config) == 0


@torch.no_grad()
def keep_tokens(model: MLCModel, kept: Sequence[int]) -> None:
    """Keep these rows of the token embedding, and of what the LM head has for each token, in this order.

    Sentences whose tokens are all kept have the same vectors as before, to the bit.

    Args:
        model: Changed in place, its configuration as well.
        kept: Old ids, ascending.

    Raises:
        UserError: an id that the model lacks, a token that it cannot do without, or the padding would get another
            number and must not.
    """
    embedding = model.get_input_embeddings()
    if kept and kept[-1] >= embedding.num_embeddings:
        raise UserError(
            f"the tokenizer has the id {kept[-1]}, but the model {embedding.num_embeddings} embeddings",
            remedy="give the tokenizer that belongs to the model",
        )
    new = {number: place for place, number in enumerate(kept)}
    padding, start = embedding.padding_idx, getattr(model.lm_head, "start", None)
    if padding is not None and not padding_may_move(model) and new.get(padding) != padding:
        raise UserError(f"padding must stay token {padding}: positions are counted from it")
    if lacking := [number for number in (padding, start) if number is not None and number not in new]:
        raise UserError(f"the model pads or starts to write with token {lacking[0]}, which must stay")
    rows = torch.tensor(kept, device=embedding.weight.device)
    _set_rows(embedding, embedding.weight[rows], None if padding is None else new[padding])
    model.lm_head.keep_rows(rows)
    if start is not None:
        model.lm_head.start = new[start]
    config = model.backbone.config
    changes: dict[str, Any] = {"vocab_size": len(kept)}
    for name in (*_SPECIAL, *_DECODING):
        before = getattr(config, name, None)
        after = [new[number] for number in _as_list(before) if number in new]
        if after:
            changes[name] = after if isinstance(before, list) else after[0]
    _configure(model, changes)


def _set_rows(embedding: nn.Embedding, rows: Tensor, padding: int | None) -> None:
    """Give an embedding other rows (V, D); it stays the object that it is, for mBART's scales what it looks up."""
    embedding.weight = nn.Parameter(rows.clone())
    embedding.num_embeddings, embedding.padding_idx = len(rows), padding


def _as_list(ids: Any) -> list[int]:
    """The ids of a setting: none, one, or several, as those that end a text of GLM-4."""
    return ids if isinstance(ids, list) else [] if ids is None else [ids]


def _configure(model: MLCModel, changes: dict[str, Any]) -> None:
    for name, value in changes.items():
        setattr(model.backbone.config, name, value)
    model.config.backbone = {**(model.config.backbone or {}), **changes}


def vocabulary_rows(model: MLCModel) -> dict[str, Tensor]:
    """Copies of all that a model has for each token, float32.

    Returns:
        `embedding` (V, D) and, where the LM head has them, `weight` (V, D) and `bias` (V,).
    """
    parts: dict[str, Tensor | None] = {"embedding": model.get_input_embeddings().weight}
    parts |= {"weight": model.lm_head.weight, "bias": model.lm_head.bias}
    return {name: part.detach().float().clone() for name, part in parts.items() if part is not None}


@torch.no_grad()
def replace_tokens(model: MLCModel, rows: Mapping[str, Tensor], tokenizer: Any) -> None:
    """Give a model another vocabulary.

    Args:
        model: Changed in place, its configuration as well.
        rows: As `vocabulary_rows` has them, for the new vocabulary.
        tokenizer: The tokenizer of this vocabulary, whose special tokens the configuration names.

    Raises:
        UserError: `check_padding` says no.
    """
    check_padding(model, tokenizer)
    embedding, config = model.get_input_embeddings(), model.backbone.config
    _set_rows(embedding, rows["embedding"].to(embedding.weight), tokenizer.pad_token_id)
    for name in rows.keys() - {"embedding"}:
        before = getattr(model.lm_head, name)
        after = rows[name].to(before)
        setattr(model.lm_head, name, nn.Parameter(after) if isinstance(before, nn.Parameter) else after)
    ids = {name: getattr(tokenizer, name) for name in _SPECIAL if getattr(tokenizer, name, None) is not None}
    old = {name: _as_list(getattr(config, name, None)) for name in (*_SPECIAL, *_DECODING)}
    roles = {number: ids[name] for name in reversed(ids) for number in old[name]}  # old id -> that of its role
    decoding = {name: roles.get(old[name][0]) for name in _DECODING if old[name]}
    if getattr(model.lm_head, "start", None) is not None:
        model.lm_head.start = roles.get(model.lm_head.start, tokenizer.pad_token_id)
        decoding["decoder_start_token_id"] = model.lm_head.start
    _configure(model, {"vocab_size": len(rows["embedding"]), **ids, **decoding})


def check_padding(model: MLCModel, tokenizer: Any) -> None:
    """Refuse a tokenizer whose padding would move the positions of a model that counts them from it.

    Raises:
        UserError: no padding token, or another number than that of the model.
    """
    if tokenizer.pad_token_id is None:
        raise UserError("the new tokenizer has no padding token", remedy="give one with a pad_token")
    counted_from = getattr(getattr(model.backbone, "embeddings", None), "padding_idx", None)
    if counted_from is not None and counted_from != tokenizer.pad_token_id:
        raise UserError(
            f"padding is token {tokenizer.pad_token_id} of the new tokenizer, but a {model.backbone.config.model_type} "
            f"counts positions from its own, {counted_from}",
            remedy=f"give a tokenizer whose padding is token {counted_from}",
        )
