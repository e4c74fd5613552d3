"""Settings of a fit, and what follows from them. Plain values in, plain values out; nothing here needs torch."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from mlcl.core.errors import UserError, require
from mlcl.tasks._labelled import Kind

Method = Literal["full", "frozen", "gradual", "lora", "contrastive", "prototypes", "zero-shot"]
FEW_SHOT: tuple[Method, ...] = ("contrastive", "prototypes", "zero-shot")
"""Methods that make the head from the encoder's own space; they are for classification."""

HEADS: dict[str, tuple[Kind, ...]] = {
    "sentence": ("classification",),
    "cross-encoder": ("pair", "regression"),
    "bi-encoder": ("pair", "regression"),
    "cosine": ("regression",),
    "token": ("tagging",),
    "dual-encoder": ("retrieval",),
}
"""Head -> the kinds of task that it fits; `MLCTaskConfig` says what each one is."""
_USUAL_HEAD: dict[Kind, str] = {
    "classification": "sentence",
    "pair": "cross-encoder",
    "regression": "cosine",
    "tagging": "token",
    "retrieval": "dual-encoder",
}
# A frozen sentence encoder has vectors of single texts and has never read two as one; a cosine has no weights.
_FROZEN_HEAD: dict[Kind, str] = {"pair": "bi-encoder", "regression": "bi-encoder"}

_LEAST_UPDATES, _MOST_EPOCHS, _USUAL_EPOCHS = 600, 30, 4


@dataclass(frozen=True)
class Tuning:
    """How the encoder is tuned."""

    method: Method = "full"
    """full; frozen: the head alone, over features that are computed once; gradual: the top layer first, one more each
    epoch; lora: adapters, merged at the end; contrastive: few-shot in the manner of SetFit; prototypes: the nearest
    mean of a class; zero-shot: the nearest description of a label."""
    freeze_layers: int = 0
    """Lowest layers that stay as they are, and the embeddings with them."""
    layer_decay: float = 1.0
    """Each layer learns at this times the rate of the one above it; 1 = all alike."""
    lora_rank: int = 16
    """Rank of the LoRA adapters; their scale is 2."""


@dataclass(frozen=True)
class FitSettings:
    """How a task model is fitted."""

    epochs: int | None = None
    """Passes over the training examples; 4 when not given, and more where that would make fewer than 600 updates (few
    passes leave small sets unfinished, arXiv 2006.04884), at most 30."""
    batch_size: int = 32
    """Examples of one update, per process."""
    learning_rate: float | None = None
    """Peak rate of the encoder; 3e-5 * (768 / hidden size)^2 when not given, at most 1e-3, and ten
    times that for LoRA."""
    head_learning_rate: float | None = None
    """Peak rate of the head; 1e-3 when not given, and 1e-2 where nothing else moves (frozen)."""
    weight_decay: float = 0.01
    """Weight decay of matrices."""
    warmup: float = 0.1
    """Share of the updates in which the rates rise; then they fall to 0 linearly."""
    patience: int = 3
    """Epochs without a better dev score after which training stops; 0 = never."""
    class_weights: bool = False
    """Weigh the labels by their inverse frequency."""
    dropout: float = 0.1
    """Dropout of the head's input; inside the encoder there is none."""
    max_length: int = 128
    """Longest input in tokens; longer texts are cut."""


