"""Probes: what a frozen encoder's vectors know about a labelled task. In: a `LabelledTask` and `embed`. Out: `Result`s.

Every distinct text of all languages is embedded once. Small learners are then fitted on the vectors of the training
languages and tested in every language; the direction of a result names the learner:

    linear      logistic regression (ridge for regression), its penalty chosen on dev
    knn         vote of the nearest training examples, their number chosen on dev
    K-shot      prototypes of K examples a class, mean over several draws (`METRIC_sd` is their standard deviation)
    zero-shot   nearest label description, without any training example
    cosine      closeness of the two texts itself, for regression
    floor       always the most frequent training label (`majority_METRIC`): what any learner has to beat

Pairs are given to the learners as [u, v, |u - v|, u * v]. Tagging has no probe: an encoder that embeds whole texts has
no vectors of words, and the vector of a word that is embedded alone knows no context. Modules of such tasks say
`NEEDS_FINETUNE = True`; the honest frozen baseline is a tagging head over frozen token states, `mlcl finetune` with a
frozen backbone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from mlcl.core.errors import UserError
from mlcl.core.progress import track
from mlcl.retrieval.knn import Vectors
from mlcl.tasks import Embed, Result
from mlcl.tasks._averages import with_averages
from mlcl.tasks._classifiers import (
    PairFeatures,
    Predict,
    best,
    few_shot,
    k_nearest,
    linear,
    nearest_class,
    ridge,
)
from mlcl.tasks._embedded import EmbeddedTexts
from mlcl.tasks._labelled import Example, LabelledTask, Language
from mlcl.tasks._metrics import Score, accuracy, macro_f1, measure
from mlcl.tasks._statistics import spearman
from mlcl.tasks._transfer import TransferData, TransferOptions, load, tell

PROBE = "linear"
"""Direction of the headline of tasks with a probe."""


@dataclass(frozen=True)
class ProbeOptions(TransferOptions):
    """Options of the linear probe."""

    strengths: list[float] = field(default_factory=lambda: [0.1, 1.0, 10.0, 100.0, 1000.0])
    """Inverse strengths of the L2 penalty to choose from; a larger one fits closer."""


@dataclass(frozen=True)
class ClassifierOptions(ProbeOptions):
    """Options of probes that classify."""

    neighbours: list[int] = field(default_factory=lambda: [1, 5, 15])
    """Numbers of neighbours to choose from; empty leaves k-NN out."""
    shots: list[int] = field(default_factory=list)
    """Numbers of examples a class for few-shot prototypes, each its own result."""
    draws: int = 5
    """How often the few examples are drawn."""
    zero_shot: bool = True
    """Whether the nearest label description is measured as well (tasks with one text)."""
    label_texts: dict[str, str] | None = None
    """Description of every label in any language, for zero-shot; the labels themselves when not given."""


@dataclass(frozen=True)
class _Learner:
    """A fitted learner: its direction, its predictions (one function per draw), and whether labels were fitted on."""

    direction: str
    predict: Sequence[Predict]
    fitted: bool = True


def evaluate(task: LabelledTask, embed: Embed, root: Path, options: ProbeOptions) -> list[Result]:
    """Fit the probes and measure them in every language, then the averages.

    Raises:
        UserError: data or options that do not fit.
    """
    _check(options)
    data = load(task, root, options)
    tell(task, data)
    descriptions = _descriptions(task, options)
    texts = [text for part in (data.train, data.dev, *data.test.values()) for text in _texts(part)]
    embedded = EmbeddedTexts(embed, [*texts, *descriptions])
    features = _features(task, data, embedded)
    if task.kind == "regression":
        learners, floor = _regression(task, data, features, options), None
    else:
        zero_shot = nearest_class(embedded.of(descriptions)) if descriptions else None
        learners = _classification(task, data, features, options, zero_shot)
        floor = _majority(task, data)
    results: list[Result] = []
    for language, examples in track(list(data.test.items()), f"{task.name}: testing"):
        x, gold = features(examples), _targets(task, examples)
        for learner in learners:
            trained = data.train_language if learner.fitted else None
            runs = [predict(x) for predict in learner.predict]
            for metric in _metrics(task):
                score = measure(metric, gold, *runs)
                results.append(_result(task, data, language, learner.direction, metric, score, trained))
                if len(runs) > 1:
                    spread = Score(score.deviation, None, None, score.n)
                    results.append(_result(task, data, language, learner.direction, f"{metric}_sd", spread, trained))
        if floor is not None:
            for metric in _metrics(task):
                score = measure(metric, gold, np.full(len(gold), floor))
                results.append(_result(task, data, language, "floor", f"majority_{metric}", score, data.train_language))
    return with_averages(results, options.trained_languages)


def needs_finetune(task: LabelledTask) -> NoReturn:
    """What a task without a probe says.

    Raises:
        UserError: always.
    """
    raise UserError(
        f"{task.name} tags words, and a frozen encoder of whole texts has no vectors of words",
        remedy=f"mlcl finetune --task {task.name}",
    )


def _check(options: ProbeOptions) -> None:
    if not options.strengths or min(options.strengths) <= 0:
        raise UserError(f"strengths={options.strengths}: give one positive number or more")
    if options.max_train_examples is not None and options.max_train_examples < 1:
        raise UserError(f"max_train_examples={options.max_train_examples}: the smallest is 1")
    if isinstance(options, ClassifierOptions):
        for name, least in (("neighbours", options.neighbours), ("shots", options.shots), ("draws", [options.draws])):
            if least and min(least) < 1:
                raise UserError(f"{name}={least}: the smallest is 1")


def _descriptions(task: LabelledTask, options: ProbeOptions) -> list[str]:
    """One text per label where zero-shot is measured, else none."""
    if not isinstance(options, ClassifierOptions) or task.kind != "classification" or not options.zero_shot:
        return []
    if options.label_texts is None:
        return list(task.labels)
    if set(options.label_texts) != set(task.labels):
        raise UserError(
            f"label_texts has {', '.join(options.label_texts)}", remedy=f"describe {', '.join(task.labels)}"
        )
    return [options.label_texts[label] for label in task.labels]


def _texts(examples: Any) -> list[str]:
    return [text for example in examples for text in (example.text, example.pair) if text is not None]


def _features(task: LabelledTask, data: TransferData, embedded: EmbeddedTexts) -> Callable[[Any], Vectors]:
    """A function from N examples to their features (N, F)."""

    def first(examples: Sequence[Example]) -> Vectors:
        return embedded.of([example.text for example in examples])

    def second(examples: Sequence[Example]) -> Vectors:
        return embedded.of([example.pair or "" for example in examples])

    if task.kind == "classification":
        return first
    train: Any = data.train
    pairs = PairFeatures(first(train), second(train))
    return lambda examples: pairs(first(examples), second(examples))


def _targets(task: LabelledTask, examples: Any) -> np.ndarray:
    """(N,) numbers of the labels in the task's order; the scores themselves for regression."""
    if task.kind == "regression":
        return np.array([example.label for example in examples], dtype=np.float64)
    number = {label: index for index, label in enumerate(task.labels)}
    return np.array([number[example.label] for example in examples], dtype=np.int64)


