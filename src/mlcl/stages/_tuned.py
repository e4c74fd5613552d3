"""Fine-tuning inside a benchmark. In: a labelled task, settings and a model. Out: the record of `mlcl finetune`.

Two kinds of fit: those that the user asks for, and the probe of tagging tasks, a head over the frozen token states of
an encoder (whole texts have no vectors of words). A fit that was stopped goes on from its last checkpoint; of one that
is finished the rows are kept, not the model.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import Any

from mlcl.core import plugins
from mlcl.core.errors import UserError
from mlcl.core.files import read_json, write_json
from mlcl.core.flags import from_values
from mlcl.core.progress import warn
from mlcl.finetuning.loading import load_encoder
from mlcl.stages import finetune
from mlcl.stages._digest import digest
from mlcl.stages._models import Model
from mlcl.tasks._labelled import LabelledTask
from mlcl.tasks._transfer import training_languages


@dataclass(frozen=True)
class Fit:
    """A fit that every model will go through.

    Attributes:
        task: The labelled task.
        settings: Settings of `mlcl finetune`, but for `model` and `out`.
        data: Digest of what it reads.
        probe: Whether it is the probe of a tagging task, which is left out for a model without token states.
    """

    task: LabelledTask
    settings: finetune.Config
    data: str
    probe: bool = False


def fits(names: Sequence[str], options: Mapping[str, Any], root: Path, tagging: Sequence[str] = ()) -> list[Fit]:
    """The fits that the user asked for and the probes of tagging tasks, with their data read and checked.

    Args:
        names: Labelled tasks to fine-tune on.
        options: Task -> settings of `mlcl finetune`.
        root: Folder of the data.
        tagging: Tagging tasks to probe. One that has test sets alone (`FITTED_ON`) is tested by the fit of the task
            that it names, and left out where that is none of these.

    Raises:
        UserError: an unknown task or one without labels, settings that do not fit, or data that is not there.
    """
    unused = sorted(set(options) - set(names) - set(tagging))
    # A tagging task is probed without being named in --finetune, so its settings may stand in a configuration of many
    probed = [name for name in unused if getattr(plugins.load("mlcl.tasks", name), "NEEDS_FINETUNE", False)]
    if forgotten := [name for name in unused if name not in probed]:
        raise UserError(f"finetune_options of {', '.join(forgotten)}", remedy="name it in --finetune or leave it out")
    if probed:
        warn(f"finetune_options of {', '.join(probed)} have no effect, for these tasks are not run")
    found = [_fit(name, options.get(name) or {}, root) for name in names]
    for name in tagging:
        if fitted_on(name) is None:
            tested = [other for other in tagging if fitted_on(other) == name]
            probe = {"tuning": {"method": "frozen"}, "evaluate_tasks": tested}
            own = {} if name in names else options.get(name) or {}
            found.append(replace(_fit(name, {**probe, **own}, root), probe=True))
    return found


def fitted_on(name: str) -> str | None:
    """The task whose labels a task without training sets is fitted on; None where it has some."""
    return getattr(plugins.load("mlcl.tasks", name), "FITTED_ON", None)


def _fit(name: str, options: Mapping[str, Any], root: Path) -> Fit:
    task = getattr(plugins.load("mlcl.tasks", name), "TASK", None)
    if task is None:
        raise UserError(f"{name} has no labels to fine-tune on", remedy="name a labelled task, such as xnli")
    given = {"model": "", "out": "", "data": str(root), "task": name, **options}
    settings = from_values(finetune.Config, given, f"finetune_options.{name}")
    if "train_language" not in given:
        chosen = training_languages(task, root, task.languages(root), None)
        settings = replace(settings, train_language=[language.code for language in chosen])
    data = finetune.checked_data(settings)
    read = {part.name: part.examples for part in (*data.dev, *data.tests)}
    return Fit(task, settings, digest(data.train, read))


def tuned_record(model: Model, fit: Fit, identity: str, work: Path) -> dict[str, Any]:
    """The record of a fit: that of an earlier run where nothing has changed, else a new one.

    Args:
        model: The model.
        fit: What to fit.
        identity: What the model and the code are.
        work: Folder of what is done.

    Returns:
        The record; `{task, left_out, rows}` with the reason and without rows where the model has nothing to tune.

    Raises:
        UserError: the fit was asked for, and the model is no encoder that can be tuned.
    """
    title = f"{fit.task.name} ({fit.settings.tuning.method})"
    if model.is_baseline:
        return {"task": title, "left_out": "n-grams have nothing to tune", "rows": []}
    key = f"{fit.task.name}-tuned-{digest(identity, fit.settings, fit.data)}"
    file, out = work / "results" / f"{key}.json", work / "finetune" / key
    if not file.exists():
        reason = _no_encoder(model) if fit.probe else ""
        write_json(file, {"left_out": reason, "rows": []} if reason else _fitted(model, fit, out))
    return {"task": title, **read_json(file)}


def means_over_seeds(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Rows for tables and tests: where a task was fitted with several seeds, their mean, else the rows as they are.

    The ends of intervals are averaged as well: they say how a score varies with its examples, not with its seeds.
    """
    names = ("model", "task", "split", "language", "code", "direction", "metric", "train_language")
    together: dict[tuple[Any, ...], list[Mapping[str, Any]]] = {}
    for row in rows:
        together.setdefault(tuple(row[name] for name in names), []).append(row)
    found: list[dict[str, Any]] = []
    for same in together.values():
        if len({row["seed"] for row in same}) == 1:
            found += [dict(row) for row in same]
        else:
            numbers = {name: [row[name] for row in same] for name in ("value", "low", "high")}
            means = {name: None if None in values else fmean(values) for name, values in numbers.items()}
            found.append({**same[0], **means, "seed": None})
    return found


def _no_encoder(model: Model) -> str:
    """Why a model has no token states; empty where it has."""
    try:
        load_encoder(model.place)
    except UserError as error:
        return error.what
    return ""


def _fitted(model: Model, fit: Fit, out: Path) -> dict[str, Any]:
    started = time.monotonic()
    unfinished = (out.with_name(out.name + ".unfinished") / "settings.json").exists()
    settings = replace(fit.settings, model=model.place, out=str(out), resume=unfinished, overwrite=not unfinished)
    finetune.fit_and_test(settings)
    rows = read_json(out / "results.json")
    fitted = [row for row in rows if row["direction"] != "floor"]
    metrics = {name: plugins.load("mlcl.tasks", name).TASK.metric for name in {row["task"] for row in fitted}}
    record = {
        "headlines": {row["task"]: [metrics[row["task"]], row["direction"]] for row in fitted},
        "settings": asdict(fit.settings),
        "texts": 0,
        "encode_seconds": 0.0,
        "seconds": time.monotonic() - started,
        "rows": rows,
    }
    shutil.rmtree(out)
    return record
