"""One fit: an encoder, examples and settings in; a task model, tuned by the method that is asked for, out."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mlcl.core.errors import UserError
from mlcl.finetuning import fewshot
from mlcl.finetuning.encoding import Encoded, ExampleEncoder
from mlcl.finetuning.model import MLCTaskModel
from mlcl.finetuning.prediction import predict, with_features
from mlcl.finetuning.settings import FEW_SHOT, FitSettings, Tuning, head_for, learning_rate_of
from mlcl.finetuning.trainer import TaskTrainer, training_arguments
from mlcl.finetuning.tuning import class_weights, merge_lora, prepare
from mlcl.model.model import MLCModel
from mlcl.tasks._labelled import Example, Examples, LabelledTask
from mlcl.training.memory import peak_memory


@dataclass(frozen=True)
class Dev:
    """What chooses the checkpoint: sets of encoded examples, and how predictions for each of them are scored."""

    sets: Sequence[list[Encoded]]
    score: Callable[[int, list[Any]], float]

    def __call__(self, model: MLCTaskModel) -> float:
        """The mean score of the model over the sets."""
        return float(np.mean([self.score(number, predict(model, found)) for number, found in enumerate(self.sets)]))


@dataclass(frozen=True)
class FitReport:
    """What a fit took and how it went; a row of the report.

    Attributes:
        seed: Its seed.
        examples: Training examples.
        updates: Updates of the weights.
        epochs: Passes over the examples that were made.
        dev: The best dev score; None where none was taken.
        trained: Weights that moved.
        minutes: Wall time, features and dev scores included.
        cpu_minutes: CPU time of the same.
        peak_memory_bytes: Most memory that the process had held by the end of it (of the GPU, where there is one).
    """

    seed: int
    examples: int
    updates: int
    epochs: float
    dev: float | None
    trained: int
    minutes: float
    cpu_minutes: float
    peak_memory_bytes: int


def new_model(
    mlc: MLCModel, task: LabelledTask, train: Examples, head: str | None, tuning: Tuning, settings: FitSettings
) -> MLCTaskModel:
    """A task model over an encoder, with a fresh head.

    Raises:
        UserError: a head that does not fit the task, or scores that are all the same.
    """
    score_range = (0.0, 1.0)
    if task.kind == "regression":
        scores = [float(example.label) for example in train if isinstance(example, Example)]
        score_range = (min(scores), max(scores))
        if score_range[0] == score_range[1]:
            raise UserError(f"all training scores of {task.name} are {score_range[0]:g}: there is nothing to learn")
    labels = {"regression": ("score",), "retrieval": ("passage",), "tagging": task.tags}.get(task.kind, task.labels)
    return MLCTaskModel.on_top_of(
        mlc,
        task_name=task.name,
        kind=task.kind,
        head=head_for(task.kind, head, tuning.method),
        labels=list(labels),
        unit=tuning.method in FEW_SHOT,
        head_dropout=settings.dropout,
        score_range=score_range,
    )


def fit(
    model: MLCTaskModel,
    train: list[Encoded],
    dev: Dev | None,
    tuning: Tuning,
    settings: FitSettings,
    *,
    seed: int,
    folder: Path,
    cache: dict[str, list[Encoded]] | None = None,
) -> FitReport:
    """Fit a model with updates of its weights; afterwards it is that of the best dev score, and plain (no adapters).

    Args:
        model: A fresh model.
        train: Encoded training examples; sentences without a labelled word are left out.
        dev: Chooses the epoch; None keeps the last one.
        tuning: The method.
        settings: Rates, epochs, patience.
        seed: Order of the examples.
        folder: For checkpoints; a fit that finds some there goes on from the last.
        cache: Features of a frozen encoder are kept here for the next seed, if given.
    """
    started, cpu_started = time.monotonic(), time.process_time()
    train = [example for example in train if len(example.labels)]
    prepare(model, tuning)
    if tuning.method == "frozen":
        cache = {} if cache is None else cache
        train = _cached(cache, "training set", model, train)
        if dev is not None:
            sets = [_cached(cache, f"dev set {number + 1}", model, found) for number, found in enumerate(dev.sets)]
            dev = Dev(sets, dev.score)
    weights = class_weights(train, len(model.config.labels)) if settings.class_weights else None
    args = training_arguments(settings, folder, len(train), seed, has_dev=dev is not None)
    trainer = TaskTrainer(model, args, train, settings, tuning, dev, weights)
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    trainer.stopwatch.before = time.monotonic() - started
    trainer.stopwatch.cpu_before = time.process_time() - cpu_started
    trainer.train(resume_from_checkpoint=last_checkpoint(folder))
    if tuning.method == "lora":
        merge_lora(model)
    return FitReport(
        seed=seed,
        examples=len(train),
        updates=trainer.state.global_step,
        epochs=round(trainer.state.epoch or 0.0, 2),
        dev=trainer.state.best_metric if dev is not None else None,
        trained=trained,
        minutes=trainer.stopwatch.elapsed / 60,
        cpu_minutes=trainer.stopwatch.cpu_elapsed / 60,
        peak_memory_bytes=peak_memory(),
    )


def fit_few_shot(
    model: MLCTaskModel,
    train: list[Encoded],
    tuning: Tuning,
    settings: FitSettings,
    *,
    seed: int,
    encoder: ExampleEncoder,
    descriptions: Mapping[str, Sequence[str]],
) -> FitReport:
    """Fit a model by one of the methods of `fewshot`. There is no dev score: with k examples none is to spare."""
    started, cpu_started = time.monotonic(), time.process_time()
    trained = sum(p.numel() for p in model.parameters()) if tuning.method == "contrastive" else 0
    updates = 0
    if tuning.method == "contrastive":
        rate = learning_rate_of(settings, tuning, model.mlc.backbone.config.hidden_size)
        updates = fewshot.contrastive(model, train, learning_rate=rate, batch=settings.batch_size, seed=seed)
    elif tuning.method == "prototypes":
        fewshot.prototypes(model, train)
    else:
        fewshot.zero_shot(model, encoder, descriptions)
    return FitReport(
        seed=seed,
        examples=len(train),
        updates=updates,
        epochs=0.0,
        dev=None,
        trained=trained,
        minutes=(time.monotonic() - started) / 60,
        cpu_minutes=(time.process_time() - cpu_started) / 60,
        peak_memory_bytes=peak_memory(),
    )


def last_checkpoint(folder: Path) -> str | None:
    """The newest checkpoint in a folder."""
    found = max(folder.glob("checkpoint-*"), key=lambda path: int(path.name.rpartition("-")[2]), default=None)
    return None if found is None else str(found)


def _cached(cache: dict[str, list[Encoded]], title: str, model: MLCTaskModel, examples: list[Encoded]) -> list[Encoded]:
    if title not in cache:
        cache[title] = with_features(model, examples, f"features of the {title}")
    return cache[title]
