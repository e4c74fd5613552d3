"""Fit an encoder to a labelled task in one language, or several, and test it in all of them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from rich.markup import escape

from mlcl.core.errors import UserError
from mlcl.core.files import atomic_directory, read_json, refuse_existing, write_json
from mlcl.core.progress import console, print_table, results, step
from mlcl.core.settings import read_settings
from mlcl.finetuning.settings import FEW_SHOT, FitSettings, Tuning, check, check_descriptions, head_for
from mlcl.stages._models import check_places, identity, named_models
from mlcl.tasks._labelled import Example

if TYPE_CHECKING:
    from mlcl.finetuning.data import TaskData
    from mlcl.reports.finetune_report import Transfer


@dataclass(frozen=True)
class Config:
    """Settings of `mlcl finetune`."""

    model: str
    """Encoder to start from: an MLC, sentence-transformers or Hugging Face folder, or a hub id. Write NAME=FOLDER to
    choose the name that tables show."""
    task: str
    """Labelled task: wikiann, xnli, afrisenti, ...; or a folder of your own with LANGUAGE/train.tsv, dev.tsv, test.tsv
    (columns text and label; text, pair and label; text, pair and score) or .csv, .jsonl, .conll."""
    out: str
    """Folder to make: model, results.json, runs.json, results.md, report.html."""
    data: str = ""
    """Folder that holds the published data sets; not needed for a folder of your own."""
    train_language: list[str] = field(default_factory=lambda: ["en"])
    """Languages whose labels are fitted on, as tags or the data set's codes; `all` is translate-train."""
    mixed_sides: float = 0.0
    """Share of the training examples, in [0, 1], whose second text is drawn, anew for each seed, from another training
    language: for pairs that are translated row by row (xnli, pawsx, stsb_supervised, xquad, or a folder of your own
    with a column id). Dev and test sets stay as they are."""
    evaluate: list[str] = field(default_factory=lambda: ["all"])
    """Languages to test."""
    evaluate_tasks: list[str] = field(default_factory=list)
    """Further tasks with the same labels to test, such as uner after wikiann."""
    dev: list[str] = field(default_factory=lambda: ["train"])
    """Whose dev sets choose the checkpoint and stop early: those of the training languages (train), of all tested ones
    (joint), or of named languages. What looks at other languages is no zero-shot transfer and is called so in the
    results."""
    head: str | None = None
    """sentence, cross-encoder, bi-encoder, cosine, token or dual-encoder; the usual one of the task when not given (of
    two texts, a cross-encoder or a cosine, and a bi-encoder where the encoder is frozen)."""
    tuning: Tuning = field(default_factory=Tuning)
    """How the encoder is tuned."""
    training: FitSettings = field(default_factory=FitSettings)
    """How it is fitted."""
    shots: int | None = None
    """Training examples of each label, drawn anew for each seed; all when not given."""
    max_examples: int | None = None
    """Most training examples, drawn anew for each seed; all when not given."""
    max_test_examples: int | None = None
    """Most examples of each dev and test set, a sample that is the same in every run, for a quick look; all when not
    given."""
    label_descriptions: str | None = None
    """YAML file for zero-shot: label -> a text, or several, in any language; the labels themselves when not given."""
    seeds: int = 1
    """Fits, with seeds from `seed` on; the report gives their mean and standard deviation."""
    seed: int = 0
    """The first seed."""
    keep: Literal["first", "all"] = "first"
    """Whose model is saved: OUT/model of the first seed, or OUT/model-SEED of each."""
    resume: bool = False
    """Go on with a run that was stopped; what it has done lies in OUT.unfinished."""
    overwrite: bool = False
    """Replace OUT where it exists."""


_DIGESTS = {
    "data_digest": "data (files have changed)",
    "model_digest": "model (files have changed)",
    "descriptions_digest": "label_descriptions (the file has changed)",
}
"""What settings.json of a run holds beside its settings, and how a message calls it."""


