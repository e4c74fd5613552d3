"""Measure encoders on every task whose data is there: resumable, with significance tests and one report.

Each task runs on its full test sets, with frozen encoders: retrieval, similarity, probes that are fitted on vectors,
and for names in text a tagging head over token states. Tasks whose folder is missing under DATA are listed as left out.
What is finished is kept in OUT/work, together with the vectors of the model at work: after Ctrl-C or a kill, repeat the
command and it goes on where it stopped. A model, option or data file that has changed makes anew what depends on it,
and nothing else.
"""

from __future__ import annotations

import platform
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from rich.markup import escape

import mlcl
from mlcl.core.files import atomic_file, read_json, refuse_existing, write_json
from mlcl.core.progress import console, print_table, results, step
from mlcl.reports.benchmark_page import html_page
from mlcl.reports.benchmark_report import markdown
from mlcl.reports.benchmark_tables import Benchmark
from mlcl.reports.results_report import Evaluation
from mlcl.stages._digest import code_digest, digest
from mlcl.stages._fertility import fertility_rows
from mlcl.stages._models import (
    Model,
    check_places,
    fingerprint,
    load_embed,
    named_models,
    prompts_of,
    with_prompt,
)
from mlcl.stages._present import PresentTask, present_tasks
from mlcl.stages._significance import compare
from mlcl.stages._tuned import Fit, fits, means_over_seeds, tuned_record
from mlcl.stages._vector_cache import Meter, VectorCache
from mlcl.tasks import TaskOptions

_CODE = ("mlcl.formats", "mlcl.model", "mlcl.retrieval", "mlcl.tasks")


@dataclass(frozen=True)
class Config:
    """Settings of `mlcl benchmark`."""

    model: list[str]
    """Models to measure: MLC, sentence-transformers or Hugging Face folders, hub ids, or `tfidf` (n-gram baseline).
    Write NAME=FOLDER to choose the name that tables show. The first is compared with each of the others."""
    data: str
    """Folder that holds the published data sets (tatoeba, ntrex, xnli, wikiann, ...)."""
    out: str
    """Folder of the results: results.json, benchmark.json, results.md, report.html, and work, where a repeated command
    finds what is already done."""
    tasks: list[str] | None = None
    """Tasks to run; every one whose data is there when not given."""
    trained_languages: list[str] | None = None
    """Tags that the models were trained on; read from each model's mlcl.json when not given."""
    options: dict[str, Any] = field(default_factory=dict)
    """Options of single tasks, such as `ntrex: {documents: 1-73}` or `multiparallel: {sets: [pud]}`."""
    finetune: list[str] = field(default_factory=list)
    """Labelled tasks to fine-tune every model on as well (`mlcl finetune`): wikiann, xnli, afrisenti, ..."""
    finetune_options: dict[str, Any] = field(default_factory=dict)
    """Settings of `mlcl finetune` for single tasks, tagging included, such as `masakhaner: {train_language: [hau]}`.
    When not given, labels are those of English where there are such, else of the language with most."""
    batch_size: int | None = None
    """Sentences that are encoded at once; the encoder decides when not given."""
    keep_vectors: bool = False
    """Keep the vectors in OUT/work when a model is done, so that other options need no new encoding."""
    overwrite: bool = False
    """Forget what OUT holds and measure everything anew."""


def run(config: Config) -> Path:
    """Measure, compare, print the tables, write the reports, and return their folder.

    Raises:
        UserError: missing or malformed data, a model that cannot be loaded, unknown tasks or options, or an OUT that
            holds something else.
    """
    out, root = Path(config.out), Path(config.data)
    _check_out(out, config.overwrite)
    models = named_models(config.model)
    check_places(models)
    present = present_tasks(root, config.tasks, config.options)
    tunings = fits(config.finetune, config.finetune_options, root, present.tagging)
    left_out, parallel = dict(present.left_out), present.parallel
    records = []
    with _resumable(out / "work", config.overwrite) as work:
        for model in models:
            records += _measure(model, present.tasks, tunings, root, work, config)
        impossible = [record for record in records if "left_out" in record]
        left_out |= {f"{record['task']} of {record['model']}": record["left_out"] for record in impossible}
        records = [record for record in records if "left_out" not in record]
        every_seed = [row for record in records for row in record.pop("rows")]
        rows = means_over_seeds(every_seed)
        headlines = _headlines(records)
        trained = {model.name: config.trained_languages or model.languages for model in models}
        places = {model.name: model.place for model in models}
        evaluation = Evaluation(rows, places, trained, {task: found[0] for task, found in headlines.items()})
        first, *others = models
        benchmark = Benchmark(
            evaluation,
            headlines,
            [one.as_row() for other in others for one in compare(rows, headlines, first.name, other.name)],
            list(fertility_rows(models, parallel, headlines[parallel.task][0], rows)) if parallel else [],
            records,
            left_out,
            _facts(config),
        )
        _write(benchmark, every_seed, out)
    _print(benchmark)
    results.print(f"report: {escape(str(out / 'report.html'))}", soft_wrap=True)
    return out


def _check_out(out: Path, overwrite: bool) -> None:
    """OUT is absent, empty, or that of an earlier run of this command."""
    if not (out / "work").is_dir():
        refuse_existing(out, overwrite)


