"""One or more training runs as one self-contained HTML page: what is wrong, curves, languages, settings.

In: `Run`s and their verdicts. Out: the page, and rows of the same for `results.json`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from mlcl.core.languages import name
from mlcl.reports import analyse_plots as plots
from mlcl.reports import benchmark_plots as shared
from mlcl.reports import html
from mlcl.reports.analyse_diagnoses import Verdict
from mlcl.reports.analyse_run import Run

Verdicts = Mapping[str, Sequence[Verdict]]
"""Name of a run -> its verdicts."""

CURVES: dict[str, dict[str, str]] = {
    "Losses": {"loss": "J, the weighted sum", "info_nce": "InfoNCE", "lm": "LM term", "eval_accuracy": "dev accuracy"},
    "Balance of the terms": {
        "gradient_cosine": "cosine of the two gradients", "gradient_norm_info_nce": "gradient norm, InfoNCE",
        "gradient_norm_lm": "gradient norm, LM term", "lm_weight": "lambda", "temperature": "temperature",
        "grad_norm": "gradient norm, whole objective",
    },
    "Space": {
        "alignment": "alignment (lower is better)", "uniformity": "uniformity (lower is better)",
        "effective_rank": "effective rank", "queue_cosine": "cosine of old and fresh keys of the queue",
    },
    "Speed": {
        "lr": "learning rate", "pairs_per_second": "pairs per second", "tokens_per_second": "tokens per second",
        "padding_fraction": "padding", "data_wait_fraction": "waiting for data", "peak_memory_bytes": "memory (bytes)",
    },
}  # fmt: skip
"""Section -> logged key -> title of its panel. Keys that no run logged are left out; other terms join the losses."""

_ABOUT = {
    "Losses": "Each term under its own mean. Dev accuracy: each held-out sentence searched among all of them.",
    "Balance of the terms": "Gradients of the unweighted terms with respect to the layers of the encoder, on a batch "
    "of training; a negative cosine means that a step for one term undoes some of the other.",
    "Space": "Of held-out sentences: distance of translations, spread over the sphere, and how many directions are in "
    "use. Below 0.7, the old keys of a queue no longer say where their sentences are.",
    "Speed": "As logged; evaluation and checkpoints are not counted.",
}


def html_page(runs: Sequence[Run], verdicts: Verdicts) -> str:
    """The whole page."""
    sections = [("What is wrong", _findings(runs, verdicts)), ("Runs", html.table(*overview(runs), digits=3))]
    numbers = shared.details("The numbers", html.table(*curve_numbers(runs), digits=4))
    for title, keys in _with_other_terms(runs).items():
        drawn = [_panel(key, label, runs) for key, label in keys.items() if any(run.points(key) for run in runs)]
        if drawn:
            chart = plots.panels(drawn, f"Curves over the steps: {', '.join(keys.values())}")
            sections.append((title, html.paragraph(_ABOUT[title], note=True) + _legend(runs) + chart + numbers))
    if languages := language_table(runs):
        sections.append(("Languages", html.paragraph(_LANGUAGES, note=True) + html.table(*languages)))
    sections.append(("Everything that was looked at", html.table(*checked(runs, verdicts))))
    sections.append(("Settings", html.table(*settings(runs))))
    return html.page("Training runs", sections, " · ".join(run.name for run in runs), shared.STYLE + plots.STYLE)


_LANGUAGES = (
    "Share of the drawn sides (counted in training where that was logged, else as sampling.alpha makes it), how often "
    "each sentence was drawn, and how many held-out sentences of a language find their group."
)


def _findings(runs: Sequence[Run], verdicts: Verdicts) -> str:
    parts = []
    for place, run in enumerate(runs):
        found = [verdict for verdict in verdicts[run.name] if verdict.found]
        known = sum(verdict.found is not None for verdict in verdicts[run.name])
        key = f'<i class="key" style="background:{shared.colour(place)}"></i>'
        parts.append(f"<h3>{key}{escape(run.name)}</h3>")
        for verdict in found:
            parts.append(
                f'<div class="finding"><p><b>{escape(verdict.title)}</b></p><p>{escape(verdict.evidence)}.</p>'
                f"<p>Remedy: {escape(verdict.remedy)}.</p></div>"
            )
        if not found:
            parts.append(
                f'<div class="finding fine"><p>Nothing: {known} of {len(verdicts[run.name])} checks made.</p></div>'
            )
    return "".join(parts)


def _with_other_terms(runs: Sequence[Run]) -> dict[str, dict[str, str]]:
    others = {key: key for run in runs for key in run.terms if key not in CURVES["Losses"]}
    norms = {f"gradient_norm_{key}": f"gradient norm, {key}" for key in others}
    extra = {"Losses": others, "Balance of the terms": norms}
    return {title: keys | extra.get(title, {}) for title, keys in CURVES.items()}


def _panel(key: str, label: str, runs: Sequence[Run]) -> str:
    curves = [plots.Curve(run.name, run.points(key), place) for place, run in enumerate(runs) if run.points(key)]
    return plots.panel(label, curves, floor=0.0 if key.endswith(("fraction", "norm", "_second")) else None)


def _legend(runs: Sequence[Run]) -> str:
    return shared.legend([(shared.colour(place), run.name, "") for place, run in enumerate(runs)])


def overview(runs: Sequence[Run]) -> tuple[list[str], list[list[Any]]]:
    """Header and one row for each run: how long it was and where it ended."""
    header = ["run", "steps", "pairs an update", "draws a sentence", "InfoNCE", "LM", "dev accuracy (%)"]
    header += ["alignment", "uniformity", "effective rank", "pairs/s"]
    rows = []
    for run in runs:
        space = [run.last(key) for key in ("alignment", "uniformity", "effective_rank")]
        if run.measures is not None:
            space = [run.measures.alignment, run.measures.uniformity, run.measures.effective_rank]
        accuracy = run.last("eval_accuracy")
        rows.append(
            [run.name, run.steps, run.pairs_per_update, run.epochs, run.last("info_nce"), run.last("lm"),
             None if accuracy is None else 100 * accuracy, *space, run.window("pairs_per_second", 0.5, 1.0)]
        )  # fmt: skip
    return header, rows


def curve_numbers(runs: Sequence[Run]) -> tuple[list[str], list[list[Any]]]:
    """What the curves show: first, lowest, highest and last value of each."""
    titles = {key: label for keys in _with_other_terms(runs).values() for key, label in keys.items()}
    rows: list[list[Any]] = []
    for key, label in titles.items():
        for run in runs:
            if values := [value for _, value in run.points(key)]:
                rows.append([label, run.name, len(values), values[0], min(values), max(values), values[-1]])
    return ["value", "run", "logged", "first", "lowest", "highest", "last"], rows


def language_table(runs: Sequence[Run]) -> tuple[list[str], list[list[Any]]] | None:
    """Languages by run: what they have, what was drawn of it, what came out; None where nothing is known."""
    tags = dict.fromkeys(
        tag for run in runs for tag in (*run.sentences, *(run.measures.accuracy if run.measures else ()))
    )
    if not tags:
        return None
    header = ["run", "tag", "language", "sentences", "drawn (%)", "draws a sentence", "dev accuracy (%)", "n"]
    rows: list[list[Any]] = []
    for run in runs:
        drawn, pairs = run.drawn(), (run.pairs_per_update or 0) * run.steps
        accuracy = run.measures.accuracy if run.measures else {}
        for tag in sorted(tags, key=lambda tag: (accuracy.get(tag, (2.0, 0))[0], tag)):
            if tag not in run.sentences and tag not in accuracy:
                continue
            n, share = run.sentences.get(tag), drawn.get(tag)
            times = pairs * share / n if n and share is not None and pairs else None
            found = accuracy.get(tag)
            rows.append(
                [run.name, tag, name(tag), n, None if share is None else 100 * share, times,
                 None if found is None else 100 * found[0], None if found is None else found[1]]
            )  # fmt: skip
    return header, rows


def checked(runs: Sequence[Run], verdicts: Verdicts) -> tuple[list[str], list[list[Any]]]:
    """Every verdict of every run."""
    words = {True: "found", False: "not found", None: "not known"}
    rows = [
        [run.name, verdict.title, words[verdict.found], verdict.evidence]
        for run in runs
        for verdict in verdicts[run.name]
    ]
    return ["run", "check", "verdict", "evidence"], rows


def settings(runs: Sequence[Run]) -> tuple[list[str], list[list[Any]]]:
    """Settings, one column a run; those that differ first."""
    flat = [dict(_flat(run.settings)) for run in runs]
    keys = dict.fromkeys(key for one in flat for key in one)
    differ = {key: len({str(one.get(key)) for one in flat}) > 1 for key in keys}
    rows = [
        [key, *(None if one.get(key) is None else str(one[key]) for one in flat)]
        for key in sorted(keys, key=lambda key: not differ[key])
    ]
    return ["setting", *(run.name for run in runs)], rows


def _flat(values: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    for key, value in values.items():
        found += _flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) else [(prefix + key, value)]
    return found


def results(runs: Sequence[Run], verdicts: Verdicts) -> list[dict[str, Any]]:
    """What `results.json` holds: for each run its verdicts, its last values and what was measured."""
    rows = []
    for run in runs:
        keys = [key for keys in _with_other_terms([run]).values() for key in keys]
        measures = None
        if run.measures is not None:
            measures = {key: value for key, value in vars(run.measures).items() if key != "accuracy"}
            measures["accuracy"] = {tag: {"value": value, "n": n} for tag, (value, n) in run.measures.accuracy.items()}
        rows.append(
            {
                "run": run.name,
                "path": str(run.path),
                "steps": run.steps,
                "draws_per_sentence": run.epochs,
                "last": {key: run.last(key) for key in keys if run.last(key) is not None},
                "measures": measures,
                "diagnoses": [
                    {"key": v.key, "title": v.title, "found": v.found, "evidence": v.evidence, "remedy": v.remedy}
                    for v in verdicts[run.name]
                ],
            }
        )
    return rows
