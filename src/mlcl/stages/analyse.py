"""Say what is wrong with training runs: curves, the space and the languages of the model, and diagnoses in words.

Reads metrics.jsonl of each run and, where they are there, its model (or last checkpoint) and its corpus, with which the
accuracy of single languages, copies among the pairs and the shape of the space are measured.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from rich.markup import escape

from mlcl.core.files import atomic_directory, refuse_existing, write_json
from mlcl.core.progress import results
from mlcl.reports.analyse_diagnoses import Verdict, diagnose
from mlcl.reports.analyse_page import html_page
from mlcl.reports.analyse_page import results as result_rows
from mlcl.reports.analyse_run import Run
from mlcl.stages._analyse_read import read_runs


@dataclass(frozen=True)
class Config:
    """Settings of `mlcl analyse`."""

    runs: list[str] = field(metadata={"positional": True})
    """Run folders, as `mlcl pretrain --out` or MLCTrainer made them; several are drawn side by side. NAME=FOLDER
    chooses the name that the page shows."""
    out: str | None = None
    """Folder to make: report.html, results.json. RUN/analysis when not given; of several runs, that of the first."""
    corpus: str | None = None
    """Corpus folder; that of the run's settings when not given."""
    measure: bool = True
    """Whether the model and the corpus are looked at, which takes a minute or less; else metrics.jsonl alone."""
    sentences: int = 4000
    """Most held-out sentences that are encoded for each run."""
    overwrite: bool = False
    """Replace OUT where it exists; RUN/analysis is replaced in any case."""


def run(config: Config) -> Path:
    """Read, measure, diagnose, print what was found, and return the folder of the report.

    Raises:
        UserError: a run without metrics.jsonl, malformed lines, or an output that exists.
    """
    first = config.runs[0].partition("=")[2] or config.runs[0]
    out = Path(config.out) if config.out else Path(first if Path(first).is_dir() else config.runs[0]) / "analysis"
    overwrite = config.overwrite or config.out is None
    refuse_existing(out, overwrite)
    runs = read_runs(config.runs, config.corpus, config.sentences if config.measure else 0)
    verdicts = {found.name: diagnose(found) for found in runs}
    for found in runs:
        _print(found, verdicts[found.name])
    with atomic_directory(out, overwrite) as partial:
        write_json(partial / "results.json", result_rows(runs, verdicts))
        (partial / "report.html").write_text(html_page(runs, verdicts), encoding="utf-8")
    results.print(f"report: {escape(str(out / 'report.html'))}", soft_wrap=True)
    return out


def _print(run: Run, verdicts: list[Verdict]) -> None:
    known = [verdict for verdict in verdicts if verdict.found is not None]
    ill = [verdict for verdict in known if verdict.found]
    results.print(
        f"[bold]{escape(run.name)}[/bold]: {run.steps:,} steps, {len(ill)} of {len(known)} checks found something",
        soft_wrap=True,
    )
    for verdict in ill:
        results.print(f"  [red]✗[/red] {escape(verdict.title)}", soft_wrap=True)
        results.print(f"    {escape(verdict.evidence)}", soft_wrap=True)
        results.print(f"    remedy: {escape(verdict.remedy)}", soft_wrap=True)