def _metrics(task: LabelledTask) -> list[str]:
    """The metrics that are reported, the headline first."""
    return list(dict.fromkeys([task.metric, *(["accuracy", "macro_f1"] if task.labels else [])]))


def _classification(
    task: LabelledTask,
    data: TransferData,
    features: Callable[[Any], Vectors],
    options: ProbeOptions,
    zero_shot: Predict | None,
) -> list[_Learner]:
    x, y = features(data.train), _targets(task, data.train)
    x_dev, y_dev = features(data.dev), _targets(task, data.dev)
    on_dev = macro_f1 if task.metric == "macro_f1" else accuracy

    def score(predicted: np.ndarray) -> float:
        return on_dev(y_dev, predicted)

    candidates = track(linear(x, y, options.strengths), f"{task.name}: fitting", len(options.strengths))
    learners = [_Learner(PROBE, [best(candidates, x_dev, score)])]
    if isinstance(options, ClassifierOptions):
        if options.neighbours:
            learners.append(_Learner("knn", [best(k_nearest(x, y, options.neighbours), x_dev, score)]))
        for shots in options.shots:
            seeds = range(options.seed, options.seed + options.draws)
            draws = [few_shot(x, y, task.labels, shots, seed) for seed in seeds]
            learners.append(_Learner(f"{shots}-shot", draws))
    if zero_shot is not None:
        learners.append(_Learner("zero-shot", [zero_shot], fitted=False))
    return learners


def _regression(
    task: LabelledTask, data: TransferData, features: Callable[[Any], Vectors], options: ProbeOptions
) -> list[_Learner]:
    y_dev = _targets(task, data.dev)
    fitted = best(
        ridge(features(data.train), _targets(task, data.train), options.strengths),
        features(data.dev),
        lambda predicted: spearman(predicted, y_dev),
    )
    return [_Learner(PROBE, [fitted]), _Learner("cosine", [PairFeatures.closeness], fitted=False)]


def _majority(task: LabelledTask, data: TransferData) -> int:
    """Number of the most frequent training label."""
    return int(np.bincount(_targets(task, data.train)).argmax())


def _result(
    task: LabelledTask,
    data: TransferData,
    language: Language,
    direction: str,
    metric: str,
    score: Score,
    train_language: str | None,
) -> Result:
    return Result(
        task.name, data.split, language.tag, language.code, direction, metric, score.value, score.low, score.high,
        score.n, train_language=train_language,
    )  # fmt: skip
