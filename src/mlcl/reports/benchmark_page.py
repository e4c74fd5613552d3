"""A benchmark as one self-contained HTML page that is at home in light and dark, narrow and wide.

In: a `Benchmark`. Out: the page. Every chart has its numbers in a table below it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from statistics import fmean
from typing import Any

import numpy as np

from mlcl.core.languages import name
from mlcl.reports import benchmark_plots as plots
from mlcl.reports import html
from mlcl.reports.benchmark_plots import Line, Mark
from mlcl.reports.benchmark_report import COMPARED, NOTE, PUBLISHED, TIME
from mlcl.reports.benchmark_tables import Benchmark, Gap, lower_is_better
from mlcl.reports.published import published
from mlcl.reports.results_report import Row

_TICKS = (0, 25, 50, 75, 100)


def html_page(benchmark: Benchmark) -> str:
    """The benchmark as one HTML page."""
    sections = [("Result", _result(benchmark))]
    if benchmark.comparisons:
        sections.append(("Significance", _significance(benchmark)))
    sections.append(("Languages and tasks", _heat_maps(benchmark)))
    if any(benchmark.gaps()):
        sections.append(("Transfer", _transfer(benchmark)))
    if bias := benchmark.bias():
        sections.append(("Language bias", _bias(benchmark, bias)))
    if benchmark.fertility:
        sections.append(("Tokens and quality", _fertility(benchmark)))
    sections += [
        ("Time", _times(benchmark)),
        ("Published numbers", _published()),
        ("All numbers", _everything(benchmark)),
        ("How it was measured", _how(benchmark)),
    ]
    return html.page("Benchmark", sections, " · ".join(benchmark.models), plots.STYLE)


def _result(benchmark: Benchmark) -> str:
    columns = benchmark.columns()
    languages = {row["language"] for row in benchmark.evaluation.rows if row["code"]}
    minutes = sum(time["seconds"] for time in benchmark.times) / 60
    lines = []
    for column in columns:
        found = benchmark.overall(column)
        lanes = [
            [_mark(found[model], place, model)] if model in found else []
            for place, model in enumerate(benchmark.models)
        ]
        note = column.measure + (" (lower is better)" if lower_is_better(column.metric) else "")
        lines.append(Line(column.label, note, lanes, benchmark.floor(column)))
    low = min([0.0, *(mark.value for line in lines for lane in line.lanes for mark in lane)])
    chart = plots.dots(
        lines, low, 100, _TICKS,
        f"Dot chart: the headline score of {len(benchmark.models)} models on {len(columns)} tests, with 95 % intervals",
        "Mean over the languages of a task, in per cent, with its 95 % interval. Point at a dot for the numbers. "
        "Dashed: what always naming the most frequent label scores.",
    )  # fmt: skip
    counted = {
        "tasks": str(len({column.task for column in columns})),
        "languages": str(len(languages)),
        "models" if len(benchmark.models) > 1 else "model": str(len(benchmark.models)),
        "minutes of measuring": f"{minutes:.1f}",
    }
    table = html.table(*benchmark.summary())
    return (
        plots.tiles(counted) + html.paragraph(NOTE) + _legend(benchmark) + chart + plots.details("The numbers", table)
    )


def _legend(benchmark: Benchmark, places: bool = True) -> str:
    """The colours of the models; with `places`, also where they come from."""
    entries = []
    for place, (model, source) in enumerate(benchmark.evaluation.models.items()):
        trained = benchmark.evaluation.trained.get(model)
        notes = [source] if source != model else []
        notes += [] if trained is None else [f"trained on {len(trained)} language{'s' if len(trained) != 1 else ''}"]
        entries.append((plots.colour(place), model, ", ".join(notes) if places else ""))
    return plots.legend(entries)


def _mark(row: Row, place: int, model: str, hollow: bool = False) -> Mark:
    interval = "" if row["low"] is None else f" [{row['low']:.1f}, {row['high']:.1f}]"
    title = f"{model}: {row['value']:.1f}{interval}"
    return Mark(row["value"], plots.colour(place), row["low"], row["high"], hollow, title)


def _significance(benchmark: Benchmark) -> str:
    parts = [html.paragraph(COMPARED), _legend(benchmark, places=False)]
    first, *others = benchmark.models
    for place, other in enumerate(others, start=1):
        found = [one for one in benchmark.comparisons if one["second"] == other]
        ends = [abs(one[key]) for one in found for key in ("difference", "low", "high") if one[key] is not None]
        top = _round_up(max(ends, default=1.0))
        lines = []
        for one in found:
            better = (one["difference"] > 0) != lower_is_better(one["metric"])
            sure = one["p_holm"] is not None and one["p_holm"] < 0.05
            shade = plots.colour(0 if better else place) if sure else "var(--soft)"
            said = "p not known" if one["p_holm"] is None else f"p = {one['p_holm']:.3f}"
            title = f"{one['difference']:+.1f}, {said}"
            mark = Mark(one["difference"], shade, one["low"], one["high"], not sure, title)
            lines.append(Line(benchmark.label(one), lanes=[[mark]]))
        ticks = [-top, -top / 2, 0, top / 2, top]
        alt = f"Chart of differences: {first} less {other} on {len(found)} tests, with 95 % intervals"
        parts.append(f"<h3>{escape(first)} less {escape(other)}</h3>{plots.dots(lines, -top, top, ticks, alt)}")
    return "".join(parts) + plots.details("The numbers", html.table(*benchmark.compared()))


def _heat_maps(benchmark: Benchmark) -> str:
    parts = [
        html.paragraph(
            "Headline scores in per cent; the stronger the colour, the better. A star marks languages outside the "
            "training of the model. Rows are ordered by ease: how far above the mean of its tests a language stands, "
            "drawn towards the middle where few tests have it."
        )
    ]
    for place, model in enumerate(benchmark.models):
        heads, found = benchmark.languages(model)
        labels = [column.label for column in benchmark.columns()]
        labels = [label for label in labels if any(label in row for row in found)]
        cells = [[_heat(row.get(label)) for label in labels] for row in found]
        means = []
        for label in labels:
            rows = [row[label] for row in found if label in row]
            means.append(_heat({**rows[0], "value": fmean(row["value"] for row in rows)}))
        table = plots.heat_table(labels, heads, cells, means)
        tags = {tag.partition(" ")[0] for tag, _, _ in heads}  # two codes of one language are two rows
        parts.append(plots.details(f"{model}: {len(tags)} languages", table, is_open=place == 0))
    return "".join(parts)


def _heat(row: Row | None) -> tuple[float, float] | None:
    if row is None:
        return None
    share = min(max(row["value"] / 100, 0.0), 1.0)
    return row["value"], 1 - share if lower_is_better(row["metric"]) else share


def _transfer(benchmark: Benchmark) -> str:
    parts = [_legend(benchmark, places=False)]
    trained, labelled = benchmark.gaps()
    for gaps, what, caption in (
        (
            trained,
            "Languages of training and others",
            "Filled: mean over the languages that the model was trained on. Hollow: mean over the others, which are "
            "other languages and differ in more than that.",
        ),
        (
            labelled,
            "From the language of the labels to others",
            "Filled: score in the language whose labels were fitted on. Hollow: mean over all other languages.",
        ),
    ):
        if not gaps:
            continue
        lines = []
        for column in dict.fromkeys(gap.column for gap in gaps):
            mine = [gap for gap in gaps if gap.column == column]
            lanes = [
                [mark for gap in mine if gap.model == model for mark in _gap_marks(gap, place)]
                for place, model in enumerate(benchmark.models)
            ]
            counts = ", ".join(dict.fromkeys("{} and {}".format(*gap.languages) for gap in mine))
            lines.append(Line(column.label, f"{counts} languages", [lane for lane in lanes if lane], joined=True))
        low = min([0.0, *(mark.value for line in lines for lane in line.lanes for mark in lane)])
        chart = plots.dots(lines, low, 100, _TICKS, f"Chart of transfer gaps: {what}", caption)
        parts.append(f"<h3>{what}</h3>" + chart)
    tables = [html.table(*table) for table in benchmark.gap_tables().values()]
    return "".join(parts) + plots.details("The numbers", "".join(tables))


def _gap_marks(gap: Gap, place: int) -> list[Mark]:
    shade = plots.colour(place)
    title = f"{gap.model}: {gap.seen:.1f} and {gap.unseen:.1f}"
    return [Mark(gap.seen, shade, title=title), Mark(gap.unseen, shade, hollow=True, title=title)]


def _bias(benchmark: Benchmark, bias: Mapping[str, Mapping[str, float]]) -> str:
    languages = sorted(bias, key=name)
    lines = [
        Line(
            name(tag),
            "",
            [
                [
                    Mark(bias[tag][model], plots.colour(place), title=f"{model}: {bias[tag][model]:.1f}")
                    for place, model in enumerate(benchmark.models)
                    if model in bias[tag]
                ]
            ],
            100 / len(languages),
        )
        for tag in languages
    ]
    intro = (
        "Questions search among the passages of all languages at once. An encoder without language bias finds its "
        f"first answer in the language of the question one time in {len(languages)} (dashed); one that sorts by "
        "language first, always. A weak encoder can stand near the dashed line for being weak: read it beside the "
        "score."
    )
    chart = plots.dots(
        lines, 0, 100, _TICKS,
        "Dot chart: share of first answers in the language of the question, by language and model",
        "Share of first answers that are in the language of the question, in per cent.",
    )  # fmt: skip
    table = html.table(
        ["language", *benchmark.models],
        [[name(tag), *(bias[tag].get(model) for model in benchmark.models)] for tag in languages],
    )
    return html.paragraph(intro) + _legend(benchmark, places=False) + chart + plots.details("The numbers", table)


def _fertility(benchmark: Benchmark) -> str:
    task, split = benchmark.fertility[0]["task"], benchmark.fertility[0]["split"]
    measure = benchmark.evaluation.headline(task)
    panels, said = [], []
    for place, model in enumerate(benchmark.models):
        rows = [row for row in benchmark.fertility if row["model"] == model]
        if not rows:
            continue
        panels.append(
            (model, plots.colour(place), [(row["premium"], row["score"], name(row["language"])) for row in rows])
        )
        if (correlation := _rank_correlation(rows)) is not None:
            said.append(f"{model} {correlation:+.2f}")
    intro = (
        f"How many tokens a language costs, relative to English on the same sentences, and its score on {task} "
        f"({split}). Rank correlation: {', '.join(said) or 'not defined'}. A language that the tokenizer hardly saw is "
        "one that the model hardly saw, so this shows what goes together, not what causes what."
    )
    chart = plots.scatters(
        panels, f"Scatter plots: tokens relative to English and {measure}, one dot a language",
        "One dot a language; point at it for its name. Some of the most expensive ones are named.",
        x_label="tokens per sentence, English = 1", y_label=f"{measure}, per cent",
    )  # fmt: skip
    header = ["model", "language", "tokens per sentence", "relative to English", "score"]
    table = html.table(
        header,
        [
            [row["model"], name(row["language"]), row["tokens_per_sentence"], row["premium"], row["score"]]
            for row in benchmark.fertility
        ],
        digits=2,
    )
    return html.paragraph(intro) + chart + plots.details("The numbers", table)


def _rank_correlation(rows: Sequence[Mapping[str, Any]]) -> float | None:
    """Spearman's correlation of premium and score; None where one of them does not vary."""
    ranks = [_ranks(np.array([row[key] for row in rows])) for key in ("premium", "score")]
    if len(rows) < 3 or any(rank.std() == 0 for rank in ranks):
        return None
    return float(np.corrcoef(ranks[0], ranks[1])[0, 1])


