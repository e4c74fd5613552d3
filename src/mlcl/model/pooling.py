"""From token states to one vector per sentence, padded or packed. A new pooling is one more function in `POOLINGS`."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


def mean(hidden: Tensor, lengths: Tensor) -> Tensor:
    """Mean over the tokens of each sentence: (T, D), (N,) -> (N, D)."""
    return torch.segment_reduce(hidden.float(), "sum", lengths=lengths) / lengths[:, None]


def cls(hidden: Tensor, lengths: Tensor) -> Tensor:
    """First token of each sentence: (T, D), (N,) -> (N, D)."""
    return hidden[torch.cumsum(lengths, 0) - lengths]


def maximum(hidden: Tensor, lengths: Tensor) -> Tensor:
    """Largest value of each feature over the tokens of a sentence: (T, D), (N,) -> (N, D)."""
    return torch.segment_reduce(hidden.float(), "max", lengths=lengths)


def last(hidden: Tensor, lengths: Tensor) -> Tensor:
    """Last token of each sentence: (T, D), (N,) -> (N, D)."""
    return hidden[torch.cumsum(lengths, 0) - 1]


POOLINGS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {"mean": mean, "cls": cls, "max": maximum, "last": last}
"""Pooling functions by name; `pooler` is the backbone's own trained pooler over `cls`, applied by the model."""
