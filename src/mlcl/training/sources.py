"""Where training batches come from: a tokenised corpus, or a data set with anchor and positive columns.

A source makes batch number i from nothing but its seed and i; `loader` turns it into what the Trainer iterates over.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from mlcl.core.errors import UserError
from mlcl.model.backbones import Family
from mlcl.training.arguments import MLCTrainingArguments
from mlcl.training.augmentation import Augmentation
from mlcl.training.batching import Batch, make_batch
from mlcl.training.corruption import Corruption, Ids, corruption_for
from mlcl.training.documents import Documents
from mlcl.training.negative_store import NegativeStore
from mlcl.training.sampling import Sampler as CorpusSampler
from mlcl.training.skipping import Numbered
from mlcl.training.text_groups import text_groups
from mlcl.training.token_store import encode

_MASKS, _PERMUTATION, _NEGATIVES = 3, 4, 6  # random streams beside those of sampling.py and augmentation.py


@dataclass(frozen=True)
class BatchSettings:
    """What a batch holds.

    Attributes:
        pairs: Translation pairs of one batch (one rank, one micro-batch).
        contrastive: Whether a term sees their embeddings; else they serve the LM term alone, not encoded as they are.
        lm_sentences: Inputs for the LM term.
        tlm_share: Share of these that are translation pairs (TLM); the others are single sentences (MLM).
        with_keys: Whether the momentum encoder needs the positives once more.
        masking: How tokens are hidden; None without an LM term.
        negatives_per_pair: Most hard negatives of a pair that are drawn from those of the corpus.
        mask_documents: Whether sentences of one document are no negatives of each other.
        seed: Seed of everything drawn.
    """

    pairs: int
    contrastive: bool = True
    lm_sentences: int = 0
    tlm_share: float = 0.0
    with_keys: bool = False
    masking: Corruption | None = None
    negatives_per_pair: int = 0
    mask_documents: bool = False
    seed: int = 0


class Source(Dataset[Batch], ABC):
    """Makes batch number i; `len` is the number of batches in one epoch over all ranks."""

    settings: BatchSettings
    languages: Sequence[str] = ()

    @property
    def provides(self) -> set[str]:
        """What batches hold beside the sentences: `ids`, `languages`, `negatives`, names of further columns."""
        return {"ids"}

    @property
    def layout(self) -> dict[str, int] | None:
        """What a resumed run must have in common with the first, beside seed and batch size; None = nothing."""
        return None

    @property
    def widths(self) -> dict[str, int]:
        """Values in a row of each further column, by name."""
        return {}

    @abstractmethod
    def __len__(self) -> int:
        """Batches in one epoch."""

    @abstractmethod
    def __getitem__(self, number: int) -> Batch:
        """Batch number `number`, counted over all epochs."""

    def _assemble(
        self,
        number: int,
        anchors: list[Ids],
        positives: list[Ids],
        single: list[Ids],
        ids: np.ndarray | None = None,
        hard_negatives: Sequence[Ids] = (),
    ) -> Batch:
        """Mask the LM inputs (`single` sentences, then pairs of the batch) and pack everything."""
        settings = self.settings
        pairs: list[Ids] = []
        if settings.masking is not None:
            wanted = settings.lm_sentences - len(single)
            pairs = [settings.masking.join(*pair) for pair in zip(anchors[:wanted], positives[:wanted], strict=True)]
        if not settings.contrastive:
            anchors, positives, hard_negatives, ids = [], [], (), None
        return make_batch(
            anchors,
            positives,
            ids=ids,
            hard_negatives=hard_negatives,
            lm=[*single, *pairs] if settings.lm_sentences else [],
            masking=settings.masking,
            rng=np.random.default_rng((settings.seed, _MASKS, number)),
            with_keys=settings.with_keys,
        )

    @property
    def _single_sentences(self) -> int:
        return round(self.settings.lm_sentences * (1 - self.settings.tlm_share))


Column = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""Sentence indices of anchors (B,) and positives (B,), -1 = not of the corpus -> further rows (B, ...), for a term."""


