"""The Ray engine: the same work on the cores of a cluster, or of this machine, by Ray Data.

In: parts of the sources and the `Job`. Out: unit files in the work folder, and a `Done` for each.

Two operators: one reads the parts of the sources, each a task that streams units, the other cleans units, one a task. A
file that cannot be cut without reading it (compressed, aligned with others) is so read once and cleaned by all, which
is what the streaming of Ray Data between operators is for; plain Ray tasks would need a queue of our own with its
back-pressure. What a task returns is a line of numbers: units go to the work folder, which all nodes must share. When a
worker or a node dies, Ray runs its tasks again, and units that were written in the meantime are not made twice.
"""

from __future__ import annotations

import logging
import os
import pickle
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from mlcl.core.errors import UserError
from mlcl.corpus.engine import WorkerLost
from mlcl.corpus.sources import Part
from mlcl.corpus.units import Done, Job, Unit, clean_unit, load_job, read_units, save_job

_READERS_PER_CORE = 4  # reading takes about a tenth of the time of cleaning


def run(parts: Sequence[Part], job: Job, origins: list[str], workers: int | None) -> Iterator[Done]:
    """Make the units of some parts, in any order.

    Raises:
        UserError: unreadable data, or a node that does not see the work folder.
        WorkerLost: Ray gave up.
    """
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # says nothing about GPUs, which are not used
    import ray
    import ray.data
    from ray.exceptions import RayError

    started = not ray.is_initialized()
    if started:
        _connect(workers)
    path = save_job(job, origins)
    context = ray.data.DataContext.get_current()
    before = context.enable_progress_bars
    context.enable_progress_bars = False
    logging.getLogger("ray.data").setLevel(logging.ERROR)  # the build shows its own progress
    try:
        data: Any = ray.data.from_items(
            [{"part": pickle.dumps(part)} for part in parts], override_num_blocks=len(parts)
        )
        common: dict[str, Any] = {"batch_size": 1, "fn_kwargs": {"path": path}}
        units = data.map_batches(_read, num_cpus=1 / _READERS_PER_CORE, **common)
        pool = ray.data.TaskPoolStrategy(size=workers)
        done = units.map_batches(_clean, num_cpus=1, compute=pool, **common)
        for row in done.iter_rows():
            if row["mistake"]:
                raise UserError(row["mistake"])
            yield Done(row["part"], row["texts"], row["bytes_read"])
    except RayError as error:
        raise WorkerLost(
            "Ray gave up: " + str(error).strip().rpartition("\n")[2],
            remedy="repeat the command to go on where it stopped",
        ) from error
    finally:
        context.enable_progress_bars = before
        if started:
            ray.shutdown()


def _connect(workers: int | None) -> None:
    """Join the cluster that RAY_ADDRESS names or that runs here, else start one with as many cores as workers."""
    import ray

    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR, "include_dashboard": False}
    try:
        ray.init(address=os.environ.get("RAY_ADDRESS", "auto"), **quiet)
    except ConnectionError as error:
        if "RAY_ADDRESS" in os.environ:
            raise UserError(
                f"no Ray cluster answers at RAY_ADDRESS={os.environ['RAY_ADDRESS']}", remedy="ray start --head"
            ) from error
        ray.init(address="local", num_cpus=workers, **quiet)


def _read(batch: dict[str, Any], path: Path) -> Iterator[dict[str, list[Any]]]:
    """A part to its units; a mistake of the user is one more row, because an exception would be tried again."""
    if not path.exists():
        yield _row(mistake=str(UserError("a node of the cluster does not see this folder", path=path.parent)))
        return
    job, _ = load_job(path)
    try:
        for unit in read_units(pickle.loads(batch["part"][0]), job):
            yield _row(unit=pickle.dumps(unit))
    except UserError as error:
        yield _row(mistake=str(error))


def _clean(batch: dict[str, Any], path: Path) -> dict[str, list[Any]]:
    """A unit to its file, unless an earlier try of this task has written it."""
    if batch["mistake"][0]:
        return _row(mistake=batch["mistake"][0])
    if not path.exists():
        return _row(mistake=str(UserError("a node of the cluster does not see this folder", path=path.parent)))
    job, origins = load_job(path)
    unit: Unit = pickle.loads(batch["unit"][0])
    done = clean_unit(unit, job, origins[unit.part])
    return _row(done)


def _row(done: Done | None = None, unit: bytes = b"", mistake: str = "") -> dict[str, list[Any]]:
    done = done or Done(0, 0, 0)
    values = {"part": done.part, "texts": done.texts, "bytes_read": done.bytes_read, "unit": unit, "mistake": mistake}
    return {name: [value] for name, value in values.items()}
