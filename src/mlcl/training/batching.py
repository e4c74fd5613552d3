"""From token ids to the tensors of one training step.

In: anchors, positives, hard negatives and sentences for the LM term, as token ids. Out: one packed stream with
everything the online encoder sees, its LM labels, the group ids, and a second pack with the keys for the momentum
encoder.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from mlcl.model.packing import Packed, pack
from mlcl.training.corruption import Corruption, Ids


@dataclass
class Batch:
    """One step's input. Rows of the restored embeddings are: B anchors, B positives, M hard negatives, K LM sentences.

    Attributes:
        online: All sentences, packed.
        masked: (P,) positions in the packed stream that the labels of the LM term belong to, ascending: the token that
            is predicted, the one before it, or the first of a sentence that a decoder writes (see `corruption`); None
            without an LM term.
        labels: (P,) the token ids that are predicted.
        keys: The positives alone, for the momentum encoder; None without one.
        pairs: B.
        hard_negatives: M.
        ids: (B,) group ids, -1 = none.
        negative_ids: (M,) group ids of the hard negatives.
        languages: (B, 2) numbers of the languages of anchors and positives, -1 = unknown.
        columns: Further rows (B, ...) by name, for terms that need them.
        number: Its number in the source, counted over all epochs; -1 = unknown.
        tokens: Real tokens in all.
    """

    online: Packed
    pairs: int
    ids: Tensor
    masked: Tensor | None = None
    labels: Tensor | None = None
    keys: Packed | None = None
    hard_negatives: int = 0
    negative_ids: Tensor = field(default_factory=lambda: torch.empty(0, dtype=torch.long))
    languages: Tensor = field(default_factory=lambda: torch.empty(0, 2, dtype=torch.long))
    columns: dict[str, Tensor] = field(default_factory=dict)
    number: int = -1

    @property
    def tokens(self) -> int:
        """Real tokens of the step."""
        return len(self.online.input_ids)

    def to(self, device: torch.device | str) -> Batch:
        """The same batch on a device."""
        move = lambda tensor: None if tensor is None else tensor.to(device)  # noqa: E731
        return Batch(
            online=self.online.to(device),
            pairs=self.pairs,
            ids=self.ids.to(device),
            masked=move(self.masked),
            labels=move(self.labels),
            keys=move(self.keys),
            hard_negatives=self.hard_negatives,
            negative_ids=self.negative_ids.to(device),
            languages=self.languages.to(device),
            columns={name: rows.to(device) for name, rows in self.columns.items()},
            number=self.number,
        )


def make_batch(
    anchors: Sequence[Ids],
    positives: Sequence[Ids],
    *,
    ids: np.ndarray | None = None,
    hard_negatives: Sequence[Ids] = (),
    lm: Sequence[Ids] = (),
    masking: Corruption | None = None,
    rng: np.random.Generator | None = None,
    with_keys: bool = False,
) -> Batch:
    """Build a `Batch` from token ids.

    Without any sentence it is the batch of a rank that has nothing to do: one filler token goes through the model, and
    the terms are zeros with gradients, so that the rank takes part in every exchange.

    Args:
        anchors: B sequences.
        positives: B sequences; row i translates anchor i.
        ids: (B,) group ids; None = none.
        hard_negatives: M sequences.
        lm: K sequences for the LM term, corrupted here with `masking` and `rng`.
        masking: How to corrupt them; needed with `lm`.
        rng: Source of what is hidden.
        with_keys: Also pack the positives alone, for the momentum encoder.
    """
    contrastive: list[Ids] = [*anchors, *positives, *hard_negatives]
    examples = []
    for sequence in lm:
        assert masking is not None
        assert rng is not None
        examples.append(masking.corrupt(sequence, rng))
    inputs = [*contrastive, *(example.inputs for example in examples)]
    online = pack(inputs) if inputs else filler()
    masked = predicted = None
    if examples:
        starts = np.cumsum(online.lengths.numpy()) - online.lengths.numpy()  # in packed order
        ours = [
            (start, examples[row - len(contrastive)])
            for start, row in zip(starts, online.order.tolist(), strict=True)
            if row >= len(contrastive)
        ]
        masked = torch.from_numpy(np.concatenate([start + example.places for start, example in ours]))
        predicted = torch.from_numpy(np.concatenate([example.labels for _, example in ours]))
    return Batch(
        online=online,
        pairs=len(anchors),
        ids=torch.from_numpy(np.full(len(anchors), -1) if ids is None else np.asarray(ids, dtype=np.int64)),
        masked=masked,
        labels=predicted,
        keys=(pack(positives) if len(positives) else filler()) if with_keys else None,
        hard_negatives=len(hard_negatives),
        negative_ids=torch.full((len(hard_negatives),), -1, dtype=torch.long),
        languages=torch.full((len(anchors), 2), -1, dtype=torch.long),
    )


def filler() -> Packed:
    """A pack of one token, for a rank that has no sentence where the others have some."""
    return pack([[0]])
