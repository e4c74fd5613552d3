"""One training step at a time of a Hugging Face Trainer, timed where the step begins and ends.

In: a trainer that is ready to train. Out: `TrainerSteps`, whose `step()` lets it do one optimiser update and returns
the seconds between `on_step_begin` and `on_step_end`: forward, backward, clipping, the optimiser, zero_grad and the
callbacks of the step, but not the making of the batch. Peers and we are so timed inside their own training loop.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
from greenlet import greenlet
from transformers import TrainerCallback
from workload import backbone_settings, sentence_lengths, text_of, token_ids, word_tokenizer

BATCHES = 4  # distinct batches; they come round again and again
_SEED = 1


class TrainerSteps(TrainerCallback):
    """Runs `trainer.train()` as a coroutine and leaves it before every step.

    A thread of its own would do as well but for OpenMP, which gives every thread that asks for work a team of its own:
    there our step took a third longer than in a real run, which lives in the main thread.
    """

    def __init__(self, trainer: Any) -> None:
        self.trainer = trainer
        self._caller = greenlet.getcurrent()
        self._training: greenlet | None = None
        self._start = self._seconds = 0.0
        trainer.add_callback(self)  # last of all, so that what other callbacks do belongs to the step

    def step(self) -> float:
        """One update; its seconds. Returns when the next batch is ready and nothing runs any more."""
        self._caller = greenlet.getcurrent()
        if self._training is None:
            self._training = greenlet(self.trainer.train)
            self._training.switch()
        self._training.switch()
        return self._seconds

    def on_step_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Wait until a step is asked for."""
        self._caller.switch()
        self._start = time.perf_counter()

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Take the time."""
        self._seconds = time.perf_counter() - self._start


def make_pairs(settings: dict[str, Any]) -> list[tuple[list[np.ndarray], list[np.ndarray]]]:
    """`BATCHES` batches of (anchors, positives) as token ids."""
    count, batches = settings["pairs"], []
    for number in range(BATCHES):
        seed = 100 * number
        lengths = sentence_lengths(2 * count, mean=settings["mean"], longest=settings["longest"], seed=seed)
        ids = token_ids(lengths, vocabulary=settings["vocabulary"], seed=seed + 1)
        batches.append((ids[:count], ids[count:]))
    return batches


def make_model(settings: dict[str, Any]) -> Any:
    """A fresh `MLCModel`, the same for every peer."""
    import torch

    from mlcl.model.config import MLCConfig
    from mlcl.model.model import MLCModel

    torch.manual_seed(_SEED)
    sizes = {name: settings[name] for name in ("layers", "hidden", "vocabulary", "longest")}
    backbone = backbone_settings(**sizes)
    backbone["max_position_embeddings"] = 2 * settings["longest"] + 2  # TLM joins two sentences
    special = {"pad_token_id": 1, "bos_token_id": 0, "eos_token_id": 2}
    return MLCModel(MLCConfig(backbone=backbone, **special))


def our_trainer(settings: dict[str, Any], folder: Path, **training: Any) -> Any:
    """`MLCTrainer` over the batches of `make_pairs`, with the arguments of a real run that are not about data."""
    from mlcl.training.arguments import MLCTrainingArguments
    from mlcl.training.memory import keep_freed_memory
    from mlcl.training.trainer import MLCTrainer

    keep_freed_memory()  # as `mlcl pretrain` does
    args = MLCTrainingArguments(
        output_dir=str(folder), per_device_train_batch_size=settings["pairs"], max_steps=1_000_000,
        max_length=settings["longest"], learning_rate=1e-4, save_strategy="no", logging_steps=1_000_000,
        report_to="none", dataloader_pin_memory=False, **training,
    )  # fmt: skip
    tokenizer = word_tokenizer(settings["vocabulary"], settings["longest"])
    return MLCTrainer(make_model(settings), args, train_dataset=_synthetic_source(settings), processing_class=tokenizer)


def _synthetic_source(settings: dict[str, Any]) -> Any:
    from mlcl.training.sources import BatchSettings, Source

    class Synthetic(Source):
        """The pairs as token ids."""

        def __init__(self) -> None:
            self.batches, self.settings = make_pairs(settings), BatchSettings(pairs=settings["pairs"])

        def __len__(self) -> int:
            return BATCHES

        def __getitem__(self, number: int) -> Any:
            anchors, positives = self.batches[number % BATCHES]
            groups = np.arange(len(anchors)) + number * len(anchors)
            sentences = (anchors + positives)[: self._single_sentences]
            return self._assemble(number, anchors, positives, sentences, ids=groups)

    return Synthetic()


def library_model(settings: dict[str, Any], folder: Path, *, dropout: float, attention: str) -> Any:
    """The same encoder as a `SentenceTransformer` with mean pooling."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Pooling, Transformer

    backbone = make_model(settings).backbone
    backbone.set_attn_implementation("sdpa")
    backbone.config.hidden_dropout_prob = backbone.config.attention_probs_dropout_prob = dropout
    backbone.save_pretrained(folder)
    word_tokenizer(settings["vocabulary"], settings["longest"]).save_pretrained(folder)
    transformer = Transformer(str(folder), max_seq_length=settings["longest"])
    transformer.auto_model.set_attn_implementation(attention)
    return SentenceTransformer(modules=[transformer, Pooling(settings["hidden"], "mean")], device="cpu")


def library_trainer(model: Any, loss: Any, settings: dict[str, Any], folder: Path, **training: Any) -> Any:
    """sentence-transformers' trainer over the same pairs, as text; its own tokenisation lies outside the timed step."""
    from datasets import Features, IterableDataset, Value
    from sentence_transformers import SentenceTransformerTrainer, SentenceTransformerTrainingArguments

    args = SentenceTransformerTrainingArguments(
        output_dir=str(folder), per_device_train_batch_size=settings["pairs"], max_steps=1_000_000,
        learning_rate=1e-4, save_strategy="no", logging_steps=1_000_000, report_to="none", use_cpu=True,
        dataloader_drop_last=True, **training,
    )  # fmt: skip
    columns = Features({"anchor": Value("string"), "positive": Value("string")})
    pairs = IterableDataset.from_generator(_text_pairs, features=columns, gen_kwargs={"settings": settings})
    return SentenceTransformerTrainer(model=model, args=args, train_dataset=pairs, loss=loss)


def _text_pairs(settings: dict[str, Any]) -> Any:
    batches = make_pairs(settings)
    while True:
        for anchors, positives in batches:
            for anchor, positive in zip(anchors, positives, strict=True):
                yield {"anchor": text_of(anchor), "positive": text_of(positive)}
