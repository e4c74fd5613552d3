"""Peers side by side: every peer of a case in a process of its own, timed in turn, round after round.

In: cases of a comparison (`Case`). Out: one dictionary per case, as `results.json` holds it.

A comparison is a module of this folder with `TITLE`, `cases(quick)`, `job(peer, settings)` and `work(settings)`. `job`
runs inside the peer's process (see `worker.py`) and makes ready what is timed; `work` says what arithmetic any
implementation has to do, for the floor. Processes of their own, because malloc settings and peak memory belong to a
process; in turn, because a machine's speed drifts.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

HERE = Path(__file__).resolve().parent
_PACKAGES = ("torch", "transformers", "sentence-transformers", "openvino", "triton", "numpy")


@dataclass(frozen=True)
class Case:
    """One table: the same work done by several peers.

    Attributes:
        name: Short name, unique in its comparison.
        settings: Sizes and seeds; JSON.
        peers: All peers, ours first; the first is what the others are compared with.
        unit: What `Job.units` counts, for the rate: pairs, sentences, tokens, ...
        floor: Whether `work(settings)` describes a floor.
        timed: Whether there is anything to time; else the checks are all that is wanted.
    """

    name: str
    settings: dict[str, Any]
    peers: tuple[str, ...]
    unit: str = "steps"
    floor: bool = True
    timed: bool = True


@dataclass
class Job:
    """A peer that is ready to run.

    Attributes:
        run: One repetition. What it returns is its time in seconds, if it measures that itself.
        units: What one repetition gets done, counted in `Case.unit`.
        check: Values that can be compared between peers, or errors against float64; called once, before any `run`.
    """

    run: Callable[[], Any]
    units: float = 1.0
    check: Callable[[], dict[str, float]] = field(default=dict)


class Worker:
    """A peer in its own process; `ask` sends it one command and waits for the answer."""

    def __init__(self, comparison: str, peer: str, settings: dict[str, Any], log: Path, scratch: Path) -> None:
        log.parent.mkdir(parents=True, exist_ok=True)
        words = [sys.executable, str(HERE / "worker.py"), comparison, peer, json.dumps(settings)]
        environment = {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "true", **os.environ, "TMPDIR": str(scratch)}
        self.log = log
        with log.open("w") as sink:
            self._process = subprocess.Popen(
                words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=sink, text=True, env=environment
            )

    def ask(self, command: str) -> dict[str, Any]:
        """The answer to `ready`, `check`, `memory`, `run` or `rest`; `{"error": ...}` when the peer failed or died."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.write(command + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            pass
        line = self._process.stdout.readline()
        if line:
            return json.loads(line)
        code = self._process.wait()
        return {"error": f"the process ended with status {code}; see {self.log.name}"}

    def close(self) -> None:
        """End the process."""
        if self._process.stdin is not None:
            with suppress(BrokenPipeError):  # it is gone already, with a command that it never read
                self._process.stdin.close()
        try:
            self._process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()


def run_comparison(
    name: str, out: Path, *, quick: bool = False, rounds: int = 7, warm_ups: int = 2, log: Callable[[str], None] = print
) -> list[dict[str, Any]]:
    """All cases of one comparison."""
    module = import_module(name)
    results = []
    for case in module.cases(quick):
        log(f"== {name}: {case.name}")
        with TemporaryDirectory(prefix="mlcl-benchmark-") as scratch:  # models and corpora that the peers make
            folders = {"logs": out / "logs", "scratch": Path(scratch)}
            result = run_case(name, case, **folders, rounds=rounds, warm_ups=warm_ups, log=log)
        results.append({"comparison": name, "title": module.TITLE, **result})
    return results