class CorpusSource(Source):
    """Batches from a tokenised corpus, languages drawn by temperature. One epoch draws as many pairs as there are.

    Args:
        sampler: Draws sentences of the corpus.
        settings: What a batch holds.
        columns: Further columns of a batch by name.
        documents: Documents of the corpus' groups.
        negatives: Hard negatives of the corpus.
        augmentation: Makes pairs that take the place of some that are drawn; to further columns they are sentence -1.
    """

    def __init__(
        self,
        sampler: CorpusSampler,
        settings: BatchSettings,
        columns: dict[str, Column] | None = None,
        documents: Documents | None = None,
        negatives: NegativeStore | None = None,
        augmentation: Augmentation | None = None,
    ) -> None:
        self.sampler, self.settings, self.columns = sampler, settings, columns or {}
        self.documents, self.negatives, self.augmentation = documents, negatives, augmentation
        self.languages = sampler.store.languages

    @property
    def provides(self) -> set[str]:
        """Group ids, languages, further columns; documents and hard negatives where the corpus has some."""
        found = {"documents": self.documents is not None, "negatives": self._uses_negatives}
        return {"ids", "languages", *self.columns, *(name for name, there in found.items() if there)}

    @property
    def _uses_negatives(self) -> bool:
        return self.negatives is not None and self.settings.negatives_per_pair > 0

    @property
    def widths(self) -> dict[str, int]:
        """Values in a row of each further column."""
        nothing = np.empty(0, dtype=np.int64)
        return {name: int(np.prod(column(nothing, nothing).shape[1:])) for name, column in self.columns.items()}

    def __len__(self) -> int:
        return max(1, self.sampler.pairs // self.settings.pairs)

    def __getitem__(self, number: int) -> Batch:
        made = None
        if self.augmentation is not None and self.settings.contrastive:
            made = self.augmentation.pairs(number, self.settings.pairs)
        drawn = self.settings.pairs - (0 if made is None else len(made.anchors))
        draw = self.sampler.draw(number, drawn, self._single_sentences)
        store = self.sampler.store
        anchors, positives, single = (
            [store.sentence(i) for i in rows] for rows in (draw.anchors, draw.positives, draw.lm)
        )
        ids = store.group[draw.anchors]
        languages = np.stack([store.language[draw.anchors], store.language[draw.positives]], axis=1)  # (B, 2)
        if self.augmentation is not None and made is not None:
            anchors = [*self.augmentation.switch_some(number, anchors, languages[:, 0]), *made.anchors]
            positives, ids = [*positives, *made.positives], np.concatenate([ids, made.ids])
            languages = np.concatenate([languages, np.stack([made.languages] * 2, axis=1)])
        negatives, negative_ids = self._draw_negatives(number, ids)
        batch = self._assemble(number, anchors, positives, single, ids=ids, hard_negatives=negatives)
        if not self.settings.contrastive:
            return batch
        batch.negative_ids = torch.from_numpy(negative_ids)
        batch.languages = torch.from_numpy(languages.astype(np.int64))
        nowhere = np.full(len(anchors) - len(draw.anchors), -1)  # made pairs
        sides = [np.concatenate([side, nowhere]) for side in (draw.anchors, draw.positives)]
        batch.columns = {name: torch.from_numpy(column(*sides)) for name, column in self.columns.items()}
        if self.documents is not None:
            batch.columns["documents"] = torch.from_numpy(self.documents.of_groups(ids))
            if self.settings.mask_documents:
                batch.ids = _masked(batch.ids, batch.columns["documents"])
                batch.negative_ids = _masked(
                    batch.negative_ids, torch.from_numpy(self.documents.of_groups(negative_ids))
                )
        return batch

    def _draw_negatives(self, number: int, ids: np.ndarray) -> tuple[list[Ids], np.ndarray]:
        """Hard negatives of the pairs with these groups (B,), and the groups (M,) of the negatives."""
        if self.negatives is None or not self._uses_negatives:
            return [], np.empty(0, np.int64)
        rng = np.random.default_rng((self.settings.seed, _NEGATIVES, number))
        return self.negatives.draw(ids, self.settings.negatives_per_pair, rng)


def _masked(ids: torch.Tensor, documents: torch.Tensor) -> torch.Tensor:
    """Group ids (N,), with the document in the place of the group where there is one."""
    return torch.where(documents >= 0, documents, ids)


class TextSource(Source):
    """Batches from rows with the texts `anchor`, `positive` and, if there, `negative`; shuffled anew in each epoch.

    Args:
        rows: A `datasets.Dataset`, or any sequence of dictionaries.
        tokenizer: A Hugging Face tokenizer.
        max_length: Longest text in tokens.
        settings: What a batch holds.
        collate: Turns a list of rows into a `Batch` instead of the built-in way.

    Raises:
        UserError: no rows, or a column that is missing.
    """

    def __init__(
        self,
        rows: Any,
        tokenizer: Any,
        max_length: int,
        settings: BatchSettings,
        collate: Callable[[list[dict[str, Any]]], Batch] | None = None,
    ) -> None:
        if len(rows) == 0:
            raise UserError("the training set is empty")
        if collate is None and (missing := {"anchor", "positive"} - set(rows[0])):
            raise UserError(
                f"the training set has no column {', '.join(sorted(missing))}; it has {', '.join(rows[0])}",
                remedy="rename its columns to anchor, positive and, if there are hard negatives, negative",
            )
        self.rows, self.tokenizer, self.max_length = rows, tokenizer, max_length
        self.settings, self.collate = settings, collate

    @property
    def provides(self) -> set[str]:
        """Group ids, and hard negatives where the rows have any."""
        return {"ids", "negatives"} if self.collate is None and "negative" in self.rows[0] else {"ids"}

    def __len__(self) -> int:
        return -(-len(self.rows) // self.settings.pairs)

    def __getitem__(self, number: int) -> Batch:
        epoch, batch = divmod(number, len(self))
        order = np.random.default_rng((self.settings.seed, _PERMUTATION, epoch)).permutation(len(self.rows))
        chosen = order[batch * self.settings.pairs : (batch + 1) * self.settings.pairs]
        rows = [self.rows[int(i)] for i in chosen]
        if self.collate is not None:
            return self.collate(rows)
        anchors, positives = (self._encode([row[name] for row in rows]) for name in ("anchor", "positive"))
        negatives = [text for row in rows for text in _as_list(row.get("negative"))]
        hard_negatives = self._encode(negatives) if negatives else []
        single = (anchors + positives)[: self._single_sentences]
        ids = text_groups([(row["anchor"], row["positive"]) for row in rows])
        return self._assemble(number, anchors, positives, single, ids=ids, hard_negatives=hard_negatives)

    def _encode(self, texts: list[str]) -> list[Ids]:
        return [np.asarray(ids) for ids in encode(self.tokenizer, texts, self.max_length)]


def _as_list(value: Any) -> list[str]:
    return [] if value is None else [value] if isinstance(value, str) else list(value)


class _BatchNumbers(Sampler[list[int]]):
    """Numbers of the batches of this rank, epoch after epoch.

    It is the loader's batch sampler (each "batch" is one number), because that is what transformers tells the epoch to
    and what accelerate skips in when a run is resumed.
    """

    def __init__(self, source: Source, rank: int, world_size: int) -> None:
        self.source, self.rank, self.world_size, self.epoch = source, rank, world_size, 0

    @property
    def batch_sampler(self) -> _BatchNumbers:
        """Where transformers looks for `set_epoch`."""
        return self

    def set_epoch(self, epoch: int) -> None:
        """Called by transformers at the start of each epoch."""
        self.epoch = epoch

    def __len__(self) -> int:
        return max(1, len(self.source) // self.world_size)

    def __iter__(self) -> Iterator[list[int]]:
        first = self.epoch * len(self)
        return ([(first + i) * self.world_size + self.rank] for i in range(len(self)))


def loader(
    source: Source, *, rank: int, world_size: int, workers: int, pin_memory: bool, skip: Iterable[int] = ()
) -> DataLoader[Batch]:
    """A data loader over the batches of one rank; batches of the numbers in `skip` come without a sentence."""
    numbers = _BatchNumbers(source, rank, world_size)
    batches = Numbered(source, frozenset(skip))
    return DataLoader(
        batches, batch_sampler=numbers, collate_fn=_only, num_workers=workers, pin_memory=pin_memory and workers == 0
    )


def _only(batches: list[Batch]) -> Batch:
    return batches[0]


def as_source(
    data: Any,
    args: MLCTrainingArguments,
    tokenizer: Any,
    max_length: int,
    collate: Callable[[list[dict[str, Any]]], Batch] | None = None,
    *,
    family: Family,
) -> Source:
    """What the Trainer's `train_dataset` means: a `Source` with the settings of the arguments, or rows of text.

    `family` is that of the model's backbone, on which the LM term depends.

    Raises:
        UserError: the arguments or the rows need a tokenizer that is not there.
    """
    settings = _settings(args, tokenizer, family)
    if isinstance(data, Source):
        data.settings = settings
        return data
    if tokenizer is None and collate is None:
        raise UserError(
            "rows of text need a tokenizer", remedy="pass processing_class=AutoTokenizer.from_pretrained(...)"
        )
    return TextSource(data, tokenizer, max_length, settings, collate)


def lm_corruption(args: MLCTrainingArguments, tokenizer: Any, family: Family) -> Corruption | None:
    """How the inputs of the LM term are made; None without such a term.

    Raises:
        UserError: see `corruption_for`.
    """
    if not args.uses_lm:
        return None
    return corruption_for(
        family, tokenizer, args.mlm_probability, blank_share=args.blank_share, blank_token=args.blank_token
    )


def _settings(args: MLCTrainingArguments, tokenizer: Any, family: Family) -> BatchSettings:
    return BatchSettings(
        pairs=args.per_device_train_batch_size,
        contrastive=args.uses_pairs,
        lm_sentences=round(args.lm_share * args.per_device_train_batch_size) if args.uses_lm else 0,
        tlm_share=args.tlm_share,
        with_keys=args.uses_queue,
        masking=lm_corruption(args, tokenizer, family),
        negatives_per_pair=args.negatives_per_pair,
        mask_documents=args.mask_documents,
        seed=data_seed(args),
    )


def data_seed(args: MLCTrainingArguments) -> int:
    """Seed of everything that is drawn for batches."""
    return args.seed if args.data_seed is None else args.data_seed
