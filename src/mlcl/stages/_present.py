"""Which tasks a benchmark runs, and which it leaves out for what reason.

In: the folder of data and what the user named. Out: tasks whose data is there, read and checked; tagging tasks, which
are probed by a fit (`_tuned`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

from rich.markup import escape

from mlcl.core.errors import UserError
from mlcl.core.progress import console, step
from mlcl.stages._digest import digest
from mlcl.stages._fertility import Parallel, parallel_texts
from mlcl.stages._tasks import chosen_tasks
from mlcl.stages._tuned import fitted_on
from mlcl.tasks import TaskOptions
from mlcl.tasks import names as task_names


@dataclass(frozen=True)
class PresentTask:
    """A task that will run.

    Attributes:
        name: Its name.
        module: Its module.
        options: Its options.
        data: Digest of everything that it reads.
    """

    name: str
    module: ModuleType
    options: TaskOptions
    data: str


@dataclass
class Present:
    """What a benchmark runs.

    Attributes:
        tasks: Tasks that embed whole texts.
        tagging: Names of the tagging tasks.
        left_out: Task -> the reason why it does not run.
        parallel: The largest set of translations among the data, for fertility.
    """

    tasks: list[PresentTask] = field(default_factory=list)
    tagging: list[str] = field(default_factory=list)
    left_out: dict[str, str] = field(default_factory=dict)
    parallel: Parallel | None = None


def present_tasks(root: Path, names: Sequence[str] | None, options: Mapping[str, Any]) -> Present:
    """The tasks to run.

    Args:
        root: Folder of the data.
        names: Tasks that the user named; every one when None.
        options: Task -> its options; a task with options counts as named.

    Raises:
        UserError: no task, a named one whose data is not there, or data that is malformed.
    """
    found = Present()
    named = {*(names or ()), *options}  # by the user: these must be there
    with step("reading and checking the data"):
        for name, (module, task_options) in chosen_tasks(names or task_names(), options).items():
            try:
                if getattr(module, "NEEDS_FINETUNE", False):
                    _add_tagging(found, name, module, root, options)
                else:
                    _add(found, name, module, root, task_options)
            except UserError as error:
                if name in named or not _is_absent(error, root):
                    raise
                found.left_out[name] = f"no {Path(str(error.path)).name}/ under {root}"
    _pair_up(found, named)
    if not found.tasks and not found.tagging:
        raise UserError(
            "no task has its data here", path=root, remedy="give the folder that holds tatoeba/, ntrex/, ..."
        )
    for name, reason in found.left_out.items():
        console.print(f"left out: {name} [dim]({escape(reason)})[/dim]", soft_wrap=True)
    return found


def _add(found: Present, name: str, module: ModuleType, root: Path, options: TaskOptions) -> None:
    data = module.load(root, options)
    found.tasks.append(PresentTask(name, module, options, digest(data)))
    parallel = parallel_texts(name, data)
    if parallel and (found.parallel is None or len(parallel.texts) > len(found.parallel.texts)):
        found.parallel = parallel


def _add_tagging(found: Present, name: str, module: ModuleType, root: Path, options: Mapping[str, Any]) -> None:
    if name in options:
        raise UserError(f"options.{name}: {name} is probed by a fit", remedy=f"write finetune_options.{name} instead")
    module.TASK.languages(root)  # is it there at all?
    found.tagging.append(name)


def _pair_up(found: Present, named: set[str]) -> None:
    """Leave out the tagging tasks that have test sets alone and lack the task that they are fitted on."""
    for name in list(found.tagging):
        other = fitted_on(name)
        if other is not None and other not in found.tagging:
            if name in named:
                raise UserError(f"{name} has test sets alone", remedy=f"add {other} to --tasks, which it is fitted on")
            found.tagging.remove(name)
            found.left_out[name] = f"it has test sets alone, and {other}, which it is fitted on, does not run"


def _is_absent(error: UserError, root: Path) -> bool:
    """Whether an error says that a data set's own folder is missing; anything wrong inside it is a mistake."""
    return error.path is not None and Path(error.path).parent == root and not Path(error.path).exists()
