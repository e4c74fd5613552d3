"""A benchmark as Markdown, and what its reports say about their numbers.

In: a `Benchmark`. Out: text. `benchmark_page` makes the HTML page with charts.
"""

from __future__ import annotations

from typing import Any

from mlcl.reports.benchmark_tables import Benchmark
from mlcl.reports.published import published
from mlcl.reports.results_report import markdown_table

NOTE = (
    "Each number is the mean over the languages of a task of its headline metric, in per cent. Brackets and whiskers "
    "are 95 % intervals; those of means say how they would vary with other languages."
)
COMPARED = (
    "Difference of the means, first model less second. From six languages on, languages are resampled (bootstrap for "
    "the interval, sign flips for p): the answer holds for languages like these. With fewer, the intervals of the "
    "single scores are combined (examples), which is on the safe side. Holm's method adjusts p for the number of "
    "tasks. In charts a filled dot is a difference with p (Holm) < 0.05, in the colour of the better model; a hollow "
    "one could be chance."
)
TIME = (
    "Seconds, and texts encoded per second. Texts of an earlier task are not encoded again, so a task that shares its "
    "texts seems quicker than it would be alone."
)
PUBLISHED = (
    "Published by others, for orientation: other code, often other versions and numbers of languages, and fine-tuning "
    "where the table says so. They do not compare digit by digit with the numbers measured here."
)


def markdown(benchmark: Benchmark) -> str:
    """The benchmark as Markdown tables."""
    parts = ["# Benchmark", "", NOTE, ""]
    parts += markdown_table(["model", "from"], [[*pair] for pair in benchmark.evaluation.models.items()])
    parts += ["", *markdown_table(*benchmark.summary())]
    if benchmark.comparisons:
        parts += ["", "## Significance", "", COMPARED, "", *markdown_table(*benchmark.compared())]
    for title, (header, rows) in benchmark.gap_tables().items():
        parts += ["", f"## {title}", "", *markdown_table(header, [[_round(cell) for cell in row] for row in rows])]
    parts += ["", "## Time", "", TIME, "", *markdown_table(*benchmark.seconds())]
    parts += ["", "## Published numbers", "", PUBLISHED]
    for table in published():
        parts += ["", f"**{table.title}**. {table.protocol} Source: {table.source}.", ""]
        parts += markdown_table(table.header, [["" if cell is None else cell for cell in row] for row in table.rows])
    if benchmark.left_out:
        parts += ["", "## Left out", "", *(f"- {task}: {reason}" for task, reason in benchmark.left_out.items())]
    parts += ["", "## All languages"]
    for task, split in benchmark.evaluation.splits():
        parts += ["", f"### {task} ({split})", "", *markdown_table(*benchmark.evaluation.averages(task, split))]
        header, rows = benchmark.evaluation.languages(task, split)
        parts += ["", f"By language: {benchmark.evaluation.headline(task)}.", "", *markdown_table(header, rows)]
    parts += ["", "## How it was measured", "", *(f"- {what}: {value}" for what, value in benchmark.facts.items())]
    return "\n".join(parts) + "\n"


def _round(cell: Any) -> Any:
    return f"{cell:.1f}" if isinstance(cell, float) else cell