def run(config: Config) -> Path:
    """Fit and test once per seed, write OUT, print the tables, and return OUT.

    Raises:
        UserError: settings or data that do not fit; before the model is loaded where that can be known.
    """
    out = Path(config.out)
    try:
        transfer = fit_and_test(config)
    except KeyboardInterrupt:
        if (work := _work(out)).exists():
            console.print(f"stopped; what is done lies in {work}: continue with --resume", soft_wrap=True)
        raise
    for title, header, rows in transfer.tables():
        print_table(title, header, rows)
    results.print(f"report: {escape(str(out / 'report.html'))}", soft_wrap=True)
    return out


def fit_and_test(config: Config) -> Transfer:
    """Everything but what `run` prints; the same errors."""
    out = Path(config.out)
    work = _work(out)
    models = named_models([config.model])
    if models[0].is_baseline:
        raise UserError(f"{config.model} is a baseline of n-grams, which has nothing to tune", remedy="give an encoder")
    _check(config)  # before any file is looked for
    check_places(models)
    _may_write(config, out, work)
    data = checked_data(config)
    descriptions = _descriptions(config, data.task.labels)

    from mlcl.stages._finetune_seeds import Seeds
    from mlcl.training.memory import keep_freed_memory

    keep_freed_memory()
    started_with = {**_comparable(config), **_digests(config, data, descriptions)}
    if config.resume:
        _check_same(work, started_with)
    else:
        shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True, exist_ok=True)
    write_json(work / "settings.json", started_with)
    about = {"direction": _direction(config), "model": _name(config), "train_language": _train_name(config, data)}
    if config.dev == ["joint"]:
        about["split"] = "test (joint dev)"
    elif others := _dev_elsewhere(data):
        about["split"] = f"test (dev {'+'.join(others)})"
    try:
        seeds = Seeds(config, data, about, descriptions, work)
        done = [seeds.run(seed) for seed in range(config.seed, config.seed + config.seeds)]
    except UserError:
        if not any(work.glob("seed-*/*")):
            shutil.rmtree(work)  # nothing was done that could be continued
        raise
    transfer = _transfer(config, data, done, about)
    _finish(config, out, work, transfer)
    return transfer


def _work(out: Path) -> Path:
    """Where a run keeps what it has done until it is finished."""
    return out.with_name(out.name + ".unfinished")


def _check(config: Config) -> None:
    """Everything that can be wrong with the settings alone."""
    check(config.tuning, config.training)
    few = config.tuning.method in FEW_SHOT
    if not 0 <= config.mixed_sides <= 1:
        raise UserError(f"mixed_sides is {config.mixed_sides:g}, it must be in [0, 1]")
    if not 0 <= config.seed < 2**32 - config.seeds:
        raise UserError(f"seed is {config.seed}, it must be at least 0 and below 2^32")
    for name in ("train_language", "evaluate"):
        if not getattr(config, name):
            raise UserError(f"{name} names no language", remedy="leave it out, or name one")
    for name in ("seeds", "shots", "max_examples", "max_test_examples"):
        value = getattr(config, name)
        if value is not None and value < 1:
            raise UserError(f"{name} is {value}, it must be at least 1")
    if config.shots is not None and config.max_examples is not None:
        raise UserError("shots and max_examples exclude each other", remedy="give one of them")
    if config.label_descriptions is not None and config.tuning.method != "zero-shot":
        raise UserError("label_descriptions are for --tuning.method zero-shot")
    if few and config.head not in (None, "sentence"):
        raise UserError(f"the method {config.tuning.method} makes a sentence head", remedy="leave --head out")
    if few and config.dev != ["train"]:
        raise UserError(f"the method {config.tuning.method} has no checkpoints to choose", remedy="leave --dev out")


