"""What a change to a model does to its vectors and to its language model; used by `mlcl trim` and `mlcl transplant`.

In: an `MLCModel`, its tokenizer, some texts. Out: unit vectors with the seconds that they took, and the LM loss.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

_VECTORS_AT_ONCE, _LM_AT_ONCE = 32, 64  # texts


def unit_vectors(model: Any, tokenizer: Any, texts: list[str]) -> tuple[np.ndarray, float]:
    """Unit vectors (N, D) of texts, and the seconds that they took."""
    started, rows = time.perf_counter(), []
    for start in range(0, len(texts), _VECTORS_AT_ONCE):
        batch = tokenizer(
            texts[start : start + _VECTORS_AT_ONCE],
            padding=True, truncation=True, max_length=model.max_length, return_tensors="pt",
        )  # fmt: skip
        with torch.inference_mode():
            embeddings = model(batch["input_ids"], batch["attention_mask"]).embeddings
        rows.append(F.normalize(embeddings.float(), dim=-1).numpy())
    seconds = time.perf_counter() - started
    return (np.concatenate(rows) if rows else np.empty((0, 0))), max(seconds, 1e-9)


def language_model_loss(model: Any, tokenizer: Any, texts: list[str]) -> float | None:
    """Mean cross-entropy (nats) of the model's own LM term over its tokens of texts, the same ones in every call.

    Returns:
        The loss; None where the tokenizer lacks what the term needs, such as a mask token.
    """
    from mlcl.core.errors import UserError
    from mlcl.training.batching import make_batch
    from mlcl.training.corruption import corruption_for
    from mlcl.training.forward import attach, encode
    from mlcl.training.token_store import encode as token_ids

    try:
        corruption = corruption_for(model.family, tokenizer, 0.15)
    except UserError:
        return None
    attach(model)
    rng, total, count = np.random.default_rng(0), 0.0, 0
    for start in range(0, len(texts), _LM_AT_ONCE):
        rows = token_ids(tokenizer, texts[start : start + _LM_AT_ONCE], model.max_length)
        batch = make_batch([], [], lm=[np.asarray(row) for row in rows if row], masking=corruption, rng=rng)
        if batch.labels is None or batch.masked is None or not len(batch.labels):
            continue
        with torch.inference_mode():
            lm_sum = encode(model, batch.online, batch.masked, batch.labels).lm_sum
        assert lm_sum is not None
        total, count = total + float(lm_sum), count + len(batch.labels)
    return total / count if count else None
