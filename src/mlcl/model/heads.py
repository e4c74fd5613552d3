"""Heads on top of the token states."""

from __future__ import annotations

from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn


class MaskedLMHead(nn.Module):
    """Dense, GELU, norm and an output bias; the output matrix is the input embedding itself (tied by sharing).

    `forward` maps states (T, H) to states (T, H) for `masked_lm_loss(hidden, embedding_weight, labels, head.bias)`.
    """

    bias: nn.Parameter

    def __init__(self, hidden_size: int, vocab_size: int, layer_norm_eps: float = 1e-5) -> None:
        super().__init__()
        self.dense = nn.Linear(hidden_size, hidden_size)
        self.layer_norm = nn.LayerNorm(hidden_size, eps=layer_norm_eps)
        self.bias = nn.Parameter(Tensor(vocab_size).zero_())

    def forward(self, hidden: Tensor) -> Tensor:
        """States (T, H) -> states (T, H)."""
        return self.layer_norm(F.gelu(self.dense(hidden)))

    def load_from(self, masked_lm: Any) -> bool:
        """Copy the trained head of a Hugging Face masked language model; False where it has another shape."""
        head = getattr(masked_lm, "lm_head", None)  # RoBERTa, XLM-R
        if head is not None and hasattr(head, "dense") and hasattr(head, "layer_norm"):
            dense, norm, bias = head.dense, head.layer_norm, head.bias
        elif hasattr(masked_lm, "cls") and hasattr(masked_lm.cls, "predictions"):  # BERT
            predictions = masked_lm.cls.predictions
            dense, norm, bias = predictions.transform.dense, predictions.transform.LayerNorm, predictions.bias
        else:
            return False
        if bias is None or bias.shape != self.bias.shape:
            return False
        self.dense.load_state_dict(dense.state_dict())
        self.layer_norm.load_state_dict(norm.state_dict())
        self.bias.data.copy_(bias.data)
        return True