def run_case(
    comparison: str,
    case: Case,
    *,
    logs: Path,
    scratch: Path,
    rounds: int,
    warm_ups: int,
    log: Callable[[str], None] = print,
) -> dict[str, Any]:
    """Start all peers of a case, warm each one up, then time them in turn; see the top of this module."""
    peers: dict[str, dict[str, Any]] = {}
    workers: dict[str, Worker] = {}
    try:
        for peer in case.peers:
            file = logs / f"{comparison}-{case.name}-{peer}.log".replace(" ", "_")
            workers[peer] = Worker(comparison, peer, case.settings, file, scratch)
            peers[peer] = _warm_up(workers[peer], warm_ups if case.timed else 0)
            if "error" in peers[peer]:
                log(f"   {peer}: {peers[peer]['error']}")
                workers.pop(peer).close()
        order = list(workers)
        for number in range(rounds if case.timed else 0):
            for peer in order[number % len(order) :] + order[: number % len(order)] if order else []:
                if "error" in peers[peer]:
                    continue
                workers[peer].ask("run")  # after its wait a process finds caches, and even its memory, gone
                answer = workers[peer].ask("run")
                workers[peer].ask("rest")  # else eight peers that keep freed memory take what one alone may have
                if "error" in answer:
                    log(f"   {peer}: {answer['error']}")
                    peers[peer]["error"] = answer["error"]
                    continue
                peers[peer]["seconds"].append(answer["seconds"])
            if order:
                times = {peer: peers[peer]["seconds"][-1] for peer in order if "error" not in peers[peer]}
                log("   " + "  ".join(f"{peer} {seconds:.3f} s" for peer, seconds in times.items()))
    finally:
        for worker in workers.values():
            worker.close()
    result = {"case": case.name, "settings": case.settings, "unit": case.unit, "rounds": rounds, "ours": case.peers[0]}
    floor = _floor(comparison, case, logs, scratch) if case.floor else None
    return {**result, "peers": peers, **compare(peers, case, floor), "floor": floor, "time": time.strftime("%F %T")}


def _warm_up(worker: Worker, warm_ups: int) -> dict[str, Any]:
    """Set-up, checks and warm-ups of one peer; the memory is that of the last warm-up."""
    peer: dict[str, Any] = {"seconds": []}
    measured = ["memory"] if warm_ups else []
    for command in ["ready", "check", *["run"] * (warm_ups - 1), *measured, "rest"]:
        answer = worker.ask(command)
        if "error" in answer:
            return {**peer, "error": answer["error"]}
        peer |= {key: value for key, value in answer.items() if key != "seconds"}
    return peer


def compare(peers: dict[str, dict[str, Any]], case: Case, floor: dict[str, Any] | None) -> dict[str, Any]:
    """Medians and quartiles into each peer, and how many times longer than ours each one takes."""
    ratios: dict[str, Any] = {}
    for peer in peers.values():
        times = sorted(peer["seconds"])
        if "error" in peer or not times:
            continue
        peer["median"], peer["low"], peer["high"] = median(times), times[len(times) // 4], times[-1 - len(times) // 4]
        peer["per_second"] = peer["units"] / peer["median"]
        if floor is not None and "seconds" in floor:
            peer["share_of_floor"] = floor["seconds"] / peer["median"]
    ours = peers[case.peers[0]]
    for name, peer in peers.items():
        if name != case.peers[0] and "median" in peer and "median" in ours:
            each = sorted(theirs / mine for theirs, mine in zip(peer["seconds"], ours["seconds"], strict=True))
            ratios[name] = {"median": peer["median"] / ours["median"], "low": each[0], "high": each[-1]}
    return {"ratios": ratios}


def _floor(comparison: str, case: Case, logs: Path, scratch: Path) -> dict[str, Any]:
    """The least time that the arithmetic and the traffic of a case can take on this machine; see floor.py."""
    work = import_module(comparison).work(case.settings)
    log = logs / f"{comparison}-{case.name}-floor.log".replace(" ", "_")
    worker = Worker("floor", "floor", work, log, scratch)
    try:
        answer = worker.ask("check")
    finally:
        worker.close()
    return {**work, **answer.get("check", answer)}


def machine() -> dict[str, Any]:
    """What the numbers were measured on."""
    cpu, flags = platform.processor(), set()
    if Path("/proc/cpuinfo").is_file():
        for line in Path("/proc/cpuinfo").read_text().split("\n"):
            key, _, value = line.partition(":")
            cpu = value.strip() if key.strip() == "model name" else cpu
            flags |= set(value.split()) if key.strip() == "flags" else set()
    affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    wanted = ("avx2", "avx512f", "avx512_bf16", "amx_bf16", "amx_int8")
    return {
        "cpu": cpu,
        "cores": affinity,
        "flags": [flag for flag in wanted if flag in flags],
        "threads": os.environ.get("OMP_NUM_THREADS", "default"),
        "load_before": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
        "system": platform.platform(terse=True),
        "python": platform.python_version(),
        "versions": {name: found for name in _PACKAGES if (found := version_of(name))},
    }


def version_of(package: str) -> str | None:
    """Version of an installed package, None where it is absent."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None
