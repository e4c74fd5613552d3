"""Fine-tuning inside a benchmark. In: a labelled task, settings and a model. Out: the record of `mlcl finetune`.

A fit that was stopped goes on from its last checkpoint; of one that is finished the rows are kept, not the model.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from mlcl.core import plugins
from mlcl.core.errors import UserError
from mlcl.core.files import read_json, write_json
from mlcl.core.flags import from_values
from mlcl.stages import finetune
from mlcl.stages._digest import digest
from mlcl.stages._models import Model
from mlcl.tasks._labelled import LabelledTask
from mlcl.tasks._transfer import TransferOptions, load, training_languages


@dataclass(frozen=True)
class Fit:
    """A fit that every model will go through.

    Attributes:
        task: The labelled task.
        settings: Settings of `mlcl finetune`, but for `model` and `out`.
        data: Digest of what it reads.
    """

    task: LabelledTask
    settings: finetune.Config
    data: str


def fits(names: Sequence[str], options: Mapping[str, Any], root: Path) -> list[Fit]:
    """The fits that the user asked for, with their data read and checked.

    Raises:
        UserError: an unknown task or one without labels, settings that do not fit, or data that is not there.
    """
    if unused := sorted(set(options) - set(names)):
        raise UserError(f"finetune_options of {', '.join(unused)}", remedy="name it in --finetune or leave it out")
    found = []
    for name in names:
        task = getattr(plugins.load("mlcl.tasks", name), "TASK", None)
        if task is None:
            raise UserError(f"{name} has no labels to fine-tune on", remedy="name a labelled task, such as xnli")
        place = f"finetune_options.{name}"
        given = {"model": "", "out": "", "data": str(root), "task": name, **(options.get(name) or {})}
        settings = from_values(finetune.Config, given, place)
        if "train_language" not in given:
            chosen = training_languages(task, root, task.languages(root), None)
            settings = replace(settings, train_language=[language.code for language in chosen])
        wanted = None if settings.train_language == ["all"] else settings.train_language
        data = load(task, root, TransferOptions(train_languages=wanted))
        found.append(Fit(task, settings, digest(data.train, data.dev, data.test)))
    return found


def tuned_record(model: Model, fit: Fit, identity: str, work: Path) -> dict[str, Any]:
    """The record of a fit: that of an earlier run where nothing has changed, else a new one.

    Args:
        model: The model.
        fit: What to fit.
        identity: What the model and the code are.
        work: Folder of what is done.
    """
    key = f"{fit.task.name}-tuned-{digest(identity, fit.settings, fit.data)}"
    file, out = work / "results" / f"{key}.json", work / "finetune" / key
    if not file.exists():
        started = time.monotonic()
        unfinished = out.with_name(out.name + ".unfinished").exists()
        finetune.run(
            replace(fit.settings, model=model.place, out=str(out), resume=unfinished, overwrite=not unfinished)
        )
        rows = read_json(out / "results.json")
        fitted = [row for row in rows if not row["metric"].startswith("majority_")]
        metrics = {name: plugins.load("mlcl.tasks", name).TASK.metric for name in {row["task"] for row in fitted}}
        record = {
            "task": f"{fit.task.name} (fine-tuned)",
            "headlines": {row["task"]: [metrics[row["task"]], row["direction"]] for row in fitted},
            "settings": asdict(fit.settings),
            "texts": 0,
            "encode_seconds": 0.0,
            "seconds": time.monotonic() - started,
            "rows": rows,
        }
        write_json(file, record)
        shutil.rmtree(out)
    return read_json(file)
