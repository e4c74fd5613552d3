"""The maths of one training step: from a batch and a model to J = w * InfoNCE + lambda * LM + further terms.

In: a `Batch`, the model (wrapped or not). Out: `Terms`, this rank's shares of all terms: their mean over the ranks is
the term of the batch of all ranks (see `distributed`). Each term is divided by its own count (pairs, masked tokens), so
that lambda means what it says. Further terms over the embeddings are parts of their own (see `terms`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mlcl.model.packing import Packed, chunks
from mlcl.objectives import NegativeQueue
from mlcl.training import lm_weighting
from mlcl.training.arguments import MLCTrainingArguments
from mlcl.training.batching import Batch, filler
from mlcl.training.distributed import Counts, gather_integers, gather_rows, info_nce_share, world_size
from mlcl.training.forward import Encoded, encode
from mlcl.training.momentum import MomentumEncoder
from mlcl.training.temperature import Temperature
from mlcl.training.terms import FurtherTerms, View


@dataclass
class Terms:
    """This rank's shares of the terms, unweighted; None = not part of the objective."""

    info_nce: Tensor | None = None
    lm: Tensor | None = None
    further: dict[str, Tensor] = field(default_factory=dict)

    def named(self) -> dict[str, Tensor]:
        """The terms that are part of the objective, by name."""
        pair = {"info_nce": self.info_nce, "lm": self.lm}
        return {name: term for name, term in pair.items() if term is not None} | self.further

    def detach(self) -> Terms:
        """The same values without a graph."""
        further = {name: term.detach() for name, term in self.further.items()}
        info_nce, lm = (None if term is None else term.detach() for term in (self.info_nce, self.lm))
        return Terms(info_nce, lm, further)


