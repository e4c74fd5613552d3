"""The rows of a model's vocabulary: keep some of them. Everything else in the model stays as it is."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from mlcl.core.errors import UserError
from mlcl.model.model import MLCModel


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
