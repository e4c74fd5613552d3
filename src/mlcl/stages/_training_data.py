"""What `mlcl pretrain` trains on: an indexed corpus, or a stream.

In: the settings, the corpus and a tokenizer. Out: the source of batches, the dev pairs, and a store of sentences for
the initialisation of embeddings.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from mlcl.core.errors import UserError
from mlcl.core.progress import step, warn
from mlcl.corpus.store import Corpus
from mlcl.training.arguments import MLCTrainingArguments
from mlcl.training.augmentation import AugmentationSettings, augmentation_for
from mlcl.training.documents import Documents
from mlcl.training.mixing import SamplingSettings, Stage, plan, steps_of_run
from mlcl.training.negative_store import negative_store
from mlcl.training.retrieval_dev import DevPairs
from mlcl.training.sampling import Sampler
from mlcl.training.sources import BatchSettings, Column, CorpusSource
from mlcl.training.stream import StreamSource
from mlcl.training.token_store import TokenStore


@dataclass(frozen=True)
class TrainingData:
    """What training needs of a corpus.

    Attributes:
        source: Makes batches.
        dev: Held-out pairs, if any.
        pairs: Size of an epoch, in sentences with a translation or, of a stream, in rows of pairs.
        sentences: Gives a store of sentences in which those of dev pairs have no group; of a stream, of a part of them
            and without those.
    """

    source: CorpusSource | StreamSource
    dev: DevPairs | None
    pairs: int
    sentences: Callable[[], TokenStore]


def known_documents(corpus: Corpus, args: MLCTrainingArguments) -> Documents | None:
    """The documents of the corpus, where the arguments need them.

    Raises:
        UserError: they do, and the corpus has none.
    """
    if not args.uses_documents:
        return None
    documents = Documents.of(corpus)
    if documents is None:
        raise UserError(
            "mask_documents and the objective context need documents, no pair of the corpus has one",
            path=corpus.path,
            remedy="leave them out, or build the corpus from sources with documents",
        )
    return documents


def indexed(
    store: TokenStore,
    corpus: Corpus,
    tokenizer: Any,
    max_length: int,
    config: Any,
    args: MLCTrainingArguments,
    documents: Documents | None = None,
    columns: dict[str, Column] | None = None,
) -> TrainingData:
    """Training data from a tokenised corpus; `config` are the settings of `mlcl pretrain`, `columns` further ones."""
    sampling: SamplingSettings = config.sampling
    sampler = Sampler(
        store,
        pivot=sampling.pivot,
        max_repeats=sampling.max_repeats,
        dev_groups=sampling.dev_groups,
        seed=args.seed,
        with_lm=args.uses_lm,
    )
    source = CorpusSource(
        sampler,
        BatchSettings(pairs=args.per_device_train_batch_size),
        columns,
        documents=documents,
        negatives=negative_store(corpus, tokenizer, max_length) if args.uses_negatives else None,
        augmentation=augmentation_for(
            config.augmentation, store, tokenizer, held_out=sampler.dev_ids, max_length=max_length, seed=args.seed,
            step=step,
        ),
    )  # fmt: skip
    sampler.follow(_stages(sampling, args, len(source)))
    return TrainingData(
        source, DevPairs.from_sampler(sampler), sampler.pairs, lambda: store.without_groups(sampler.dev_ids)
    )


def check_stream(config: Any, args: MLCTrainingArguments) -> None:
    """Refuse what a stream cannot do, before any work.

    Raises:
        UserError: naming it.
    """
    if config.buffer_rows < args.per_device_train_batch_size:
        raise UserError(f"buffer_rows is {config.buffer_rows}, it must hold at least one batch")
    remedy = "copy the corpus to a folder, and train without stream"
    if config.augmentation != AugmentationSettings():
        raise UserError("augmentation needs an indexed corpus, not a stream", remedy=remedy)
    if args.uses_documents:
        raise UserError("mask_documents and the objective context need an indexed corpus, not a stream", remedy=remedy)
    if config.teacher.model is not None:
        raise UserError("a teacher needs an indexed corpus, not a stream", remedy=remedy)
    if config.training.get("negatives_per_pair"):
        raise UserError("hard negatives need an indexed corpus, not a stream", remedy=remedy)
    if args.uses_negatives:  # by default
        warn("a stream leaves the hard negatives of a corpus out; --training.negatives_per_pair 0 says that you know")


def streamed(corpus: Corpus, tokenizer: Any, max_length: int, config: Any, args: MLCTrainingArguments) -> TrainingData:
    """Training data straight from the shards of a corpus; `config` are the settings of `mlcl pretrain`."""
    with step("dev pairs from the stream"):
        source = StreamSource(
            corpus,
            tokenizer,
            max_length,
            BatchSettings(pairs=args.per_device_train_batch_size),
            config.sampling,
            ranks=args.world_size,
            workers=args.dataloader_num_workers,
            buffer_rows=config.buffer_rows,
            seed=args.seed,
        )
    source.follow(_stages(config.sampling, args, len(source)))
    return TrainingData(source, source.dev, source.pairs, source.sample_store)


def _stages(sampling: SamplingSettings, args: MLCTrainingArguments, batches: int) -> list[Stage]:
    return plan(sampling, steps_of_run(args, batches), args.gradient_accumulation_steps * args.world_size)
