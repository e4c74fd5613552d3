"""The tasks that `mlcl evaluate` and `mlcl benchmark` run.

In: names and options as the user wrote them. Out: modules and options, checked; `check_data` leaves to each task the
languages that its data have.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

from mlcl.core import plugins
from mlcl.core.errors import UserError
from mlcl.core.flags import from_values
from mlcl.core.progress import warn
from mlcl.tasks import TaskOptions
from mlcl.tasks._languages import where_present


def chosen_tasks(
    names: Sequence[str], options: Mapping[str, Any], **common: Any
) -> dict[str, tuple[ModuleType, TaskOptions]]:
    """Task -> its module and options.

    Args:
        names: The tasks to run.
        options: Task -> mapping of option to value.
        common: Options of every task, such as `languages`.

    Raises:
        UserError: no task, an unknown one, or options that do not fit.
    """
    modules = {task: plugins.load("mlcl.tasks", task) for task in names}
    if not modules:
        raise UserError("no task is given", remedy=f"known: {', '.join(plugins.names('mlcl.tasks'))}")
    # A configuration of many tasks serves a run of some; its options are checked all the same
    unused = {task: plugins.load("mlcl.tasks", task) for task in sorted(set(options) - set(modules))}
    tasks = {}
    for task, module in {**modules, **unused}.items():
        values = options.get(task) or {}
        if not isinstance(values, dict):
            raise UserError(f"options.{task} must be a mapping of option to value")
        tasks[task] = (module, from_values(module.Options, {**common, **values}, f"options.{task}"))
    if unused:
        warn(f"options of {', '.join(unused)} have no effect, for these tasks are not run")
    return {task: tasks[task] for task in modules}


def check_data(
    tasks: Mapping[str, tuple[ModuleType, TaskOptions]], root: Path, languages: Sequence[str] | None
) -> dict[str, tuple[ModuleType, TaskOptions]]:
    """Read the data of all tasks once, and leave to each task those of the common languages that its data have.

    Args:
        tasks: As of `chosen_tasks`.
        root: Folder of the data.
        languages: The languages that all tasks share; a task whose options name others is held to all of them.

    Returns:
        The tasks that can run.

    Raises:
        UserError: data are missing or malformed, or no task has one of the languages.
    """
    shared = [name for name, (_, options) in tasks.items() if options.languages == languages]
    for name, (module, options) in tasks.items():
        if name not in shared:
            module.load(root, options)

    def load(name: str, wanted: list[str] | None) -> TaskOptions:
        module, options = tasks[name]
        fitted = replace(options, languages=wanted)
        module.load(root, fitted)
        return fitted

    fitted = {name: options for name, (_, options) in where_present(load, shared, languages).items()}
    if left_out := [name for name in shared if name not in fitted]:
        warn(f"{', '.join(left_out)}: left out, their data have none of {', '.join(languages or [])}")
    return {
        name: (module, fitted.get(name, options))
        for name, (module, options) in tasks.items()
        if name in fitted or name not in shared
    }
