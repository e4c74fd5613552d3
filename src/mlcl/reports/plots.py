"""Plots of a run and of an evaluation: plain data in, matplotlib `Figure`s out.

Label languages by tag or English name: the default font has no Chinese, Arabic or Indic letters. Figures are made
without pyplot, so nothing is kept open and no display is needed.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from matplotlib import colormaps
from matplotlib.figure import Figure

from mlcl.core.errors import UserError, require
from mlcl.core.files import read_text_lines

_COLOURS = ("#2f5fd0", "#e08a2c", "#3a9d6e", "#b8478f", "#7a6cc9", "#8a8f99")
_BARS_PER_LINE = 48


def accuracy_bars(
    values: Mapping[str, Mapping[str, float]],
    *,
    title: str = "",
    label: str = "accuracy (%)",
    marked: Collection[str] = (),
    mark: str = "outside training",
    top: float | None = 100.0,
) -> Figure:
    """Bars by language, models side by side, ordered by the first model's value; many languages take several lines.

    Args:
        values: Model -> language -> value; a model may lack languages.
        title: Heading.
        label: What the values are.
        marked: Languages whose label gets a star, such as those outside training.
        mark: What the star means.
        top: Upper end of the axis; None fits the data.
    """
    models = list(values)
    first = values[models[0]] if models else {}
    known = dict.fromkeys(language for by_language in values.values() for language in by_language)
    languages = sorted(known, key=lambda language: (-first.get(language, -np.inf), language))
    lines = [languages[start : start + _BARS_PER_LINE] for start in range(0, len(languages), _BARS_PER_LINE)] or [[]]
    slots = len(lines[0])
    width = 0.84 / max(len(models), 1)
    figure = Figure(figsize=(min(11.0, max(5.0, 0.45 * slots + 1.5)), 2.6 * len(lines) + 0.6), layout="constrained")
    for row, here in enumerate(lines):
        axes = figure.add_subplot(len(lines), 1, row + 1)
        for place, model in enumerate(models):
            heights = [values[model].get(language, np.nan) for language in here]
            at = np.arange(len(here)) + (place - (len(models) - 1) / 2) * width
            axes.bar(at, heights, width, label=model, color=_COLOURS[place % len(_COLOURS)])
        labels = [f"{language} *" if language in marked else language for language in here]
        axes.set_xticks(range(len(here)), labels, rotation=90 if slots > 12 else 0, fontsize=8)
        axes.set_xlim(-0.7, slots - 0.3)
        if top is not None:
            axes.set_ylim(0, top)
        axes.set_ylabel(label, fontsize=9)
        axes.grid(axis="y", alpha=0.3)
        axes.set_axisbelow(True)
        if row == 0:
            axes.set_title(title, fontsize=11, loc="left")
            if len(models) > 1:
                axes.legend(frameon=False, ncols=3, fontsize=8, loc="lower right", bbox_to_anchor=(1, 1))
        if here is lines[-1] and any(language in marked for language in languages):
            axes.set_xlabel(f"* {mark}", fontsize=8)
    return figure


def heat_map(
    matrix: np.ndarray,
    labels: Sequence[str],
    *,
    title: str = "",
    label: str = "accuracy (%)",
    low: float | None = None,
    high: float | None = None,
) -> Figure:
    """A language x language matrix; the numbers are written in while they fit. NaN cells stay grey.

    Args:
        matrix: (L, L); row = source language, column = target language.
        labels: The L languages.
        title: Heading.
        label: What the values are.
        low: Value at the dark end of the colours; the smallest when not given.
        high: Value at the light end; the largest when not given.
    """
    matrix = np.asarray(matrix, dtype=np.float64)
    if matrix.shape != (len(labels), len(labels)):
        raise ValueError(f"the matrix is {matrix.shape}, the labels are {len(labels)}")
    side = max(4.0, 0.26 * len(labels) + 1.6)
    figure = Figure(figsize=(side + 1, side), layout="constrained")
    axes = figure.add_subplot()
    axes.set_facecolor("#e9ebef")
    image = axes.imshow(np.ma.masked_invalid(matrix), cmap="viridis", vmin=low, vmax=high)
    axes.set_xticks(range(len(labels)), labels, rotation=90, fontsize=8)
    axes.set_yticks(range(len(labels)), labels, fontsize=8)
    if len(labels) <= 20:
        darkest, lightest = image.get_clim()
        for (row, column), value in np.ndenumerate(matrix):
            if np.isfinite(value):
                colour = "white" if value < darkest + 0.6 * (lightest - darkest) else "black"
                shown = f"{value:.0f}" if abs(value) >= 1.5 else f"{value:.2f}"
                axes.text(column, row, shown, ha="center", va="center", fontsize=6.5, color=colour)
    figure.colorbar(image, ax=axes, shrink=0.7, label=label)
    axes.set_title(title, fontsize=11, loc="left")
    return figure


def space_map(
    vectors: np.ndarray,
    languages: Sequence[str],
    *,
    groups: Sequence[int] | None = None,
    method: Literal["pca", "tsne"] = "pca",
    title: str = "",
    seed: int = 0,
) -> Figure:
    """The space in two dimensions, coloured by language; in a well aligned space the colours mix.

    Args:
        vectors: (N, D).
        languages: The language of each vector.
        groups: Number of the sentence that each vector translates; translations are joined by thin lines.
        method: `pca` (principal components) or `tsne` (van der Maaten & Hinton 2008; needs scikit-learn).
        title: Heading.
        seed: Seed of t-SNE.

    Raises:
        UserError: t-SNE is asked for and scikit-learn is not installed.
    """
    points = project(vectors, method, seed)
    figure = Figure(figsize=(7.5, 5.5), layout="constrained")
    axes = figure.add_subplot()
    if groups is not None:
        members: dict[int, list[int]] = {}
        for place, group in enumerate(groups):
            members.setdefault(group, []).append(place)
        for places in members.values():
            centre = points[places].mean(axis=0)
            for place in places:
                axes.plot(*zip(centre, points[place], strict=True), color="#c9ced8", lw=0.4, zorder=1)
    names = list(dict.fromkeys(languages))
    palette = colormaps["turbo"](np.linspace(0.03, 0.97, max(len(names), 2)))
    of = np.array(languages)
    for name, colour in zip(names, palette, strict=False):
        here = points[of == name]
        axes.scatter(here[:, 0], here[:, 1], s=14, color=colour, label=name, zorder=2, linewidths=0)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.set_title(title, fontsize=11, loc="left")
    axes.legend(
        frameon=False,
        fontsize=8,
        loc="center left",
        bbox_to_anchor=(1, 0.5),
        ncols=1 + len(names) // 24,
        markerscale=1.5,
    )
    return figure


def project(vectors: np.ndarray, method: Literal["pca", "tsne"] = "pca", seed: int = 0) -> np.ndarray:
    """Vectors (N, D) as points (N, 2). Arguments as in `space_map`."""
    vectors = np.asarray(vectors, dtype=np.float64)
    if method == "tsne":
        require("sklearn", "demo")
        from sklearn.manifold import TSNE

        perplexity = max(1.0, min(30.0, (len(vectors) - 1) / 3))
        return TSNE(perplexity=perplexity, init="pca", random_state=seed).fit_transform(vectors)
    centred = vectors - vectors.mean(axis=0)
    left, lengths, _ = np.linalg.svd(centred, full_matrices=False)
    points = np.zeros((len(vectors), 2))
    rank = min(2, len(lengths))
    points[:, :rank] = left[:, :rank] * lengths[:rank]
    return points


def loss_curves(metrics: Sequence[Mapping[str, Any]]) -> Figure:
    """Both terms of the objective over the steps, each on its own axis, and the learning rate where it was logged.

    Args:
        metrics: Lines of `metrics.jsonl`: `step` and any of `info_nce`, `lm`, `lr`.
    """
    curves = (("info_nce", "InfoNCE"), ("lm", "language model"), ("lr", "learning rate"))
    present = [(key, label) for key, label in curves if any(line.get(key) is not None for line in metrics)]
    figure = Figure(figsize=(max(4.0, 3.6 * len(present)), 3.0), layout="constrained")
    for place, (key, label) in enumerate(present):
        axes = figure.add_subplot(1, len(present), place + 1)
        points = [(line["step"], line[key]) for line in metrics if line.get(key) is not None]
        axes.plot(*zip(*points, strict=True), color=_COLOURS[place], lw=1.4)
        axes.set_title(label, fontsize=11, loc="left")
        axes.set_xlabel("step")
        axes.grid(alpha=0.3)
    return figure


def read_metrics(path: str | Path, *, running: bool = False) -> list[dict[str, Any]]:
    """The lines of a run's `metrics.jsonl`.

    Args:
        path: The file.
        running: The run may still be writing, or was killed while it did: half a line at the end is left out.

    Raises:
        UserError: missing or malformed.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError("no such file", path=path, remedy="give the metrics.jsonl of a run")
    metrics: list[dict[str, Any]] = []
    lines = read_text_lines(path)
    for number, line in enumerate(lines, start=1):
        try:
            metrics.append(json.loads(line))
        except ValueError as error:
            if running and number == len(lines):
                break
            raise UserError(f"not valid JSON: {error}", path=path, line=number) from error
    return metrics
