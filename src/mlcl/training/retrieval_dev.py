"""The score during training: does each held-out sentence find its translation among the others?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from mlcl.model.model import MLCModel
from mlcl.model.packing import chunks, pack
from mlcl.training.corruption import Ids
from mlcl.training.sampling import Sampler
from mlcl.training.token_store import encode

_TOKENS = 8192  # tokens that are encoded at once


@dataclass
class DevPairs:
    """Pairs of token ids: row i of `anchors` translates row i of `positives`."""

    anchors: list[Ids]
    positives: list[Ids]

    def __len__(self) -> int:
        return len(self.anchors)

    @classmethod
    def from_sampler(cls, sampler: Sampler) -> DevPairs | None:
        """One pair from each held-out group; None where none was held out."""
        first, second = sampler.dev_pairs()
        if not len(first):
            return None
        return cls([sampler.store.sentence(i) for i in first], [sampler.store.sentence(i) for i in second])

    @classmethod
    def from_rows(cls, rows: Any, tokenizer: Any, max_length: int) -> DevPairs:
        """Rows with the texts `anchor` and `positive`."""
        sides = (encode(tokenizer, [row[name] for row in rows], max_length) for name in ("anchor", "positive"))
        anchors, positives = ([np.asarray(ids) for ids in side] for side in sides)
        return cls(anchors, positives)


@torch.no_grad()
def retrieval_accuracy(model: MLCModel, pairs: DevPairs, device: torch.device) -> float:
    """Mean accuracy of nearest-neighbour retrieval by cosine over both directions."""
    training = model.training
    model.eval()
    try:
        anchors, positives = (embed(model, side, device) for side in (pairs.anchors, pairs.positives))
    finally:
        model.train(training)
    similarity = anchors @ positives.T  # (N, N)
    right = torch.arange(len(pairs), device=similarity.device)
    hits = [(similarity.argmax(dim) == right).float().mean() for dim in (0, 1)]
    return float(sum(hits) / 2)


@torch.no_grad()
def embed(model: MLCModel, sequences: list[Ids], device: torch.device) -> torch.Tensor:
    """Unit vectors (N, D) of N sequences of token ids, in their order; in whatever mode the model is."""
    packed = pack(sequences)
    parts = [
        model(ids.to(device), lengths=lengths).embeddings
        for ids, lengths in chunks(packed.input_ids, packed.lengths, _TOKENS)
    ]
    return F.normalize(packed.restore(torch.cat(parts)).float(), dim=-1)
