"""A fine-tuning run to read: results by language with floor and transfer gap, and what each seed took.

In: rows of `results.json` and of `runs.json` as dictionaries. Out: tables, Markdown, one self-contained HTML page.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

import numpy as np

from mlcl.core.languages import name
from mlcl.reports import html, plots

Row = Mapping[str, Any]
Table = tuple[str, list[str], list[list[Any]]]
"""Title, header, rows."""

_AVERAGES = {"avg:all": "all languages", "avg:transfer": "languages not trained on"}
_FLOORS = {"majority_": "majority label", "untuned_": "encoder before tuning"}
"""Prefix of the metric of a floor -> what tables call it."""
_GAP = "transfer_gap_"
_TRAINING = (
    "Of each fit: its best dev score, the weights that moved, its wall and CPU time with dev scores, and the most "
    "memory that the process had held by its end."
)
_METRICS = {
    "accuracy": "accuracy",
    "macro_f1": "macro F1",
    "span_f1": "span F1",
    "spearman": "Spearman correlation",
    "map": "mAP, all languages in one pool",
    "map_own_language": "mAP, own language",
    "own_language_top1": "first answer in own language",
}


@dataclass(frozen=True)
class Transfer:
    """Everything that a report shows.

    Attributes:
        task: The task that was trained.
        metric: Its headline metric.
        model: Name of the encoder.
        method: How it was tuned.
        train_language: Languages of the training labels; None for zero-shot.
        trained: Their tags.
        rows: Results of all seeds.
        floor: Results of the majority label; for retrieval, of the encoder as it was.
        runs: What each seed took.
        notes: Sentences about the splits and the choice of the checkpoint.
        settings: All settings.
    """

    task: str
    metric: str
    model: str
    method: str
    train_language: str | None
    trained: Sequence[str]
    rows: Sequence[Row]
    floor: Sequence[Row]
    runs: Sequence[Row]
    notes: Sequence[str]
    settings: Mapping[str, Any]

    @property
    def title(self) -> str:
        """What was done, in one line."""
        labels = f"labels in {self.train_language}" if self.train_language else "no labels"
        return f"{self.task}: {self.model}, {self.method}, {labels}"

    @property
    def tested(self) -> list[tuple[str, str]]:
        """Task and split of each table by language."""
        return list(dict.fromkeys((row["task"], row["split"]) for row in self.rows))

    def tables(self) -> list[Table]:
        """One table by language for each tested task and split, and one of the runs."""
        return [*(self._by_language(task, split) for task, split in self.tested), self._by_seed()]

    def bars(self, task: str) -> dict[str, dict[str, float]]:
        """Model and floor -> code -> headline value."""
        values = {self.model: self._means(task, self._headline(task)), self._floor_name: self._floor(task)}
        return {model: found for model, found in values.items() if found}

    def languages(self, task: str) -> dict[str, str]:
        """Code -> tag of the languages that were tested."""
        return {row["code"]: row["language"] for row in self.rows if row["task"] == task and row["code"]}

    def label(self, task: str) -> str:
        """The headline metric of a task in words."""
        return _METRICS.get(self._headline(task), self._headline(task))

    def _headline(self, task: str) -> str:
        known = dict.fromkeys(row["metric"] for row in self.rows if row["task"] == task)
        return self.metric if self.metric in known else next(iter(known))

    def _means(self, task: str, metric: str) -> dict[str, float]:
        values: dict[str, list[float]] = {}
        for row in self.rows:
            if (row["task"], row["metric"]) == (task, metric) and row["code"]:
                values.setdefault(row["code"], []).append(row["value"])
        return {code: float(np.mean(found)) for code, found in values.items()}

    def _floor(self, task: str) -> dict[str, float]:
        keys = {(task, prefix + self._headline(task)) for prefix in _FLOORS}
        return {row["code"]: row["value"] for row in self.floor if (row["task"], row["metric"]) in keys}

    @property
    def _floor_name(self) -> str:
        known = {row["metric"] for row in self.floor}
        return next((name for prefix, name in _FLOORS.items() if prefix + self.metric in known), "majority label")

    def _by_language(self, task: str, split: str) -> Table:
        rows = [row for row in self.rows if row["task"] == task]
        metrics = [m for m in dict.fromkeys(row["metric"] for row in rows) if not m.startswith(_GAP)]
        metrics.sort(key=lambda metric: metric != self._headline(task))
        head = metrics[0]
        floor = self._floor(task)
        means = self._means(task, head)
        own = [means[code] for code, tag in self.languages(task).items() if tag in self.trained]
        header = ["code", "language", "n", *(f"{_METRICS.get(metric, metric)} (%)" for metric in metrics)]
        header += ([self._floor_name] if floor else []) + (["gap"] if own else [])
        table = []
        for code, tag in self.languages(task).items():
            cells = _by_metric([row for row in rows if row["code"] == code])
            line = [code, name(tag) + (" (trained)" if tag in self.trained else ""), cells[head][0]["n"]]
            line += [_mean_and_spread(cells[metric]) for metric in metrics]
            line += [f"{floor[code]:.1f}"] if floor else []
            line += [f"{np.mean(own) - means[code]:.1f}"] if own else []
            table.append(line)
        for average, words in _AVERAGES.items():
            cells = _by_metric([row for row in rows if row["language"] == average])
            if not cells:
                continue
            gaps = [row["value"] for row in cells.get(_GAP + head, [])]
            line = ["", words, cells[head][0]["n"], *(_mean_and_spread(cells[metric]) for metric in metrics)]
            line += ([""] if floor else []) + ([f"{np.mean(gaps):.1f}" if gaps else ""] if own else [])
            table.append(line)
        return f"{task} ({split})", header, table

    def _by_seed(self) -> Table:
        header = ["seed", "examples", "updates", "epochs", "dev", "M weights", "min", "CPU min", "MiB"]
        rows = [
            [
                run["seed"], f"{run['examples']:,}", f"{run['updates']:,}", f"{run['epochs']:g}",
                "" if run["dev"] is None else f"{run['dev']:.1f}", _millions(run["trained"]),
                f"{run['minutes']:.1f}", f"{run['cpu_minutes']:.1f}", f"{run['peak_memory_bytes'] / 2**20:,.0f}",
            ]
            for run in self.runs
        ]  # fmt: skip
        return "training", header, rows

    @property
    def explanation(self) -> str:
        """What the numbers are."""
        many = len(self.runs) > 1
        spread = f"Values are means over {len(self.runs)} seeds ± their standard deviation. " if many else (
            "Intervals are 95 %: of a language, for other test examples; of an average, for other languages. "
        )  # fmt: skip
        gap = "The gap is the mean of the trained languages minus the language. " if self.trained else ""
        return spread + gap + _TRAINING


def _millions(number: int) -> str:
    """In millions; a small head keeps its digits."""
    return f"{number / 1e6:,.2f}" if number >= 1e5 else f"{number / 1e6:.2g}"


def _by_metric(rows: Sequence[Row]) -> dict[str, list[Row]]:
    found: dict[str, list[Row]] = {}
    for row in rows:
        found.setdefault(row["metric"], []).append(row)
    return found


def _mean_and_spread(rows: Sequence[Row]) -> str:
    values = [row["value"] for row in rows]
    if len(values) > 1:
        return f"{np.mean(values):.1f} ± {np.std(values, ddof=1):.1f}"
    low, high = rows[0]["low"], rows[0]["high"]
    return f"{values[0]:.1f}" + ("" if low is None else f" [{low:.1f}, {high:.1f}]")


def markdown(transfer: Transfer) -> str:
    """The tables as Markdown."""
    parts = [f"# {transfer.title}", "", transfer.explanation]
    for note in transfer.notes:
        parts += ["", note]
    for title, header, rows in transfer.tables():
        parts += ["", f"## {title}", "", "| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
        parts += ["| " + " | ".join(str(cell).replace("|", "\\|") for cell in row) + " |" for row in rows]
    return "\n".join(parts) + "\n"


def html_page(transfer: Transfer) -> str:
    """The same as one HTML page, with bars by language."""
    sections = []
    tasks = [task for task, _ in transfer.tested]
    for (title, header, rows), task in zip_longest(transfer.tables(), tasks):  # the table of the runs comes last
        body = html.table(header, rows)
        if task is not None:
            codes = transfer.languages(task)
            bars = plots.accuracy_bars(
                transfer.bars(task),
                label=f"{transfer.label(task)} (%)",
                marked={code for code, tag in codes.items() if tag in transfer.trained},
                mark="its labels were trained on",
            )
            body += html.figure(bars, f"{task}: {transfer.label(task)}, by language", "svg")
        sections.append((title, body))
    about = "".join(html.paragraph(note, note=True) for note in (transfer.explanation, *transfer.notes) if note)
    sections[0] = (sections[0][0], about + sections[0][1])
    settings = [[key, _plain(value)] for key, value in transfer.settings.items()]
    sections.append(("settings", html.table(["setting", "value"], settings)))
    return html.page("Fine-tuning", sections, transfer.title)


def _plain(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key}: {inner}" for key, inner in value.items() if inner is not None)
    return ", ".join(map(str, value)) if isinstance(value, list) else "" if value is None else str(value)
