"""A queue of negatives: keys of earlier batches, with the groups that they belong to."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class NegativeQueue(nn.Module):
    """First-in first-out store of detached keys (MoCo, arXiv 1911.05722; XlCo in InfoXLM, arXiv 2007.07834).

    It is a module so that its contents are part of a state dict. A partly filled queue is used as far as it is
    filled. Group ids stay beside the vectors, because in a multi-parallel corpus the queue fills with translations
    of the queries to come.

    Args:
        size: Number of keys that are held; the oldest leave first.
        dim: Length of a key.

    Raises:
        ValueError: a size or dim below 1.
    """

    buffer: Tensor
    buffer_ids: Tensor
    position: Tensor
    filled: Tensor

    def __init__(self, size: int, dim: int) -> None:
        super().__init__()
        if size < 1 or dim < 1:
            raise ValueError(f"size {size} and dim {dim} must be at least 1")
        self.size = size
        self.register_buffer("buffer", torch.zeros(size, dim))
        self.register_buffer("buffer_ids", torch.full((size,), -1, dtype=torch.long))
        self.register_buffer("position", torch.zeros((), dtype=torch.long))
        self.register_buffer("filled", torch.zeros((), dtype=torch.long))

    def __len__(self) -> int:
        return int(self.filled)

    @property
    def vectors(self) -> Tensor:
        """(len, D) keys that are in the queue, in no particular order."""
        return self.buffer[: len(self)]

    @property
    def ids(self) -> Tensor:
        """(len,) group ids of the keys, -1 = no group."""
        return self.buffer_ids[: len(self)]

    @torch.no_grad()
    def enqueue(self, keys: Tensor, ids: Tensor | None = None) -> None:
        """Put keys (N, D) with their group ids (N,) in, over the oldest; of more than `size` keys the last stay.

        Raises:
            ValueError: ids that do not fit the keys.
        """
        if ids is None:
            ids = torch.full((len(keys),), -1, dtype=torch.long, device=keys.device)
        if ids.shape != keys.shape[:1]:
            raise ValueError(f"ids {tuple(ids.shape)} must be ({len(keys)},)")
        keys, ids = keys.detach()[-self.size :], ids[-self.size :]
        at = (self.position + torch.arange(len(keys), device=self.position.device)) % self.size
        self.buffer[at] = keys.to(self.buffer)
        self.buffer_ids[at] = ids.to(self.buffer_ids)
        self.position.copy_((self.position + len(keys)) % self.size)
        self.filled.copy_((self.filled + len(keys)).clamp(max=self.size))
