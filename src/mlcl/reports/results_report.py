"""An evaluation to read: results in, Markdown and one self-contained HTML page out, models side by side.

In: rows of `results.json` (see `tasks.Result`) as dictionaries. A star marks a language that the model was not trained
on; a model whose training languages are unknown has no stars.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mlcl.core.languages import canonical, is_trained, name
from mlcl.reports import html, plots

Row = Mapping[str, Any]
_AVERAGE = "avg:"
_PAIRWISE = "pair_"
_NOTE = (
    "Accuracy, xsim error and Spearman correlation are in per cent; accuracy counts by position, xsim counts a copy of "
    "the right text as right. Intervals are 95 %; those of averages say how they would vary with other languages."
)
_STAR = "* the model was not trained on this language"


@dataclass(frozen=True)
class Evaluation:
    """Everything that a report shows.

    Attributes:
        rows: The results of all models and tasks.
        models: Name of each model -> where it came from.
        trained: Name of each model -> tags of its training languages; None where unknown.
        headlines: Task -> (metric, direction) that stands for a language.
    """

    rows: Sequence[Row]
    models: Mapping[str, str]
    trained: Mapping[str, Sequence[str] | None]
    headlines: Mapping[str, tuple[str, str]]

    def splits(self) -> list[tuple[str, str]]:
        """(task, split) in order of appearance."""
        return list(dict.fromkeys((row["task"], row["split"]) for row in self.rows))

    def averages(self, task: str, split: str, intervals: bool = True) -> tuple[list[str], list[list[Any]]]:
        """Header and rows: metric, direction, languages averaged, their number, then one value per model."""
        cells: dict[tuple[str, str, str], dict[str, Row]] = {}
        for row in self._of(task, split):
            if row["language"].startswith(_AVERAGE):
                key = (row["metric"], row["direction"], row["language"].removeprefix(_AVERAGE))
                cells.setdefault(key, {})[row["model"]] = row
        return ["metric", "direction", "average over", "languages", *self.models], [
            [*key, "/".join(dict.fromkeys(str(row["n"]) for row in found.values())), *self._values(found, intervals)]
            for key, found in cells.items()
        ]

    def languages(self, task: str, split: str, intervals: bool = True) -> tuple[list[str], list[list[Any]]]:
        """Header and rows: code, tag, name, n, then the headline value of each model."""
        cells: dict[str, dict[str, Row]] = {}
        for row in self._headline(task, split):
            cells.setdefault(row["code"], {})[row["model"]] = row
        table = []
        for code, found in sorted(cells.items()):
            any_row = next(iter(found.values()))
            table.append(
                [code, any_row["language"], name(any_row["language"]), any_row["n"], *self._values(found, intervals)]
            )
        return ["code", "tag", "language", "n", *self.models], table

    def headline(self, task: str) -> str:
        """The headline metric in words."""
        metric, direction = self.headlines[task]
        return f"{metric.replace('_', ' ')}, {direction}"

    def bars(self, task: str, split: str) -> dict[str, dict[str, float]]:
        """Model -> code -> headline value."""
        values: dict[str, dict[str, float]] = {model: {} for model in self.models}
        for row in self._headline(task, split):
            values[row["model"]][row["code"]] = row["value"]
        return {model: found for model, found in values.items() if found}

    def untrained_codes(self, task: str, split: str) -> set[str]:
        """Codes that are outside the training of every model whose training is known; empty where none is."""
        rows = [row for row in self._headline(task, split) if self.trained.get(row["model"]) is not None]
        return {row["code"] for row in rows} - {row["code"] for row in rows if not self._star(row)}

    def matrix(self, task: str, split: str, model: str) -> tuple[list[str], np.ndarray] | None:
        """Languages (L) and their pairwise values (L, L), NaN on the diagonal; None where pairs were not measured."""
        cells = {
            tuple(row["direction"].split("->")): row["value"]
            for row in self._of(task, split)
            if row["metric"].startswith(_PAIRWISE) and row["model"] == model
        }
        tags = sorted({tag for pair in cells for tag in pair})
        values = [[cells.get((first, second), np.nan) for second in tags] for first in tags]
        return (tags, np.array(values)) if tags else None

    def _of(self, task: str, split: str) -> list[Row]:
        return [row for row in self.rows if (row["task"], row["split"]) == (task, split)]

    def _headline(self, task: str, split: str) -> list[Row]:
        return [
            row
            for row in self._of(task, split)
            if (row["metric"], row["direction"]) == self.headlines[task] and not row["language"].startswith(_AVERAGE)
        ]

    def _values(self, found: Mapping[str, Row], intervals: bool) -> list[str]:
        return [self._value(found[model], intervals) if model in found else "" for model in self.models]

    def _value(self, row: Row, intervals: bool) -> str:
        digits = 3 if row["metric"] in ("alignment", "uniformity") else 1
        interval = (
            "" if row["low"] is None or not intervals else f" [{row['low']:.{digits}f}, {row['high']:.{digits}f}]"
        )
        return f"{row['value']:.{digits}f}{interval}{self._star(row)}"

    def _star(self, row: Row) -> str:
        trained = self.trained.get(row["model"])
        if trained is None or row["language"].startswith(_AVERAGE):
            return ""
        return "" if is_trained(row["language"], {canonical(tag) for tag in trained}) else " *"


def markdown(evaluation: Evaluation) -> str:
    """The results as Markdown tables."""
    parts = [
        "# Results",
        "",
        _NOTE,
        "",
        *markdown_table(["model", "from"], [[*pair] for pair in evaluation.models.items()]),
    ]
    for task, split in evaluation.splits():
        parts += ["", f"## {task} ({split})", "", *markdown_table(*evaluation.averages(task, split))]
        header, rows = evaluation.languages(task, split)
        parts += ["", f"By language: {evaluation.headline(task)}.", "", *markdown_table(header, rows)]
        if any(str(cell).endswith("*") for row in rows for cell in row):
            parts += ["", "\\" + _STAR]
    return "\n".join(parts) + "\n"


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[Any]]) -> list[str]:
    """Lines of a Markdown table."""
    lines = ["| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
    for row in rows:
        lines.append("| " + " | ".join(str(cell).replace("|", "\\|").replace("*", "\\*") for cell in row) + " |")
    return lines


def html_page(evaluation: Evaluation) -> str:
    """The results as one HTML page with bars by language and heat-maps of language pairs."""
    models = html.table(["model", "from"], list(evaluation.models.items()))
    sections = [("Models", html.paragraph(_NOTE) + models)]
    for task, split in evaluation.splits():
        body = html.table(*evaluation.averages(task, split))
        bars = plots.accuracy_bars(
            evaluation.bars(task, split),
            label=f"{evaluation.headline(task)} (%)",
            marked=evaluation.untrained_codes(task, split),
            mark=_STAR.removeprefix("* "),
        )
        body += html.figure(bars, f"{task}: {evaluation.headline(task)}, by language", "svg")
        matrices = {model: evaluation.matrix(task, split, model) for model in evaluation.models}
        low = min((float(np.nanmin(found[1])) for found in matrices.values() if found), default=0.0)
        for model, found in matrices.items():
            if found:
                figure = plots.heat_map(
                    found[1], found[0], title=model, label="per cent", low=min(low, 0.0), high=100.0
                )
                body += html.figure(figure, f"{model}: row = language of the query, column = language searched")
        header, rows = evaluation.languages(task, split)
        body += html.paragraph(f"By language: {evaluation.headline(task)}. {_STAR}.") + html.table(header, rows)
        sections.append((f"{task} ({split})", body))
    return html.page("Evaluation", sections, " · ".join(evaluation.models))