def checked_data(config: Config) -> TaskData:
    """The data of a run, read and checked like its settings: what can be known to go wrong goes wrong here.

    Raises:
        UserError: settings or data that do not fit.
    """
    from mlcl.finetuning.data import labelled_task, needs_data, read_data
    from mlcl.finetuning.mixing import check_mixable, check_pairs

    _check(config)
    if not config.data and (name := next(filter(needs_data, [config.task, *config.evaluate_tasks]), None)):
        raise UserError(f"--data is not given, and {name!r} is no folder here", remedy=f"give the folder with {name}/")
    task = labelled_task(config.task)
    further = [labelled_task(name) for name in config.evaluate_tasks]
    if config.tuning.method in FEW_SHOT and task.kind != "classification":
        raise UserError(
            f"the method {config.tuning.method} is for classification, {task.name} is a {task.kind} task",
            remedy="use --tuning.method full or frozen",
        )
    if config.shots is not None and task.kind not in ("classification", "pair"):
        raise UserError(f"shots are examples of a label, a {task.kind} task has none", remedy="use --max-examples")
    if config.training.class_weights and not task.labels:
        raise UserError(f"class_weights weigh labels, a {task.kind} task has none", remedy="leave it out")
    if config.mixed_sides:
        check_pairs(task)
    head_for(task.kind, config.head, config.tuning.method)
    with step(f"reading {escape(task.name)}"):
        data = read_data(
            task,
            Path(config.data),
            train=[] if config.tuning.method == "zero-shot" else config.train_language,
            evaluate=config.evaluate,
            further=further,
            dev=[] if config.tuning.method in FEW_SHOT else config.dev,
            most=config.max_test_examples,
        )
    if config.mixed_sides:
        check_mixable(data)
    if data.train:
        _check_draws(config, data)
    return data


def _check_draws(config: Config, data: TaskData) -> None:
    """Refuse what no seed, or not every seed, can be fitted on."""
    for seed in range(config.seed, config.seed + config.seeds):
        drawn = data.train_for(seed, config.shots, config.max_examples)  # refuses a k that is larger than a class
        if data.task.kind in ("classification", "pair", "regression"):
            there = {example.label for example in drawn if isinstance(example, Example)}
            missing = [label for label in data.task.labels if label not in there]
            if len(there) < 2:
                raise UserError(
                    f"the {len(drawn):,} training examples of seed {seed} have the one label {there.pop()!r}",
                    remedy="raise --max-examples",
                )
            if missing and config.tuning.method == "prototypes":
                raise UserError(
                    f"no training example of seed {seed} has the label {missing[0]!r}, so it has no mean",
                    remedy="use --shots, or another method",
                )
        if config.shots is None and config.max_examples is None:
            return  # the same for all


def _descriptions(config: Config, labels: Sequence[str]) -> dict[str, list[str]]:
    """Label -> its descriptions; empty where the method has no use for them. Raises UserError where they do not fit."""
    if config.tuning.method != "zero-shot":
        return {}
    if config.label_descriptions is None:
        return {label: [label] for label in labels}
    if not Path(config.label_descriptions).is_file():
        raise UserError("no such file", path=config.label_descriptions, remedy="check --label-descriptions")
    values, _ = read_settings(config.label_descriptions)
    found = {
        str(label): [str(text) for text in (texts if isinstance(texts, list) else [texts]) if text is not None]
        for label, texts in values.items()
    }
    check_descriptions(labels, found)
    return found


def _may_write(config: Config, out: Path, work: Path) -> None:
    """Refuse what lies in OUT and beside it, unless the settings say what to do with it."""
    if config.resume:
        if not (work / "settings.json").is_file():
            raise UserError("there is no run to resume", path=work, remedy="start it without --resume")
        _check_same(work, _comparable(config))
        return
    refuse_existing(out, config.overwrite)
    if work.exists() and not config.overwrite:
        raise UserError("an unfinished run lies here", path=work, remedy="pass --resume or --overwrite")


def _check_same(work: Path, now: dict[str, Any]) -> None:
    """Refuse to go on with a run that was started with other settings, or on other data."""
    before = read_json(work / "settings.json")
    now = {key: value for key, value in now.items() if key not in _DIGESTS or key in before}  # older runs lack some
    if different := sorted(key for key in now if before.get(key) != now[key]):
        names = ", ".join(_DIGESTS.get(key, key) for key in different)
        raise UserError(f"the run was started with another {names}", path=work, remedy="give the same")


def _digests(config: Config, data: TaskData, descriptions: dict[str, list[str]]) -> dict[str, str]:
    """What lies behind the names in the settings, to see that it is the same when a run is resumed."""
    from mlcl.stages._digest import digest

    return {
        "data_digest": digest([repr(part.examples) for part in (*data.train_parts, *data.dev, *data.tests)]),
        "model_digest": digest(identity(named_models([config.model])[0])),
        "descriptions_digest": digest(descriptions),
    }


