"""The rows of a model's vocabulary: keep some of them, or put others. Everything else in the model stays as it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from mlcl.core.errors import UserError
from mlcl.model.model import MLCModel

_SPECIAL = ("pad_token_id", "bos_token_id", "eos_token_id", "sep_token_id", "cls_token_id", "decoder_start_token_id")


@torch.no_grad()
def keep_tokens(model: MLCModel, kept: Sequence[int]) -> None:
    """Keep these rows of the token embedding, and of what the LM head has for each token, in this order.

    Sentences whose tokens are all kept have the same vectors as before, to the bit.

    Args:
        model: Changed in place, its configuration as well.
        kept: Old ids, ascending.

    Raises:
        UserError: an id that the model lacks, or the padding would get another number.
    """
    embedding = model.get_input_embeddings()
    if kept and kept[-1] >= embedding.num_embeddings:
        raise UserError(
            f"the tokenizer has the id {kept[-1]}, but the model {embedding.num_embeddings} embeddings",
            remedy="give the tokenizer that belongs to the model",
        )
    new = {number: place for place, number in enumerate(kept)}
    padding = embedding.padding_idx
    if padding is not None and new.get(padding) != padding:
        raise UserError(f"padding must stay token {padding}: positions are counted from it")
    rows = torch.tensor(kept, device=embedding.weight.device)
    smaller = nn.Embedding(len(kept), embedding.embedding_dim, padding, dtype=embedding.weight.dtype)
    smaller.weight = nn.Parameter(embedding.weight[rows].clone())
    model.set_input_embeddings(smaller)
    model.lm_head.keep_rows(rows)
    config = model.backbone.config
    changes = {"vocab_size": len(kept)}
    for name in ("bos_token_id", "eos_token_id", "sep_token_id", "cls_token_id", "decoder_start_token_id"):
        number = getattr(config, name, None)
        if isinstance(number, int) and number in new:
            changes[name] = new[number]
    for name, value in changes.items():
        setattr(config, name, value)
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
    old, size = model.get_input_embeddings(), len(rows["embedding"])
    embedding = nn.Embedding(size, old.embedding_dim, tokenizer.pad_token_id)
    embedding.weight = nn.Parameter(rows["embedding"].to(old.weight))
    model.set_input_embeddings(embedding)
    for name in rows.keys() - {"embedding"}:
        before = getattr(model.lm_head, name)
        after = rows[name].to(before)
        setattr(model.lm_head, name, nn.Parameter(after) if isinstance(before, nn.Parameter) else after)
    ids = {name: getattr(tokenizer, name) for name in _SPECIAL if getattr(tokenizer, name, None) is not None}
    changes = {"vocab_size": size, **ids}
    for name, value in changes.items():
        setattr(model.backbone.config, name, value)
    model.config.backbone = {**(model.config.backbone or {}), **changes}


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