def check(tuning: Tuning, settings: FitSettings) -> None:
    """Refuse values out of range, all of them at once.

    Raises:
        UserError: such a value, or a package that the method needs and that is missing.
    """
    rate, head_rate = settings.learning_rate, settings.head_learning_rate
    rules = (
        ("tuning", tuning, "freeze_layers", tuning.freeze_layers >= 0, "at least 0"),
        ("tuning", tuning, "layer_decay", 0 < tuning.layer_decay <= 1, "in (0, 1]"),
        ("tuning", tuning, "lora_rank", tuning.lora_rank >= 1, "at least 1"),
        ("training", settings, "epochs", settings.epochs is None or settings.epochs >= 1, "at least 1"),
        ("training", settings, "batch_size", settings.batch_size >= 1, "at least 1"),
        ("training", settings, "learning_rate", rate is None or rate > 0, "above 0"),
        ("training", settings, "head_learning_rate", head_rate is None or head_rate > 0, "above 0"),
        ("training", settings, "weight_decay", settings.weight_decay >= 0, "at least 0"),
        ("training", settings, "warmup", 0 <= settings.warmup < 1, "in [0, 1)"),
        ("training", settings, "patience", settings.patience >= 0, "at least 0"),
        ("training", settings, "dropout", 0 <= settings.dropout < 1, "in [0, 1)"),
        ("training", settings, "max_length", settings.max_length >= 4, "at least 4"),
    )
    problems = [
        f"{group}.{name} is {getattr(values, name)}, it must be {rule}"
        for group, values, name, fine, rule in rules
        if not fine
    ]
    if tuning.freeze_layers and tuning.method != "full":
        problems.append(f"tuning.freeze_layers has no meaning with the method {tuning.method}")
    if problems:
        raise UserError("; ".join(problems))
    if tuning.method == "lora":
        require("peft", "peft")
    if tuning.method == "contrastive":
        require("sklearn", "probes")


def check_descriptions(labels: Sequence[str], descriptions: Mapping[str, Sequence[str]]) -> None:
    """Refuse descriptions that are not those of the labels.

    Args:
        labels: The labels of the task.
        descriptions: Label -> texts.

    Raises:
        UserError: a label without a description, a description of no label, or an empty one.
    """
    missing = [label for label in labels if not descriptions.get(label)]
    wrong = [f"{', '.join(missing)} not described"] if missing else []
    if unknown := sorted(set(descriptions) - set(labels)):
        wrong.append(f"{', '.join(unknown)} no label of the task")
    if wrong:
        raise UserError(f"label descriptions: {'; '.join(wrong)}", remedy=f"the labels are {', '.join(labels)}")
    if blank := next((label for label in labels if not all(text.strip() for text in descriptions[label])), None):
        raise UserError(f"the description of {blank!r} is empty")


def head_for(kind: Kind, head: str | None = None, method: Method = "full") -> str:
    """The head itself, or the usual one of a kind of task and a method.

    Raises:
        UserError: an unknown head, or one that does not fit.
    """
    if head is None:
        return _FROZEN_HEAD.get(kind, _USUAL_HEAD[kind]) if method == "frozen" else _USUAL_HEAD[kind]
    if head not in HEADS:
        raise UserError(f"unknown head {head!r}", remedy=f"known: {', '.join(HEADS)}")
    if kind not in HEADS[head]:
        fitting = [name for name, kinds in HEADS.items() if kind in kinds]
        raise UserError(f"a {head} head does not fit a {kind} task", remedy=f"use {' or '.join(fitting)}")
    return head


def epochs_of(settings: FitSettings, examples: int) -> int:
    """Epochs of a fit on so many examples."""
    if settings.epochs is not None:
        return settings.epochs
    updates = math.ceil(examples / settings.batch_size)
    return min(_MOST_EPOCHS, max(_USUAL_EPOCHS, math.ceil(_LEAST_UPDATES / updates)))


def learning_rate_of(settings: FitSettings, tuning: Tuning, hidden_size: int) -> float:
    """Peak rate of the encoder: what is set, or what suits its width."""
    if settings.learning_rate is not None:
        return settings.learning_rate
    return min(1e-3, 3e-5 * (768 / hidden_size) ** 2) * (10 if tuning.method == "lora" else 1)


def head_learning_rate_of(settings: FitSettings, tuning: Tuning) -> float:
    """Peak rate of the head: what is set, or what suits the method."""
    if settings.head_learning_rate is not None:
        return settings.head_learning_rate
    return 1e-2 if tuning.method == "frozen" else 1e-3
