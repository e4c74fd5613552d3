"""Measure one or more encoders on retrieval and similarity tasks, side by side."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from types import ModuleType
from typing import Any

from rich.markup import escape
from rich.table import Table

from mlcl.core import plugins
from mlcl.core.errors import UserError
from mlcl.core.files import atomic_directory, existing, read_json, refuse_existing, write_json
from mlcl.core.flags import from_values
from mlcl.core.progress import console, results, step
from mlcl.reports.results_report import Evaluation, html_page, markdown
from mlcl.retrieval import tfidf
from mlcl.tasks import Embed, TaskOptions


@dataclass(frozen=True)
class Config:
    """Settings of `mlcl evaluate`."""

    model: list[str]
    """Models to measure: MLC, sentence-transformers or Hugging Face folders, hub ids, or `tfidf` (n-gram baseline)."""
    data: str
    """Folder that holds the published data sets (tatoeba, ntrex, pud, sib200, stsb, ...)."""
    out: str
    """Folder to make: results.json, results.md, report.html."""
    tasks: list[str] = field(default_factory=lambda: ["tatoeba", "ntrex", "multiparallel", "stsb"])
    """Tasks to run."""
    languages: list[str] | None = None
    """Languages to measure in every task; all when not given."""
    trained_languages: list[str] | None = None
    """Tags that the models were trained on; read from each model's mlcl.json when not given."""
    options: dict[str, Any] = field(default_factory=dict)
    """Options of single tasks, such as `ntrex: {documents: 1-73}` or `multiparallel: {sets: [pud]}`."""
    batch_size: int | None = None
    """Sentences that are encoded at once; the encoder decides when not given."""
    overwrite: bool = False
    """Replace OUT where it exists."""


def run(config: Config) -> Path:
    """Measure, print the tables, write the reports, and return their folder.

    Raises:
        UserError: missing data or model, unknown task or option, or an output that exists.
    """
    out = Path(config.out)
    refuse_existing(out, config.overwrite)
    models = _names(config.model)
    tasks = _tasks(config)
    for module, options in tasks.values():  # everything that can be wrong with the data, before any model is loaded
        module.load(Path(config.data), options)
    rows: list[dict[str, Any]] = []
    trained: dict[str, list[str] | None] = {}
    for name, place in models.items():
        info = _training_info(place)
        trained[name] = config.trained_languages or info.get("languages")
        embed = _embedder(place, config.batch_size)
        for task, (module, options) in tasks.items():
            with step(f"{escape(name)}: {task}"):
                found = module.evaluate(embed, Path(config.data), replace(options, trained_languages=trained[name]))
            rows += [asdict(replace(result, model=name, seed=_seed(info))) for result in found]
    evaluation = Evaluation(rows, models, trained, {task: module.HEADLINE for task, (module, _) in tasks.items()})
    _print(evaluation)
    with atomic_directory(out, config.overwrite) as partial:
        write_json(partial / "results.json", rows)
        (partial / "results.md").write_text(markdown(evaluation), encoding="utf-8")
        (partial / "report.html").write_text(html_page(evaluation), encoding="utf-8")
    results.print(f"report: {escape(str(out / 'report.html'))}", soft_wrap=True)
    return out


def _tasks(config: Config) -> dict[str, tuple[ModuleType, TaskOptions]]:
    """Task -> its module and options, all checked."""
    modules = {task: plugins.load("mlcl.tasks", task) for task in config.tasks}
    if not modules:
        raise UserError("no task is given", remedy=f"known: {', '.join(plugins.names('mlcl.tasks'))}")
    if unused := sorted(set(config.options) - set(modules)):
        raise UserError(f"options of {', '.join(unused)}, which is not run", remedy="add it to tasks or leave it out")
    tasks = {}
    for task, module in modules.items():
        values = config.options.get(task) or {}
        if not isinstance(values, dict):
            raise UserError(f"options.{task} must be a mapping of option to value")
        tasks[task] = (
            module,
            from_values(module.Options, {"languages": config.languages, **values}, f"options.{task}"),
        )
    return tasks


def _names(places: Sequence[str]) -> dict[str, str]:
    """A short, distinct name for each model -> its path or hub id. `runs/a/model` is called `a`."""
    if not places:
        raise UserError("no model is given", remedy="give --model a folder, a hub id, or tfidf")
    names: dict[str, str] = {}
    for place in dict.fromkeys(places):
        parts = [part for part in Path(place).parts if part not in ("/", ".", "..")] or [Path(place).resolve().name]
        if len(parts) > 1 and parts[-1] == "model":
            parts.pop()
        depth = 1
        while "/".join(parts[-depth:]) in names and depth < len(parts):
            depth += 1
        name = "/".join(parts[-depth:])
        names[name if name not in names else place] = place
    return names


def _training_info(place: str) -> Mapping[str, Any]:
    """What our trainer wrote down about a model; empty for foreign ones."""
    file = Path(place) / "mlcl.json"
    info = read_json(file) if file.is_file() else {}
    return info if isinstance(info, dict) else {}


def _seed(info: Mapping[str, Any]) -> int | None:
    training = info.get("settings", {}).get("training", {})
    seed = training.get("seed") if isinstance(training, dict) else None
    return seed if isinstance(seed, int) else None


def _embedder(place: str, batch_size: int | None) -> Embed:
    """Load a model, or the baseline, as a callable from texts to vectors.

    Raises:
        UserError: it cannot be loaded.
    """
    if place == tfidf.NAME and not Path(place).exists():
        return tfidf.TfidfEncoder()
    if place.startswith((".", "/", "~")):
        place = str(existing(Path(place).expanduser()))
    from mlcl.model.encoder import Encoder

    started = time.monotonic()
    try:
        encoder = Encoder.from_pretrained(place)
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        raise UserError(
            f"cannot load {place!r} as an encoder: {reason}", remedy="give an MLC, sentence-transformers or HF folder"
        ) from error
    console.print(f"[green]✓[/green] loaded {escape(place)} [dim]({time.monotonic() - started:.1f} s)[/dim]")
    return lambda texts: encoder.encode(texts, batch_size=batch_size, normalize=True, show_progress=True)


def _print(evaluation: Evaluation) -> None:
    """Languages and averages of every task as tables on standard output; the intervals are in the files."""
    for task, split in evaluation.splits():
        title = f"{task} ({split})"
        _table(
            f"{title}: {evaluation.headline(task)}, by language", *evaluation.languages(task, split, intervals=False)
        )
        _table(f"{title}: averages", *evaluation.averages(task, split, intervals=False))


def _table(title: str, header: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    table = Table(title=escape(title), title_justify="left")
    for label in header:
        table.add_column(escape(label), overflow="fold")
    for row in rows:
        table.add_row(*(escape(str(cell)) for cell in row))
    results.print(table)