def _comparable(config: Config) -> dict[str, Any]:
    """The settings that must not change when a run is resumed."""
    values = json.loads(json.dumps(asdict(config)))
    return {key: value for key, value in values.items() if key not in ("resume", "overwrite", "out", "data")}


def _name(config: Config) -> str:
    return named_models([config.model])[0].name


def _direction(config: Config) -> str:
    """How the model was fitted, for the rows of results: `full`, `frozen`, `contrastive, 8 shots`."""
    method: str = config.tuning.method
    if config.tuning.freeze_layers:
        method += f" above layer {config.tuning.freeze_layers}"
    if config.mixed_sides:
        method += f", {config.mixed_sides:g} mixed sides"
    return method if config.shots is None else f"{method}, {config.shots} shots"


def _train_name(config: Config, data: TaskData) -> str | None:
    if config.train_language == ["all"] and data.train_languages:
        return "all"
    return "+".join(dict.fromkeys(language.tag for language in data.train_languages)) or None


def _dev_elsewhere(data: TaskData) -> list[str]:
    """Languages that choose the checkpoint without being trained on."""
    trained = {language.tag for language in data.train_languages}
    return [tag for tag in dict.fromkeys(part.language.tag for part in data.dev) if tag not in trained]


def _transfer(config: Config, data: TaskData, done: Sequence[dict[str, Any]], about: dict[str, Any]) -> Transfer:
    """Everything that the report shows, from the seeds."""
    from mlcl.finetuning.scoring import majority_rows
    from mlcl.reports.finetune_report import Transfer

    notes = [data.task.cutting] if data.task.cutting else []
    if config.max_test_examples is not None:
        notes.append(f"Dev and test sets are samples of at most {config.max_test_examples:,} examples, not whole sets.")
    if data.dev:
        elsewhere = ", which is no zero-shot transfer" if _dev_elsewhere(data) else ""
        notes.append(f"The checkpoint was chosen on {', '.join(part.name for part in data.dev)}{elsewhere}.")
    if config.mixed_sides:
        notes.append(_mixing(config, done))
    return Transfer(
        task=data.task.name,
        metric=data.task.metric,
        model=about["model"],
        method=about["direction"],
        train_language=about["train_language"],
        trained=[language.tag for language in data.train_languages],
        rows=[row for one in done for row in one["rows"]],
        floor=[
            *({**asdict(row), **about, "direction": row.direction} for row in majority_rows(data)),
            *(row for one in done for row in one["floor"]),
        ],
        runs=[one["run"] for one in done],
        notes=notes,
        settings=_comparable(config),
    )


def _mixing(config: Config, done: Sequence[dict[str, Any]]) -> str:
    """A sentence about mixed sides: what was drawn, and what was kept for what reason."""
    counts = {reason: number for one in done[:1] for reason, number in one["mixed"].items()}
    found = "; ".join(f"{number:,} x {reason}" for reason, number in counts.items())
    return (
        f"For {100 * config.mixed_sides:g} % of the training examples a second text of another training language was "
        f"drawn (seed {config.seed}: {found or 'none'}). Dev and test sets are in one language each."
    )


def _finish(config: Config, out: Path, work: Path, transfer: Transfer) -> None:
    """Write OUT whole, then take the unfinished run away."""
    from mlcl.reports.finetune_report import html_page, markdown

    with atomic_directory(out, overwrite=config.overwrite or config.resume) as partial:
        for folder in sorted(work.glob("seed-*/model")):
            seed = folder.parent.name.removeprefix("seed-")
            shutil.copytree(folder, partial / ("model" if config.keep == "first" else f"model-{seed}"))
        write_json(partial / "results.json", [*transfer.rows, *transfer.floor])
        write_json(partial / "runs.json", transfer.runs)
        (partial / "results.md").write_text(markdown(transfer), encoding="utf-8")
        (partial / "report.html").write_text(html_page(transfer), encoding="utf-8")
    shutil.rmtree(work)