def _ranks(values: np.ndarray) -> np.ndarray:
    """Ranks (N,), equal values sharing the mean of their places."""
    _, place, count = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(count) - (count - 1) / 2)[place]


def _times(benchmark: Benchmark) -> str:
    lines = []
    for task in dict.fromkeys(time["task"] for time in benchmark.times):
        of = {time["model"]: time for time in benchmark.times if time["task"] == task}
        drawn = []
        for place, model in enumerate(benchmark.models):
            if model in of:
                time = of[model]
                first, rest = time["encode_seconds"], max(0.0, time["seconds"] - time["encode_seconds"])
                drawn.append((first, rest, plots.colour(place), f"{time['seconds']:.1f} s"))
        lines.append((task, drawn))
    chart = plots.bars(
        lines,
        "Bar chart: seconds per task and model",
        "The full part of a bar is encoding, the pale part is search, fitting of probes and intervals.",
    )
    return (
        html.paragraph(TIME)
        + _legend(benchmark, places=False)
        + chart
        + plots.details("The numbers", html.table(*benchmark.seconds()))
    )


def _published() -> str:
    cards = []
    for table in published():
        cards.append(
            f"<div><h3>{escape(table.title)}</h3>"
            + html.paragraph(f"{table.protocol} Source: {table.source}.", note=True)
            + html.table(table.header, table.rows)
            + "</div>"
        )
    return html.paragraph(PUBLISHED) + f'<div class="cards">{"".join(cards)}</div>'


def _everything(benchmark: Benchmark) -> str:
    evaluation = benchmark.evaluation
    parts = [html.paragraph("Every average and every language, with 95 % intervals. All rows are in results.json.")]
    for task, split in evaluation.splits():
        body = html.table(*evaluation.averages(task, split))
        body += html.paragraph(f"By language: {evaluation.headline(task)}.") + html.table(
            *evaluation.languages(task, split)
        )
        parts.append(plots.details(f"{task} ({split})", body))
    return "".join(parts)


def _how(benchmark: Benchmark) -> str:
    parts = [html.table(["", ""], list(benchmark.facts.items()))]
    if benchmark.left_out:
        parts += [html.paragraph("Left out, because their data is not there:")]
        parts += [html.table(["task", "reason"], list(benchmark.left_out.items()))]
    return "".join(parts)


def _round_up(value: float) -> float:
    """The next of 1, 2, 4, 10, 20, 40, 100 ... from a value on, so that half of it is a short number too."""
    step = 1.0
    while True:
        for factor in (1, 2, 4):
            if value <= step * factor:
                return step * factor
        step *= 10