@contextmanager
def _resumable(work: Path, overwrite: bool) -> Iterator[Path]:
    """The folder of what is done; a run that is stopped says how to go on, one that fails before it leaves nothing."""
    if overwrite:
        shutil.rmtree(work, ignore_errors=True)
    made = [folder for folder in (work, work.parent) if not folder.exists()]
    work.mkdir(parents=True, exist_ok=True)
    try:
        yield work
    except KeyboardInterrupt:
        console.print(f"what is finished is kept in {work}; repeat the command to go on", soft_wrap=True)
        raise
    finally:
        for folder in made:
            if not any(folder.iterdir()):
                folder.rmdir()


def _measure(
    model: Model, tasks: Sequence[PresentTask], tunings: Sequence[Fit], root: Path, work: Path, config: Config
) -> list[dict[str, Any]]:
    """Records of all tasks, those of an earlier run included.

    A record is `{model, task, headlines, rows, texts, encode_seconds, seconds}`, or `{model, task, left_out, rows}`
    where a model cannot be measured on a task.
    """
    identity = fingerprint(model)
    trained = config.trained_languages or model.languages
    files = {}
    for task in tasks:
        options = replace(task.options, trained_languages=trained)
        key = digest(identity, task.name, options, task.data, code_digest(*_CODE))
        files[work / "results" / f"{task.name}-{key}.json"] = (task, options)
    missing = {file: what for file, what in files.items() if not file.exists()}
    if done := len(files) - len(missing):
        console.print(f"{escape(model.name)}: {done} of {len(files)} tasks are kept from an earlier run")
    if missing:
        _run_tasks(model, missing, root, work / "vectors" / digest(identity, code_digest("mlcl.model")), config)
    records = [read_json(file) for file in files]
    code = code_digest(*_CODE, "mlcl.finetuning", "mlcl.training")
    records += [tuned_record(model, tuning, identity + code, work) for tuning in tunings]
    for record in records:
        record["model"] = model.name
        for row in record["rows"]:
            row["model"] = model.name
            row["seed"] = model.seed if row["seed"] is None else row["seed"]
    return records


def _run_tasks(
    model: Model, missing: dict[Path, tuple[PresentTask, TaskOptions]], root: Path, vectors: Path, config: Config
) -> None:
    """Run tasks, and write the record of each when it is finished."""
    loaded = load_embed(model, config.batch_size, show_progress=False)
    meter = Meter(loaded)
    with ExitStack() as stack:
        embed = meter if model.is_baseline else stack.enter_context(VectorCache(meter, vectors))
        for file, (task, options) in missing.items():
            texts, encoding, started = meter.texts, meter.seconds, time.monotonic()
            with step(f"{escape(model.name)}: {task.name}"):
                found = task.module.evaluate(with_prompt(embed, prompts_of(loaded), task.name), root, options)
            record = {
                "task": task.name,
                "headlines": {task.name: task.module.HEADLINE},
                "texts": meter.texts - texts,
                "encode_seconds": meter.seconds - encoding,
                "seconds": time.monotonic() - started,
                "rows": [asdict(result) for result in found],
            }
            write_json(file, record)
    if not config.keep_vectors:
        shutil.rmtree(vectors, ignore_errors=True)


def _headlines(records: list[dict[str, Any]]) -> dict[str, list[tuple[str, str]]]:
    """Task -> (metric, direction) of its headline in the records, which are rid of it; two where it was tuned too."""
    found: dict[str, dict[tuple[str, str], None]] = {}
    for record in records:
        for task, (metric, direction) in record.pop("headlines").items():
            found.setdefault(task, {})[metric, direction] = None
    return {task: list(headlines) for task, headlines in found.items()}


def _facts(config: Config) -> dict[str, str]:
    """What a reader needs to repeat or to place the numbers."""
    import torch
    import transformers

    command = "mlcl benchmark --model " + " ".join(config.model) + f" --data {config.data} --out {config.out}"
    command += f" --tasks {','.join(config.tasks)}" if config.tasks else ""
    command += f" --finetune {','.join(config.finetune)}" if config.finetune else ""
    options = [f"{task}: {values}" for task, values in config.options.items()]
    options += [f"fit of {task}: {values}" for task, values in config.finetune_options.items()]
    return {
        "command": command,
        "options": "; ".join(options) or "as given by default",
        "versions": f"mlcl {mlcl.__version__}, torch {torch.__version__}, transformers {transformers.__version__}",
        "machine": f"{platform.machine()}, {torch.get_num_threads()} threads"
        + (f", {torch.cuda.get_device_name()}" if torch.cuda.is_available() else ""),
    }


def _write(benchmark: Benchmark, rows: list[dict[str, Any]], out: Path) -> None:
    """All files, or none of them."""
    texts = {"results.md": markdown(benchmark), "report.html": html_page(benchmark)}
    with ExitStack() as stack:  # each file takes its place when all are written
        for name, text in texts.items():
            stack.enter_context(atomic_file(out / name)).write_text(text, encoding="utf-8")
        write_json(stack.enter_context(atomic_file(out / "results.json")), rows)
        write_json(stack.enter_context(atomic_file(out / "benchmark.json")), benchmark.beside_rows())


def _print(benchmark: Benchmark) -> None:
    """The summary and the comparisons, on standard output; everything else is in the report."""
    for title, (header, rows) in benchmark.tables().items():
        print_table(title, header, rows)
