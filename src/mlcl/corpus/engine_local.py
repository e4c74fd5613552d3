"""The local engine: this process reads, and it or a pool of processes cleans.

A small build never waits for processes to start: the first units are cleaned here, and only a build that goes on gets
its pool. At most two units a worker wait in memory. Processes are spawned, so all systems behave alike.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from itertools import chain, islice
from multiprocessing.connection import wait
from pathlib import Path

from mlcl.corpus.engine import WorkerLost, cores
from mlcl.corpus.sources import Part
from mlcl.corpus.units import Done, Job, Unit, clean_unit, load_job, read_units, save_job

_ALONE = 2  # units that are cleaned before a pool is worth its start


def run(parts: Sequence[Part], job: Job, origins: list[str], workers: int | None) -> Iterator[Done]:
    """Make the units of some parts, in order where there is one worker.

    Raises:
        UserError: unreadable data.
        WorkerLost: a process of the pool was killed.
    """
    workers = cores() if workers is None else workers
    units = chain.from_iterable(read_units(part, job) for part in parts)
    for unit in islice(units, _ALONE if workers > 1 else None):
        yield clean_unit(unit, job, origins[unit.part])
    if (further := next(units, None)) is not None:
        yield from _pooled(chain([further], units), job, origins, workers)


def _pooled(units: Iterator[Unit], job: Job, origins: list[str], workers: int) -> Iterator[Done]:
    path = save_job(job, origins)
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, spawn, initializer=_start) as pool:
        pending: deque[Future[Done]] = deque()
        try:
            for unit in units:
                pending.append(pool.submit(_clean, path, unit))
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
