"""Where the units of a build are made: in this process, on all cores, or on a Ray cluster.

In: the parts of the sources and the `Job`. Out: one unit file for each unit, and a `Done` whenever one is there. All
engines run `units.read_units` and `units.clean_unit`, so the corpus is the same, bit for bit.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from mlcl.core.errors import UserError, require
from mlcl.core.files import read_json
from mlcl.corpus.sources import Part
from mlcl.corpus.units import Done, Job

EngineName = Literal["local", "ray"]


@dataclass(frozen=True)
class EngineSettings:
    """Where a corpus is built; it does not change the corpus."""

    engine: EngineName = "local"
    """`local`: processes on this machine; `ray`: a Ray cluster (RAY_ADDRESS), or one started on this machine."""
    workers: int | None = 1
    """Processes that clean text; all cores (of the cluster) when not given."""
    texts_per_unit: int = 65_536
    """About how many texts a worker takes at a time, and a killed build does at most twice."""


class WorkerLost(UserError):
    """Workers died; what the others made is on disk."""


def check(settings: EngineSettings) -> None:
    """Refuse settings that cannot work.

    Raises:
        UserError: such, or Ray is not installed.
    """
    if settings.workers is not None and settings.workers < 1:
        raise UserError(f"workers={settings.workers}", remedy="give a number from 1 upwards")
    if settings.texts_per_unit < 1:
        raise UserError(f"texts_per_unit={settings.texts_per_unit}", remedy="give a number from 1 upwards")
    if settings.engine == "ray":
        require("ray", "ray")


def make_units(parts: Sequence[Part], job: Job, settings: EngineSettings) -> Iterator[Done]:
    """Make every unit that is not on disk yet.

    Raises:
        UserError: unreadable data.
        WorkerLost: workers were killed, and a repetition could not help.
    """
    waiting = [part for part in parts if not is_complete(part, job)]
    if not waiting:
        return
    origins = [part.source.name for part in parts]
    if settings.engine == "ray":
        from mlcl.corpus.engine_ray import run
    else:
        from mlcl.corpus.engine_local import run
    yield from run(waiting, job, origins, settings.workers)


def is_complete(part: Part, job: Job) -> bool:
    """Whether a part was read to its end and all its units are on disk."""
    report = job.report(part.number)
    if not report.is_file():
        return False
    return all(job.unit(part.number, number).is_file() for number in range(read_json(report)["units"]))


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
