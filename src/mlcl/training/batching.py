"""From token ids to the tensors of one training step.

In: anchors, positives, hard negatives and sentences for the LM term, as token ids. Out: one packed stream with
everything the online encoder sees, its LM labels, the group ids, and a second pack with the keys for the momentum
encoder.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mlcl.model.packing import Packed, pack

Ids = np.ndarray


@dataclass
class Batch:
    """One step's input. Rows of the restored embeddings are: B anchors, B positives, M hard negatives, K LM sentences.

    Attributes:
        online: All sentences, packed.
        masked: (P,) positions in the packed stream that the LM term predicts, ascending; None without an LM term.
        labels: (P,) the token ids at these positions.
        keys: The positives alone, for the momentum encoder; None without one.
        pairs: B.
        hard_negatives: M.
        ids: (B,) group ids, -1 = none.
        negative_ids: (M,) group ids of the hard negatives.
        languages: (B, 2) numbers of the languages of anchors and positives, -1 = unknown.
        columns: Further rows (B, ...) by name, for terms that need them.
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
        )


@dataclass(frozen=True)
class Masking:
    """How tokens are masked for the LM term (BERT's 80/10/10, arXiv 1810.04805).

    Attributes:
        mask_token_id: Id of the mask token.
        vocab_size: Random replacements are drawn from [0, vocab_size).
        special_ids: Ids that are never masked and never drawn.
        probability: Share of tokens that are predicted.
    """

    mask_token_id: int
    vocab_size: int
    special_ids: tuple[int, ...]
    probability: float = 0.15

    @classmethod
    def of(cls, tokenizer: Any, probability: float) -> Masking:
        """Masking with a tokenizer's ids."""
        return cls(tokenizer.mask_token_id, len(tokenizer), tuple(tokenizer.all_special_ids), probability)

    def apply(self, ids: Ids, rng: np.random.Generator) -> tuple[Ids, Ids]:
        """Token ids (L,) -> masked ids (L,) and labels (L,) with -100 where nothing is predicted.

        At least one token is predicted where there is one to mask, so that short sentences take part.
        """
        free = np.flatnonzero(~np.isin(ids, self.special_ids))
        labels = np.full(len(ids), -100, dtype=np.int64)
        if not len(free):
            return ids, labels
        chosen = free[rng.random(len(free)) < self.probability]
        if not len(chosen):
            chosen = rng.choice(free, size=1)
        labels[chosen] = ids[chosen]
        masked = ids.astype(np.int64)
        fate = rng.random(len(chosen))
        masked[chosen[fate < 0.8]] = self.mask_token_id
        random_at = chosen[fate >= 0.9]
        masked[random_at] = rng.integers(0, self.vocab_size, size=len(random_at))
        return masked, labels


def concatenate(first: Ids, second: Ids) -> Ids:
    """A translation pair as one input for TLM: the second loses its opening special token (XLM, arXiv 1901.07291)."""
    return np.concatenate([first, second[1:]])


def make_batch(
    anchors: Sequence[Ids],
    positives: Sequence[Ids],
    *,
    ids: np.ndarray | None = None,
    hard_negatives: Sequence[Ids] = (),
    lm: Sequence[Ids] = (),
    masking: Masking | None = None,
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
        lm: K sequences for the LM term, masked here with `masking` and `rng`.
        masking: How to mask; needed with `lm`.
        rng: Source of the masks.
        with_keys: Also pack the positives alone, for the momentum encoder.
    """
    inputs: list[Ids] = [*anchors, *positives, *hard_negatives]
    labels: list[Ids] = [np.full(len(sequence), -100, dtype=np.int64) for sequence in inputs]
    for sequence in lm:
        assert masking is not None
        assert rng is not None
        corrupted, targets = masking.apply(sequence, rng)
        inputs.append(corrupted)
        labels.append(targets)
    online = pack(inputs) if inputs else filler()
    masked = predicted = None
    if len(lm):
        stream = np.concatenate([labels[i] for i in online.order.tolist()])  # (T,)
        positions = np.flatnonzero(stream != -100)
        masked, predicted = torch.from_numpy(positions), torch.from_numpy(stream[positions])
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
