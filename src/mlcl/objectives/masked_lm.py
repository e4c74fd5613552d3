"""Masked language modelling: the right token at each masked position.

In: hidden states (T, D), output embeddings (V, D), labels (T,). Out: one scalar.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def masked_lm_loss(hidden: Tensor, weight: Tensor, labels: Tensor, bias: Tensor | None = None) -> Tensor:
    """Mean cross-entropy over the positions whose label is not -100 (BERT, arXiv 1810.04805).

    Only those positions reach the vocabulary projection, so the cost is that of the masked tokens and not of all.
    Without any masked position the result is a zero that still has a gradient, so that ranks stay in step.

    Args:
        hidden: (T, D) states of the head.
        weight: (V, D) output embeddings, usually tied to the input embeddings.
        labels: (T,) token ids, -100 where nothing is predicted.
        bias: (V,) added to the logits.

    Returns:
        Scalar in float32 (float64 for float64 inputs).

    Raises:
        ValueError: shapes that do not fit.
    """
    if hidden.dim() != 2 or labels.shape != hidden.shape[:1] or weight.shape[1] != hidden.shape[1]:
        raise ValueError(
            f"hidden {tuple(hidden.shape)}, weight {tuple(weight.shape)} and labels {tuple(labels.shape)} "
            "must be (T, D), (V, D) and (T,)"
        )
    masked = labels != -100
    if not bool(masked.any()):
        return (hidden.sum() + weight.sum()).float() * 0.0
    logits = F.linear(hidden[masked], weight, bias)  # (masked, V)
    if logits.dtype != torch.float64:
        logits = logits.float()
    return F.cross_entropy(logits, labels[masked])
