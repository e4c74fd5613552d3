"""Packing: sentences of many lengths as one stream of real tokens, without padding.

In: sequences of token ids. Out: `Packed`, sorted by length, so that sentences of equal length stand together and
attention runs on plain (n, L) blocks. What comes out of the model is in packed order; `restore` undoes the sorting.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor


@dataclass(slots=True)
class Packed:
    """A batch without padding.

    Attributes:
        input_ids: (T,) token ids of all sentences, one after the other.
        lengths: (N,) tokens of each sentence, ascending.
        order: (N,) position that sentence i of the pack had in the input.
    """

    input_ids: Tensor
    lengths: Tensor
    order: Tensor

    def restore(self, rows: Tensor) -> Tensor:
        """(N, ...) rows in packed order -> the same rows in input order."""
        restored = torch.empty_like(rows)
        return restored.index_copy(0, self.order.to(rows.device), rows)

    def to(self, device: torch.device | str) -> Packed:
        """The same pack with its token ids on a device; lengths and order steer the host and stay there."""
        return Packed(self.input_ids.to(device, non_blocking=True), self.lengths, self.order)


def pack(sequences: Sequence[Any]) -> Packed:
    """Pack sequences of token ids (lists, arrays or tensors), shortest first; equal lengths keep their order.

    Raises:
        ValueError: nothing to pack, or an empty sequence.
    """
    arrays = [np.asarray(sequence, dtype=np.int64) for sequence in sequences]
    lengths = np.array([len(array) for array in arrays], dtype=np.int64)
    if not len(arrays) or lengths.min() == 0:
        raise ValueError("pack needs at least one sequence, and none of them empty")
    order = np.argsort(lengths, kind="stable")
    return Packed(
        input_ids=torch.from_numpy(np.concatenate([arrays[i] for i in order])),
        lengths=torch.from_numpy(lengths[order]),
        order=torch.from_numpy(order),
    )


def pad(input_ids: Tensor, lengths: Tensor, pad_token_id: int) -> tuple[Tensor, Tensor]:
    """A packed stream (T,) of sentences (N,) with padding: input_ids (N, L) and attention_mask (N, L)."""
    mask = torch.arange(int(lengths.max())) < lengths[:, None]  # (N, L)
    mask = mask.to(input_ids.device)
    padded = torch.full(mask.shape, pad_token_id, dtype=torch.long, device=input_ids.device)
    padded[mask] = input_ids.long()
    return padded, mask.long()


def chunks(input_ids: Tensor, lengths: Tensor, tokens: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Cut a packed stream sorted by length into parts of at most `tokens` padded tokens (one sentence at least)."""
    sizes = lengths.tolist()
    first = start = 0
    while first < len(sizes):
        last = first + 1
        while last < len(sizes) and (last + 1 - first) * sizes[last] <= tokens:
            last += 1
        width = sum(sizes[first:last])
        yield input_ids[start : start + width], lengths[first:last]
        first, start = last, start + width


def equal_runs(lengths: Tensor) -> list[tuple[int, int, int]]:
    """Runs of equal length as (first token, sentences, length). Lengths (N,) in stream order."""
    values, counts = torch.unique_consecutive(lengths, return_counts=True)
    runs, start = [], 0
    for length, count in zip(values.tolist(), counts.tolist(), strict=True):
        runs.append((start, count, length))
        start += length * count
    return runs


def positions(lengths: Tensor) -> Tensor:
    """(N,) lengths -> (T,) position of each token inside its sentence, from 0."""
    starts = torch.cumsum(lengths, 0) - lengths
    return torch.arange(int(lengths.sum())) - torch.repeat_interleave(starts, lengths)
