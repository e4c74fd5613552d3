"""The second pass of a build: of the versions that stay, the rows of the corpus, a shard at a time.

In: the spool and what was selected of it. Out: shards, their entries for the manifest, and what was counted of them. A
shard holds the rows of its kind from one number to another. Where these come from is known before (`Selection.starts`),
so any process may write any shard, and a stopped build writes only those that are not there yet.
"""

from __future__ import annotations

import pickle
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from mlcl.core.files import atomic_file, read_json, write_json
from mlcl.core.progress import console, rated, track
from mlcl.corpus import dedup, engine_local
from mlcl.corpus.counts import Counts
from mlcl.corpus.fates import STAYS
from mlcl.corpus.selection import Selection
from mlcl.corpus.shards import SCHEMAS, Shard, sha256, shard_name
from mlcl.corpus.spool import Spool
from mlcl.corpus.store import as_table

_COLUMNS = ("lang", "text", "document", "origin", "negatives", "record")
_PLACE = {"pairs": 1, "mono": 2}  # column of `Selection.starts`


@dataclass(frozen=True)
class Task:
    """The shard `number` of a kind: its rows from `first` to before `end`."""

    kind: str
    number: int
    first: int
    end: int


@dataclass(frozen=True)
class Plan:
    """What a worker has to know, beside the task."""

    spool: Spool
    selection: Selection

    @property
    def corpus(self) -> Path:
        """The folder that becomes the corpus."""
        return self.selection.folder / "corpus"

    def shard(self, task: Task) -> Path:
        """The file of a shard."""
        return self.corpus / shard_name(task.kind, task.number)

    def facts(self, task: Task) -> Path:
        """The file that says what a finished shard is; it is written after the shard."""
        return self.selection.folder / "shards" / f"{task.kind}-{task.number:05d}.json"


def write_shards(
    spool: Spool, selection: Selection, rows_per_shard: int, workers: int | None, show: bool
) -> tuple[Path, list[dict[str, Any]], Counts]:
    """Write the shards that an earlier build has not written.

    Args:
        spool: The texts.
        selection: Which of them stay.
        rows_per_shard: Most rows of a shard.
        workers: Processes of this machine; all cores when None.
        show: Show a progress bar.

    Returns:
        The folder, the entry of each shard for the manifest, and what was counted of the rows.

    Raises:
        WorkerLost: a process was killed.
    """
    plan = Plan(spool, selection)
    tasks = _tasks(selection, rows_per_shard)
    comparing = track(tasks, "comparing shards with their sha256", show=show and plan.corpus.is_dir())
    finished = {task for task in comparing if _is_finished(task, plan)}
    _sweep(plan.corpus, {plan.shard(task) for task in finished})
    if finished:
        console.print(f"going on with {len(finished)} of {len(tasks)} shards of an earlier build")
    waiting = [task for task in tasks if task not in finished]
    with rated("writing", sum(task.end - task.first for task in waiting), "rows", show) as progress:
        done = 0
        for rows in engine_local.shared(
            waiting, lambda task: write_shard(task, plan), _write, lambda: _save(plan), workers
        ):
            done += rows
            progress(done, rows)
    entries, counts = [], Counts()
    for facts in (read_json(plan.facts(task)) for task in tasks):
        entries.append(facts["entry"])
        counts.add_state(facts["counts"])
    return plan.corpus, entries, counts


def write_shard(task: Task, plan: Plan) -> int:
    """Write one shard, and what it is; returns the number of its rows."""
    counts = Counts()
    with atomic_file(plan.shard(task)) as partial:
        with Shard(partial, task.kind) as shard:
            for table in _rows(task, plan, task.first - 1, task.first) if task.kind == "pairs" else ():
                counts.follow(table)
            for table in _rows(task, plan, task.first, task.end):
                counts.add(task.kind, table)
                shard.write(table)
        entry = {"file": shard_name(task.kind, task.number), **shard.entry()}
    write_json(plan.facts(task), {"entry": entry, "counts": counts.state()})
    return shard.rows


def _tasks(selection: Selection, rows_per_shard: int) -> list[Task]:
    tasks = []
    for kind in SCHEMAS:
        rows = selection.starts[-1][_PLACE[kind]]
        firsts = range(0, rows, rows_per_shard)
        tasks += [Task(kind, number, first, min(first + rows_per_shard, rows)) for number, first in enumerate(firsts)]
    return tasks


def _is_finished(task: Task, plan: Plan) -> bool:
    if not plan.facts(task).is_file() or not plan.shard(task).is_file():
        return False
    return bool(read_json(plan.facts(task))["entry"]["sha256"] == sha256(plan.shard(task)))


def _sweep(folder: Path, wanted: set[Path]) -> None:
    """Delete what a killed process has left half-written."""
    for file in folder.rglob("*") if folder.is_dir() else ():
        if file.is_file() and file not in wanted:
            file.unlink()


# --- rows ------------------------------------------------------------------------------------------------------------


def _rows(task: Task, plan: Plan, first: int, end: int) -> Iterator[pa.Table]:
    """Rows `first` to `end` of the kind of a task; none below 0."""
    column = _PLACE[task.kind]
    starts = plan.selection.starts
    first = max(first, 0)
    unit = bisect_right(starts, first, key=lambda start: start[column]) - 1
    while first < end and starts[unit][column] < end:
        before, after = starts[unit][column], starts[unit + 1][column]
        if after > first:
            rows = as_table(task.kind, _rows_of_unit(task.kind, unit, plan))
            yield rows.slice(max(0, first - before), min(end, after) - max(first, before))
        unit += 1


def _rows_of_unit(kind: str, unit: int, plan: Plan) -> pa.Table:
    spool, selection = plan.spool, plan.selection
    kept = selection.fates()[spool.first_version[unit] : spool.first_version[unit + 1]] == STAYS
    table = spool.unit(unit, _COLUMNS).filter(pa.array(kept))
    records = table["record"].to_numpy()
    # What stays of a record with translations is its first version and at least one more.
    first = dedup.first_version(records)
    group = selection.record_groups()[selection.starts[unit][0] + dedup.numbered(records)].astype(np.int64)
    if kind == "mono":
        alone = np.bincount(first, minlength=len(first))[first] == 1
        return _mono(table, np.flatnonzero(alone), group)
    targets = np.flatnonzero(first != np.arange(len(first)))
    return _pairs(table, first[targets], targets, group)


def _pairs(
    table: pa.Table, sources: NDArray[np.int64], targets: NDArray[np.int64], group: NDArray[np.int64]
) -> pa.Table:
    source, target = table.take(pa.array(sources)), table.take(pa.array(targets))
    return pa.table(
        {
            "source_lang": source["lang"],
            "target_lang": target["lang"],
            "source": source["text"],
            "target": target["text"],
            "group": group[targets],
            "document": source["document"],
            "origin": source["origin"],
            "negatives": source["negatives"],
        }
    )


def _mono(table: pa.Table, rows: NDArray[np.int64], group: NDArray[np.int64]) -> pa.Table:
    return table.take(pa.array(rows)).append_column("group", pa.array(group[rows]))


# --- in other processes ----------------------------------------------------------------------------------------------


def _save(plan: Plan) -> Path:
    path = plan.selection.folder / "plan.pickle"
    with atomic_file(path) as partial:
        partial.write_bytes(pickle.dumps(plan))
    return path


@lru_cache(maxsize=1)
def _load(path: Path) -> Plan:
    plan: Plan = pickle.loads(path.read_bytes())
    return plan


def _write(path: Path, task: Task) -> int:
    return write_shard(task, _load(path))
