"""The local engine: tasks of this process, such as cleaning a unit, shared with a pool of processes.

A small build never waits for processes to start: the first tasks are done here, and only a build that goes on gets its
pool. At most two tasks a worker wait in memory. Processes are spawned, so all systems behave alike.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from itertools import chain, islice
from multiprocessing.connection import wait
from pathlib import Path
from typing import TypeVar

from mlcl.corpus.engine import WorkerLost, cores
from mlcl.corpus.sources import Part
from mlcl.corpus.units import Done, Job, Unit, clean_unit, load_job, read_units, save_job

_ALONE = 2  # tasks that are done before a pool is worth its start

Task = TypeVar("Task")
Result = TypeVar("Result")


def run(parts: Sequence[Part], job: Job, origins: list[str], workers: int | None) -> Iterator[Done]:
    """Make the units of some parts, in order where there is one worker.

    Raises:
        UserError: unreadable data.
        WorkerLost: a process of the pool was killed.
    """
    units = chain.from_iterable(read_units(part, job) for part in parts)
    yield from shared(
        units, lambda unit: clean_unit(unit, job, origins[unit.part]), _clean, lambda: save_job(job, origins), workers
    )


def shared(
    tasks: Iterable[Task],
    here: Callable[[Task], Result],
    there: Callable[[Path, Task], Result],
    save: Callable[[], Path],
    workers: int | None,
) -> Iterator[Result]:
    """The results of tasks, in order; the first ones are done in this process, further ones by workers.

    Args:
        tasks: Read by this process, at most two a worker ahead.
        here: Does a task in this process.
        there: Does one in a worker, with the path that `save` gave; a function of a module.
        save: Writes what workers have to know; called where there are any.
        workers: Processes; all cores when None.

    Raises:
        WorkerLost: a process of the pool was killed.
    """
    workers = cores() if workers is None else workers
    tasks = iter(tasks)
    yield from map(here, islice(tasks, _ALONE if workers > 1 else None))
    if (further := next(tasks, None)) is not None:
        yield from _pooled(chain([further], tasks), partial(there, save()), workers)


def _pooled(tasks: Iterator[Task], do: Callable[[Task], Result], workers: int) -> Iterator[Result]:
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, spawn, initializer=_start) as pool:
        pending: deque[Future[Result]] = deque()
        try:
            for task in tasks:
                pending.append(pool.submit(do, task))
                while len(pending) >= 2 * workers or (pending and pending[0].done()):
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        except BrokenProcessPool as error:
            raise WorkerLost(
                "a worker process was killed, most likely because the memory ran out",
                remedy="repeat the command, it goes on where it stopped; fewer --workers need less memory",
            ) from error
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _start() -> None:
    """Ctrl-C is for the process that reads; when that one is killed, its workers end too."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    assert parent is not None
    threading.Thread(target=_end_with, args=(parent.sentinel,), daemon=True).start()


def _end_with(sentinel: int) -> None:
    wait([sentinel])
    os._exit(1)


def _clean(path: Path, unit: Unit) -> Done:
    job, origins = load_job(path)
    return clean_unit(unit, job, origins[unit.part])
