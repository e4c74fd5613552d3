"""Measure one or more encoders on retrieval and similarity tasks, side by side."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from rich.markup import escape

from mlcl.core.files import atomic_directory, refuse_existing, write_json
from mlcl.core.progress import print_table, results, step
from mlcl.reports.results_report import Evaluation, html_page, markdown
from mlcl.stages._models import check_places, load_embed, named_models, prompts_of, with_prompt
from mlcl.stages._tasks import check_data, chosen_tasks


@dataclass(frozen=True)
class Config:
    """Settings of `mlcl evaluate`."""

    model: list[str]
    """Models to measure: MLC, sentence-transformers or Hugging Face folders, hub ids, or `tfidf` (n-gram baseline).
    Write NAME=FOLDER to choose the name that tables show."""
    data: str
    """Folder that holds the published data sets (tatoeba, ntrex, pud, sib200, stsb, ...)."""
    out: str
    """Folder to make: results.json, results.md, report.html."""
    tasks: list[str] = field(default_factory=lambda: ["tatoeba", "ntrex", "multiparallel", "stsb"])
    """Tasks to run."""
    languages: list[str] | None = None
    """Languages to measure, in every task that has them; all when not given."""
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
    models = named_models(config.model)
    check_places(models)
    tasks = chosen_tasks(config.tasks, config.options, languages=config.languages)
    tasks = check_data(tasks, Path(config.data), config.languages)  # before any model is loaded
    rows: list[dict[str, Any]] = []
    trained = {model.name: config.trained_languages or model.languages for model in models}
    for model in models:
        embed = load_embed(model, config.batch_size)
        for task, (module, options) in tasks.items():
            with step(f"{escape(model.name)}: {task}"):
                found = module.evaluate(
                    with_prompt(embed, prompts_of(embed), task),
                    Path(config.data),
                    replace(options, trained_languages=trained[model.name]),
                )
            rows += [asdict(replace(result, model=model.name, seed=model.seed)) for result in found]
    places = {model.name: model.place for model in models}
    evaluation = Evaluation(rows, places, trained, {task: module.HEADLINE for task, (module, _) in tasks.items()})
    _print(evaluation)
    with atomic_directory(out, config.overwrite) as partial:
        write_json(partial / "results.json", rows)
        (partial / "results.md").write_text(markdown(evaluation), encoding="utf-8")
        (partial / "report.html").write_text(html_page(evaluation), encoding="utf-8")
    results.print(f"report: {escape(str(out / 'report.html'))}", soft_wrap=True)
    return out


def _print(evaluation: Evaluation) -> None:
    """Languages and averages of every task as tables on standard output; the intervals are in the files."""
    for task, split in evaluation.splits():
        title = f"{task} ({split})"
        print_table(
            f"{title}: {evaluation.headline(task)}, by language", *evaluation.languages(task, split, intervals=False)
        )
        print_table(f"{title}: averages", *evaluation.averages(task, split, intervals=False))