class Objective:
    """The joint objective, its queue, its temperature and its further terms.

    Args:
        args: Weights, margin, direction.
        temperature: Temperature of InfoNCE.
        momentum: Encoder of the keys; None without a queue.
        queue: Queue of negatives; None without one.
        autocast: Makes the precision context of the encoders and of the products of both terms.
        further: Terms beside InfoNCE and LM.

    Attributes:
        progress: Share of the training that is done, in [0, 1]; the trainer keeps it up to date.
        keeps_keys: Whether the keys of a batch go into the queue; not when it is seen a second time.
        weighting: Decides lambda.
        new_keys: Keys (N, D) of the micro-batches of this update with their group ids, on their way into the queue.
        latest_keys: Sentences of this rank's newest keys and the keys (n, D) in their restored order.
        enqueued: Keys that the queue has taken so far.
    """

    def __init__(
        self,
        args: MLCTrainingArguments,
        temperature: Temperature,
        momentum: MomentumEncoder | None,
        queue: NegativeQueue | None,
        autocast: Callable[[], AbstractContextManager[Any]],
        further: FurtherTerms,
    ) -> None:
        self.further, self.progress, self.keeps_keys = further, 0.0, True
        self.args, self.temperature, self.momentum, self.queue = args, temperature, momentum, queue
        self._autocast = autocast
        self.weighting = lm_weighting.make(args.lm_balance, args.info_nce_weight, args.lm_weight, args.lm_weight_end)
        self.new_keys: list[tuple[Tensor, Tensor]] = []
        self.latest_keys: tuple[Packed, Tensor] | None = None
        self.enqueued = 0
        self._only: str | None = None

    @property
    def uses_pairs(self) -> bool:
        """Whether a term sees the embeddings of the pairs; else they serve the LM term alone."""
        return self.args.info_nce_weight > 0 or bool(self.further)

    def counts(self, batch: Batch) -> Counts:
        """What each rank has in this step; every rank must call it."""
        masked = 0 if batch.labels is None else len(batch.labels)
        return Counts.of(batch.pairs, batch.hard_negatives, masked, batch.ids.device)

    def terms(self, model: nn.Module, batch: Batch) -> Terms:
        """All terms of one batch, everything encoded at once."""
        counts = self.counts(batch)
        masked, labels = self.lm_targets(batch)
        encoded = self.encode(model, batch.online, masked, labels)
        terms = Terms()
        if self.uses_pairs:
            assert encoded.embeddings is not None
            terms = self.pair_terms(batch, batch.online.restore(encoded.embeddings), counts)
        if encoded.lm_sum is not None:
            terms.lm = lm_share(encoded.lm_sum, counts)
        return terms

    def encode(
        self, model: nn.Module, packed: Packed, masked: Tensor | None = None, labels: Tensor | None = None
    ) -> Encoded:
        """`forward.encode` in the precision of the run."""
        with self._autocast():  # accelerate puts it around DDP's forward, but not around that of FSDP2
            return encode(model, packed, masked, labels)

    def total(self, terms: Terms) -> Tensor:
        """J, as far as the terms are there."""
        weights = self.weights
        return torch.stack([weights[name] * term for name, term in terms.named().items()]).sum()

    @property
    def weights(self) -> dict[str, float]:
        """The weight of each term; the same during an update."""
        weights = {**self.weighting.weights(self.progress), **self.further.weights}
        return weights if self._only is None else {name: float(name == self._only) for name in weights}

    @contextmanager
    def only(self, name: str) -> Iterator[None]:
        """Within the block J is one term, unweighted; the others are computed, so that every parameter takes part."""
        self._only = name
        try:
            yield
        finally:
            self._only = None

    def lm_targets(self, batch: Batch) -> tuple[Tensor | None, Tensor | None]:
        """Masked positions (P,) and labels (P,); empty, not None, where only this batch has none."""
        if not self.args.uses_lm:
            return None, None
        if batch.masked is None:
            nothing = batch.ids.new_empty(0)
            return nothing, nothing
        return batch.masked, batch.labels

    def pair_terms(
        self, batch: Batch, embeddings: Tensor, counts: Counts, mini_batch_tokens: int | None = None
    ) -> Terms:
        """This rank's shares of all terms over the embeddings of the pairs; arguments as those of `contrast`."""
        terms = Terms()
        if self.args.info_nce_weight > 0:
            terms.info_nce = self.contrast(batch, embeddings, counts, mini_batch_tokens)
        if self.further:
            terms.further = self.further(self._view(batch, embeddings, counts))
        return terms

    def _view(self, batch: Batch, embeddings: Tensor, counts: Counts) -> View:
        anchors, positives, hard_negatives = _sides(batch, embeddings.float())
        return View(
            anchors=anchors,
            positives=positives,
            hard_negatives=hard_negatives,
            ids=batch.ids,
            negative_ids=batch.negative_ids,
            languages=batch.languages,
            columns=batch.columns,
            sentences=batch.online,
            counts=counts,
            temperature=self.temperature(),
            margin=self.args.margin,
            angular_margin=self.args.angular_margin,
            symmetric=self.args.symmetric,
            progress=self.progress,
            autocast=self._autocast,
        )

    def contrast(
        self, batch: Batch, embeddings: Tensor, counts: Counts, mini_batch_tokens: int | None = None
    ) -> Tensor:
        """This rank's share of InfoNCE; in training, the keys of the batch are kept for the queue.

        Args:
            batch: The batch.
            embeddings: (N, D) in the batch's order: B anchors, B positives, M hard negatives, others.
            counts: What each rank has.
            mini_batch_tokens: Most tokens that the momentum encoder takes at once; None = all.
        """
        anchors, positives, hard_negatives = _sides(batch, F.normalize(embeddings.float(), dim=-1))
        queue = queue_ids = None
        if self.queue is not None and torch.is_grad_enabled():
            queue, queue_ids = self.queue.vectors, self.queue.ids
            if self.keeps_keys:
                self.new_keys.append(self._encode_keys(batch, counts, mini_batch_tokens))
        with self._autocast():
            return info_nce_share(
                anchors,
                positives,
                hard_negatives,
                ids=batch.ids,
                hard_negative_ids=batch.negative_ids,
                counts=counts,
                queue=queue,
                queue_ids=queue_ids,
                temperature=self.temperature(),
                symmetric=self.args.symmetric,
                margin=self.args.margin,
                angular_margin=self.args.angular_margin,
            )

    @torch.no_grad()
    def _encode_keys(self, batch: Batch, counts: Counts, mini_batch_tokens: int | None) -> tuple[Tensor, Tensor]:
        """Keys (N, D) of the positives of all ranks in rank order, and their group ids (N,)."""
        assert batch.keys is not None
        assert self.momentum is not None
        keys, parts = batch.keys, []
        cuts = [(keys.input_ids, keys.lengths)]
        if mini_batch_tokens is not None:
            cuts = list(chunks(keys.input_ids, keys.lengths, mini_batch_tokens))
        (everywhere,) = gather_integers([len(cuts)], batch.ids.device)
        nothing = filler().to(batch.ids.device)
        cuts += [(nothing.input_ids, nothing.lengths)] * (max(everywhere) - len(cuts))  # under FSDP2, as many forwards
        for ids, lengths in cuts:
            encoded = self.encode(self.momentum.encoder, Packed(ids, lengths, keys.order))
            assert encoded.embeddings is not None
            parts.append(encoded.embeddings)
        rows = torch.cat(parts)[: len(keys.lengths)].float()
        vectors = F.normalize(keys.restore(rows), dim=-1)[: batch.pairs]
        self.latest_keys = keys, vectors
        return gather_rows(vectors, counts.pairs), gather_rows(batch.ids, counts.pairs)

    def after_update(self, online: nn.Module, learning_rate: float) -> None:
        """Move what is not the encoder's: once per optimiser update, however many micro-batches it had.

        That is the temperature, the parameters of further terms, the momentum encoder and the queue.

        The momentum encoder follows the equal weights and the queue takes the keys of all ranks in rank order, so both
        stay equal on all ranks.
        """
        self.temperature.step(learning_rate)
        self.further.step(learning_rate)
        self.weighting.after_update(learning_rate)
        if self.momentum is None or self.queue is None:
            return
        self.momentum.update(online)
        for keys, ids in self.new_keys:
            self.queue.enqueue(keys, ids)
            self.enqueued += len(keys)
        self.new_keys.clear()


def _sides(batch: Batch, rows: Tensor) -> tuple[Tensor, ...]:
    """Rows (N, D) in the batch's order -> those of the B anchors, the B positives and the M hard negatives."""
    sizes = [batch.pairs, batch.pairs, batch.hard_negatives]
    return rows[: sum(sizes)].split(sizes)


def lm_share(lm_sum: Tensor, counts: Counts) -> Tensor:
    """Cross-entropy summed over this rank's masked tokens -> this rank's share of the mean over those of all ranks.

    Without a masked token on any rank the term is 0.
    """
    return lm_sum * (world_size() / max(1, sum(counts.masked)))
