"""What a benchmark says, as tables of plain values; `benchmark_report` writes them down.

In: rows of `results.json` of all models and tasks, and what was measured beside them. Out: headers and rows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import fmean
from typing import Any, TypeAlias

from mlcl.core.languages import canonical, is_trained, name
from mlcl.reports.results_report import Evaluation, Row

Table: TypeAlias = "tuple[list[str], list[list[Any]]]"
"""Header and rows."""
_AVERAGE = "avg:"
_PRIOR = 2  # tests of middling ease that each language is thought to have beside its own, when languages are ordered


@dataclass(frozen=True)
class Column:
    """One test: a task, a part of its data, and the language of the labels where some are fitted on.

    Attributes:
        task: Name of the task.
        split: Which part of its data.
        metric: The headline metric.
        direction: Its direction: for tasks that are fitted, how.
        train_language: Language of the labels; None where nothing is fitted.
        note: What tells it from the other tests of its task; empty where there is no other.
    """

    task: str
    split: str
    metric: str
    direction: str
    train_language: str | None
    note: str

    @property
    def label(self) -> str:
        """What tables call it: as short as is clear."""
        parts = [self.note] if self.note else []
        parts += [f"from {self.train_language}"] if self.train_language else []
        return f"{self.task} ({', '.join(parts)})" if parts else self.task

    @property
    def measure(self) -> str:
        """The metric in words."""
        return f"{self.metric.replace('_', ' ')}, {self.direction}"


@dataclass(frozen=True)
class Gap:
    """How much a model loses on languages that it has not seen.

    Attributes:
        column: The test.
        model: Name of the model.
        seen: Mean over the languages of training, or the score in the language of the labels.
        unseen: Mean over the others.
        languages: Number of each.
    """

    column: Column
    model: str
    seen: float
    unseen: float
    languages: tuple[int, int]


@dataclass(frozen=True)
class Benchmark:
    """Everything that a report shows.

    Attributes:
        evaluation: The rows, models, training languages and headline metrics.
        headlines: Task -> (metric, direction) of its headline; two where it was fitted in two ways.
        comparisons: First model against each other one (`stages/_significance.py`).
        fertility: Tokens of each language and its score (`stages/_fertility.py`).
        times: Per model and task: texts encoded, seconds for that, seconds in all.
        left_out: Task -> why it was not run.
        facts: What else a reader should know: command, versions, machine.
    """

    evaluation: Evaluation
    headlines: Mapping[str, Sequence[tuple[str, str]]]
    comparisons: Sequence[Mapping[str, Any]]
    fertility: Sequence[Mapping[str, Any]]
    times: Sequence[Mapping[str, Any]]
    left_out: Mapping[str, str]
    facts: Mapping[str, str]

    @property
    def models(self) -> list[str]:
        """Names of the models, in their order."""
        return list(self.evaluation.models)

    def beside_rows(self) -> dict[str, Any]:
        """What is not in `results.json`, as JSON."""
        return {
            "models": dict(self.evaluation.models),
            "headlines": {task: [list(one) for one in found] for task, found in self.headlines.items()},
            "comparisons": list(self.comparisons),
            "fertility": list(self.fertility),
            "times": list(self.times),
            "left_out": dict(self.left_out),
            "facts": dict(self.facts),
        }

    @cached_property
    def _tests(self) -> dict[tuple[str, str, str, str, str | None], dict[str, dict[str, list[Row]]]]:
        """(task, split, metric, direction, train_language) -> model -> language or average -> rows of headlines."""
        found: dict[tuple[str, str, str, str, str | None], dict[str, dict[str, list[Row]]]] = {}
        for row in self.evaluation.rows:
            headline = (row["metric"], row["direction"])
            if headline in self.headlines[row["task"]]:
                test = found.setdefault((row["task"], row["split"], *headline, row["train_language"]), {})
                test.setdefault(row["model"], {}).setdefault(row["language"], []).append(row)
        return found

    def columns(self) -> list[Column]:
        """All tests, in the order of the rows."""
        found = []
        for task, split, metric, direction, train_language in self._tests:
            same = [test for test in self._tests if test[0] == task]
            parts = [split] if len({test[1] for test in same}) > 1 else []
            parts += [direction] if len({test[3] for test in same}) > 1 else []
            found.append(Column(task, split, metric, direction, train_language, ", ".join(parts)))
        return found

    def of(self, column: Column) -> dict[str, dict[str, list[Row]]]:
        """Model -> language or average -> rows of one test."""
        return self._tests[column.task, column.split, column.metric, column.direction, column.train_language]

    def overall(self, column: Column) -> dict[str, Row]:
        """Model -> its average over all languages; the lone row where a test has one language."""
        found = {}
        for model, by_language in self.of(column).items():
            rows = by_language.get(_AVERAGE + "all") or [row for rows in by_language.values() for row in rows]
            if rows:
                found[model] = rows[0]
        return found

    def floor(self, column: Column) -> float | None:
        """What naming the most frequent label every time scores, on average; None where nothing is fitted."""
        values = [
            row["value"]
            for row in self.evaluation.rows
            if (row["task"], row["split"], row["metric"]) == (column.task, column.split, "majority_" + column.metric)
            and row["code"]
        ]
        return fmean(values) if values and column.train_language else None

    def examples(self, column: Column) -> str:
        """Number of examples of a language, such as `104 to 1,000`."""
        numbers = {
            row["n"]
            for by_language in self.of(column).values()
            for language, rows in by_language.items()
            if not language.startswith(_AVERAGE)
            for row in rows
        }
        low, high = min(numbers, default=0), max(numbers, default=0)
        return f"{low:,}" if low == high else f"{low:,} to {high:,}"

    def summary(self, intervals: bool = True) -> Table:
        """One row per test: the headline average of every model."""
        rows = []
        for column in self.columns():
            found = self.overall(column)
            languages = "/".join(dict.fromkeys(str(_languages(row)) for row in found.values()))
            values = [_shown(found[model], intervals) if model in found else "" for model in self.models]
            floor = self.floor(column)
            shown = "" if floor is None else f"{floor:.1f}"
            rows.append([column.label, column.measure, languages, self.examples(column), shown, *values])
        return ["task", "measure", "languages", "examples each", "floor", *self.models], rows

    def compared(self) -> Table:
        """One row per comparison of the first model with another one."""
        rows = []
        for one in self.comparisons:
            interval = "" if one["low"] is None else f" [{one['low']:+.1f}, {one['high']:+.1f}]"
            resampled = f"{one['n']} languages" if one["resampled"] == "languages" else one["resampled"]
            p, holm = (_p(one[key]) for key in ("p", "p_holm"))
            rows.append([one["second"], self.label(one), f"{one['difference']:+.1f}{interval}", p, holm, resampled])
        return [f"{self.models[0]} less", "task", "difference", "p", "p (Holm)", "resampled"], rows

    def tables(self) -> dict[str, Table]:
        """What a terminal shows: title -> header and rows."""
        tables = {"Result: mean over languages, per cent": self.summary(intervals=False)}
        if self.comparisons:
            tables[f"Differences of {self.models[0]} to the other models"] = self.compared()
        return {**tables, "Seconds (texts encoded a second)": self.seconds()}

    def label(self, one: Mapping[str, Any]) -> str:
        """What tables call the test of a comparison."""
        test = tuple(one[key] for key in ("task", "split", "metric", "direction"))
        for column in self.columns():
            if (column.task, column.split, column.metric, column.direction) == test:
                return column.label
        return str(one["task"])

    def seconds(self) -> Table:
        """One row per task: seconds of each model, and the texts per second where any were encoded."""
        of = {(time["task"], time["model"]): time for time in self.times}
        rows: list[list[Any]] = [
            [task, *(_seconds([of[task, model]] if (task, model) in of else []) for model in self.models)]
            for task in dict.fromkeys(time["task"] for time in self.times)
        ]
        total = [_seconds([time for time in self.times if time["model"] == model]) for model in self.models]
        return ["task", *self.models], [*rows, ["all", *total]]

    def gaps(self) -> tuple[list[Gap], list[Gap]]:
        """Loss outside the languages of pre-training, and loss outside the language of the labels."""
        trained, labelled = [], []
        for column in self.columns():
            for model, by_language in self.of(column).items():
                seen, unseen = by_language.get(_AVERAGE + "trained"), by_language.get(_AVERAGE + "untrained")
                if seen and unseen:
                    a, b = seen[0], unseen[0]
                    trained.append(Gap(column, model, a["value"], b["value"], (a["n"], b["n"])))
                own, others = _by_labels(column, by_language)
                if own and others:
                    labelled.append(Gap(column, model, fmean(own), fmean(others), (len(own), len(others))))
        return trained, labelled

    def languages(self, model: str) -> tuple[list[tuple[str, str, bool]], list[dict[str, Row]]]:
        """Languages (tag and code where needed, name, whether outside training), and label of test -> row for each.

        The languages that a model serves best come first: by how far they stand above the mean of each of their tests,
        drawn towards 0 where few tests have them. One lucky test makes no language the best, and full rows come first.
        """
        cells: dict[tuple[str, str], dict[str, Row]] = {}
        for column in self.columns():
            for tag, rows in self.of(column).get(model, {}).items():
                if not tag.startswith(_AVERAGE):
                    for row in rows:  # two codes of one tag stay two rows
                        cells.setdefault((tag, row["code"] if len(rows) > 1 else ""), {})[column.label] = row
        means = {
            label: fmean(row["value"] for found in cells.values() for at, row in found.items() if at == label)
            for label in {label for found in cells.values() for label in found}
        }
        ease = {
            key: sum(_sign(row) * (row["value"] - means[label]) for label, row in found.items()) / (len(found) + _PRIOR)
            for key, found in cells.items()
        }
        order = sorted(cells, key=lambda key: -ease[key])
        known = self.evaluation.trained.get(model)
        trained = None if known is None else {canonical(tag) for tag in known}
        heads = [
            (f"{tag} {code}".strip(), name(tag), trained is not None and not is_trained(tag, trained))
            for tag, code in order
        ]
        return heads, [cells[key] for key in order]

    def gap_tables(self) -> dict[str, Table]:
        """Title -> header and rows, for both kinds of `gaps`."""
        trained, labelled = self.gaps()
        tables: dict[str, Table] = {}
        for title, gaps, seen in (
            ("Transfer: languages of training and others", trained, "trained"),
            ("Transfer: language of the labels and others", labelled, "of the labels"),
        ):
            rows = [
                [
                    one.column.label, one.model, one.seen, one.unseen, one.seen - one.unseen,
                    f"{one.languages[0]} and {one.languages[1]}",
                ]
                for one in gaps
            ]  # fmt: skip
            if rows:
                tables[title] = (["task", "model", seen, "others", "gap", "languages"], rows)
        return tables

    def bias(self) -> dict[str, dict[str, float]]:
        """Language -> model -> share of first answers in the language of the question; empty without such rows."""
        found: dict[str, dict[str, float]] = {}
        for row in self.evaluation.rows:
            if row["metric"] == "own_language_top1" and row["code"]:
                found.setdefault(row["language"], {})[row["model"]] = row["value"]
        return found


def lower_is_better(metric: str) -> bool:
    """Whether a metric counts errors."""
    return "error" in metric


def _sign(row: Row) -> int:
    return -1 if lower_is_better(row["metric"]) else 1


def _languages(row: Row) -> int:
    return row["n"] if row["language"].startswith(_AVERAGE) else 1


def _shown(row: Row, interval: bool) -> str:
    if row["low"] is None or not interval:
        return f"{row['value']:.1f}"
    return f"{row['value']:.1f} [{row['low']:.1f}, {row['high']:.1f}]"


def _p(p: float | None) -> str:
    return "" if p is None else "< 0.001" if p < 0.001 else f"{p:.3f}"


def _seconds(times: Sequence[Mapping[str, Any]]) -> str:
    """`12.3 (4,567/s)`: seconds in all, and texts per second of encoding."""
    if not times:
        return ""
    texts, encoding = sum(time["texts"] for time in times), sum(time["encode_seconds"] for time in times)
    speed = f" ({texts / encoding:,.0f}/s)" if texts and encoding else ""
    return f"{sum(time['seconds'] for time in times):.1f}{speed}"


def _by_labels(column: Column, by_language: Mapping[str, list[Row]]) -> tuple[list[float], list[float]]:
    """Scores in the languages of the labels, and in the others."""
    if column.train_language is None:
        return [], []
    labels = {canonical(tag) for tag in column.train_language.split("+")}
    single = [(tag, row["value"]) for tag, rows in by_language.items() for row in rows if not tag.startswith(_AVERAGE)]
    own = [value for tag, value in single if is_trained(tag, labels)]
    return own, [value for tag, value in single if not is_trained(tag, labels)]
