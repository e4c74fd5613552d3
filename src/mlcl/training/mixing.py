"""How often each part of a corpus is drawn: temperature by language, weights and caps by origin, limited repetition.

In: settings, and how many sentences each cell (one language of one origin) has. Out: the probability of each cell, for
every stage of training. Plain numbers; nothing here reads a corpus or draws anything.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from mlcl.core.errors import UserError
from mlcl.core.settings import did_you_mean


@dataclass(frozen=True)
class StageSettings:
    """One stage of a curriculum; what it leaves open is as `sampling` has it."""

    until: float | None = None
    """Where it ends: up to 1 a share of the training steps, above 1 a step. The last stage may leave it out."""
    alpha: float | None = None
    """Exponent of the language sampling in this stage."""
    pivot_share: float | None = None
    """Probability that the other side is the pivot in this stage."""
    origin_weights: dict[str, float] | None = None
    """Weights of the origins in this stage, in the place of the others."""
    origin_caps: dict[str, float] | None = None
    """Caps of the origins in this stage, in the place of the others."""


@dataclass(frozen=True)
class SamplingSettings:
    """Which pairs are drawn from the corpus."""

    alpha: float = 0.5
    """Languages are drawn by p ~ n^alpha: 1 = as the data lie, 0 = all alike."""
    pivot: str | None = None
    """A language that is favoured as the other side of a pair."""
    pivot_share: float = 0.0
    """Probability that the other side is the pivot, where the group has it; otherwise any language."""
    origin_weights: dict[str, float] = field(default_factory=dict)
    """Origin -> how much a sentence of it counts, 1 when not given; 2 = as if it were there twice, 0 = never drawn."""
    origin_caps: dict[str, float] = field(default_factory=dict)
    """Origin -> largest share of the draws, in (0, 1]; what it would have beyond goes to the other origins."""
    max_repeats: float | None = None
    """Most times that a sentence is drawn in an epoch, on average over its language (with origin weights or caps, over
    its language and origin): keeps a small alpha from repeating tiny languages without end. None = no limit."""
    stages: list[StageSettings] = field(default_factory=list)
    """A curriculum: stages one after the other, each with `until` and what it changes."""
    dev_groups: int = 500
    """Groups held out of training, for the retrieval score during training."""


@dataclass(frozen=True)
class Stage:
    """A stage with its end in batches.

    Attributes:
        end: The first batch number after it; None = it lasts to the end.
        alpha: Exponent of the language sampling.
        pivot_share: Probability of taking the pivot as the other side.
        origin_weights: Origin -> weight of its sentences, 1 where missing.
        origin_caps: Origin -> largest share, 1 where missing.
    """

    end: int | None = None
    alpha: float = 0.5
    pivot_share: float = 0.0
    origin_weights: Mapping[str, float] = field(default_factory=dict)
    origin_caps: Mapping[str, float] = field(default_factory=dict)


class Infeasible(ValueError):
    """Caps and repetition limits that cannot be filled; `share` of the draws can."""

    def __init__(self, share: float) -> None:
        super().__init__(f"only {share:.3g} of the draws can be filled")
        self.share = share


def plan(settings: SamplingSettings, steps: int | None, batches_per_step: int) -> list[Stage]:
    """The stages of a run, at least one; the ends are counted in batches of all ranks.

    Args:
        settings: What the user asked for.
        steps: Optimiser steps of the whole run; None where only the clock ends it.
        batches_per_step: Batches that all ranks together use for one optimiser step.

    Raises:
        UserError: values out of range, ends that do not ascend, a share of a run of unknown length; all at once.
    """
    problems = list(_problems(settings, steps))
    if problems:
        raise UserError("; ".join(problems))
    if not settings.stages:
        return [Stage(None, settings.alpha, settings.pivot_share, settings.origin_weights, settings.origin_caps)]
    stages = []
    for place, given in enumerate(settings.stages):
        last = place == len(settings.stages) - 1
        step = None if last or given.until is None else _step(given.until, steps)
        names = ("alpha", "pivot_share", "origin_weights", "origin_caps")
        own = {name: getattr(given, name) for name in names if getattr(given, name) is not None}
        general = {name: getattr(settings, name) for name in names}
        stages.append(Stage(None if step is None else step * batches_per_step, **{**general, **own}))
    return stages


def check(settings: SamplingSettings, steps: int | None, origins: Iterable[str] | None) -> None:
    """Find the mistakes of the settings before any work.

    Args:
        settings: What the user asked for.
        steps: Optimiser steps of the run, about; None where only the clock ends it.
        origins: Those of the corpus; None where they are not known yet.

    Raises:
        UserError: values out of range, an origin that the corpus lacks.
    """
    for stage in plan(settings, steps, 1):
        if origins is not None:
            by_origin(stage.origin_weights, list(origins), 1.0, "origin_weights")
            by_origin(stage.origin_caps, list(origins), 1.0, "origin_caps")


def steps_of_run(args: Any, batches_per_epoch: int) -> int | None:
    """Optimiser steps of a run by its training arguments; None where only the clock ends it.

    Args:
        args: `MLCTrainingArguments`.
        batches_per_epoch: Batches of an epoch over all ranks.
    """
    if args.ends_by_clock:
        return None
    if args.max_steps > 0:
        return int(args.max_steps)
    of_rank = max(1, batches_per_epoch // args.world_size)
    return math.ceil(args.num_train_epochs * math.ceil(of_rank / args.gradient_accumulation_steps))


def _step(until: float, steps: int | None) -> int:
    if until > 1:
        return round(until)
    assert steps is not None
    return round(until * steps)


def _problems(settings: SamplingSettings, steps: int | None) -> Iterable[str]:
    parts: list[SamplingSettings | StageSettings] = [settings, *settings.stages]
    for number, given in enumerate(parts):
        place = f"sampling.stages.{number - 1}" if number else "sampling"
        if given.alpha is not None and not 0 <= given.alpha <= 1:
            yield f"{place}.alpha is {given.alpha}, it must be in [0, 1]"
        if given.pivot_share is not None and not 0 <= given.pivot_share <= 1:
            yield f"{place}.pivot_share is {given.pivot_share}, it must be in [0, 1]"
        for origin, weight in (given.origin_weights or {}).items():
            if weight != 0 and not 1e-3 <= weight <= 1e3:
                yield f"{place}.origin_weights.{origin} is {weight}, it must be 0 or in [0.001, 1000]"
        for origin, cap in (given.origin_caps or {}).items():
            if not 0 < cap <= 1:
                yield f"{place}.origin_caps.{origin} is {cap}, it must be in (0, 1]; a weight of 0 leaves it out"
    if settings.max_repeats is not None and not settings.max_repeats >= 1:
        yield f"sampling.max_repeats is {settings.max_repeats}, it must be at least 1"
    last = 0.0
    for i, stage in enumerate(settings.stages):
        place, final = f"sampling.stages.{i}.until", i == len(settings.stages) - 1
        if stage.until is None:
            if not final:
                yield f"{place} is missing; only the last stage may leave it out"
            continue
        if stage.until <= 0:
            yield f"{place} is {stage.until}, it must be above 0"
        elif stage.until <= 1 and steps is None and not final:
            yield f"{place} is a share of training, but the clock ends this run: give steps, or set training.max_steps"
        elif stage.until > 1 or steps is not None:
            end = stage.until if stage.until > 1 else stage.until * (steps or 0)
            if end <= last:
                yield f"{place} does not come after the end of the stage before it"
            last = end


def stage_proportions(
    stage: Stage,
    counts: np.ndarray,
    language: np.ndarray,
    origin: np.ndarray,
    origins: Sequence[str],
    max_repeats: float | None,
    what: str,
) -> np.ndarray:
    """`proportions` (C,) of the cells in a stage.

    Args:
        stage: The stage.
        counts: (C,) sentences of each cell.
        language: (C,) language of each cell.
        origin: (C,) origin of each cell, an index into `origins`.
        origins: Names of all origins of the corpus.
        max_repeats: See `SamplingSettings`.
        what: What is drawn, for the message.

    Raises:
        UserError: an origin that the corpus lacks, or limits that cannot be filled.
    """
    weights = by_origin(stage.origin_weights, origins, 1.0, "origin_weights")
    caps = by_origin(stage.origin_caps, origins, 1.0, "origin_caps")
    try:
        return proportions(counts, language, origin, stage.alpha, weights, caps, max_repeats)
    except Infeasible as error:
        raise UserError(
            f"sampling: origin_weights, origin_caps and max_repeats let no more than {100 * error.share:.3g} % of the "
            f"draws be filled ({what})",
            remedy="raise the limits, or let more origins in",
        ) from error


def by_origin(values: Mapping[str, float], origins: Sequence[str], default: float, what: str) -> np.ndarray:
    """Values (O,) in the order of `origins`.

    Raises:
        UserError: an origin that the corpus lacks.
    """
    if missing := sorted(set(values) - set(origins)):
        hint = did_you_mean(missing[0], origins)
        raise UserError(f"sampling.{what}: the corpus has no origin {', '.join(map(repr, missing))}", remedy=hint)
    return np.array([values.get(origin, default) for origin in origins], dtype=np.float64)


def proportions(
    counts: np.ndarray,
    language: np.ndarray,
    origin: np.ndarray,
    alpha: float,
    weights: np.ndarray,
    caps: np.ndarray,
    max_repeats: float | None = None,
) -> np.ndarray:
    """Probability (C,) of drawing a sentence from each cell.

    A language l is drawn by p ~ n_l^alpha (XLM, arXiv 1901.07291), where n_l counts each sentence with the weight of
    its origin; inside a language, the origins in proportion to their weighted sentences. Of all distributions that keep
    the caps and the repetition limit, the result is the one closest to that (in relative entropy): cells at a limit
    stay there and all others grow by one factor (inside a capped origin, by one factor of its own).

    Args:
        counts: (C,) sentences of each cell.
        language: (C,) language of each cell, in [0, L).
        origin: (C,) origin of each cell, in [0, O).
        alpha: Exponent of the language sampling.
        weights: (O,) weight of each origin.
        caps: (O,) largest share of each origin.
        max_repeats: No sentence is more than this many times as likely as if all were drawn alike.

    Raises:
        Infeasible: the limits cannot be filled.
    """
    mass = counts * weights[origin]
    per_language = np.bincount(language, mass)
    if not per_language.any():
        raise Infeasible(0.0)
    tempered = np.where(per_language > 0, np.maximum(per_language, 1e-300) ** alpha, 0.0)
    tempered /= tempered.sum()
    base = np.divide(mass, per_language[language], out=np.zeros(len(mass)), where=mass > 0) * tempered[language]
    upper = np.full(len(base), np.inf) if max_repeats is None else max_repeats * counts / counts.sum()
    return limited(base, np.where(base > 0, upper, 0.0), origin, caps)


def limited(base: np.ndarray, upper: np.ndarray, origin: np.ndarray, caps: np.ndarray) -> np.ndarray:
    """The distribution closest to `base` (C,) under `upper` for cells (C,) and `caps` for origins (O,).

    Raises:
        Infeasible: the limits cannot be filled.
    """
    shares = np.bincount(origin, base, minlength=len(caps))
    if (base <= upper).all() and (shares <= caps + 1e-12).all():
        return base

    def filled(factor: float) -> np.ndarray:
        return np.minimum(np.bincount(origin, np.minimum(factor * base, upper), minlength=len(caps)), caps)

    room = np.minimum(np.bincount(origin, upper, minlength=len(caps)), np.where(shares > 0, caps, 0.0)).sum()
    if room < 1 - 1e-9:
        raise Infeasible(float(room))
    targets = filled(_smallest_factor(lambda factor: float(filled(factor).sum()), min(1.0, room) - 1e-12))
    result = np.zeros(len(base))
    for number, target in enumerate(targets):
        cells = np.flatnonzero((origin == number) & (base > 0))
        if len(cells) and target > 0:
            result[cells] = _filled_up(base[cells], upper[cells], float(target))
    return result / result.sum()


def _filled_up(base: np.ndarray, upper: np.ndarray, wanted: float) -> np.ndarray:
    """`base` (n,) times the factor with which it sums to what is wanted, no element above `upper` (n,)."""
    factor = _smallest_factor(lambda f: float(np.minimum(f * base, upper).sum()), wanted - 1e-13)
    return np.minimum(factor * base, upper)


def _smallest_factor(total: Callable[[float], float], wanted: float) -> float:
    """The smallest factor at which a growing function reaches what is wanted, by bisection to the last bits."""
    low, high = 0.0, 1.0
    for _ in range(1000):
        if total(high) >= wanted:
            break
        low, high = high, 2 * high
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (low, middle) if total(middle) >= wanted else (middle, high)
    return high
