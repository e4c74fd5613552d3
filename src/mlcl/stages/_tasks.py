"""The tasks that `mlcl evaluate` and `mlcl benchmark` run.

In: names and options as the user wrote them. Out: modules and options, checked.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import ModuleType
from typing import Any

from mlcl.core import plugins
from mlcl.core.errors import UserError
from mlcl.core.flags import from_values
from mlcl.tasks import TaskOptions


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
    if unused := sorted(set(options) - set(modules)):
        raise UserError(f"options of {', '.join(unused)}, which is not run", remedy="add it to tasks or leave it out")
    tasks = {}
    for task, module in modules.items():
        values = options.get(task) or {}
        if not isinstance(values, dict):
            raise UserError(f"options.{task} must be a mapping of option to value")
        tasks[task] = (module, from_values(module.Options, {**common, **values}, f"options.{task}"))
    return tasks
