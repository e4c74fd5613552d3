"""The process of one peer: makes its job ready, then answers commands on standard input with one JSON line each.

`ready` -> units; `check` -> values; `run` -> seconds; `memory` -> seconds and the extra memory of that repetition;
`rest` -> nothing: the memory that malloc has kept goes back, so that the next peer has it.
Whatever a library prints goes to standard error, which is the peer's log.
"""

from __future__ import annotations

import ctypes
import json
import os
import sys
import threading
import time
import traceback
from importlib import import_module
from pathlib import Path
from typing import Any

_STATUS, _CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def main() -> None:
    """Serve until standard input is closed."""
    comparison, peer, settings = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    job: Any = None
    for line in sys.stdin:
        try:
            if job is None:
                job = import_module(comparison).job(peer, settings)
            answer = _answer(job, line.strip())
        except Exception as error:  # whatever a peer does, the others go on: it becomes a line of the table
            traceback.print_exc()
            answer = {"error": f"{type(error).__name__}: {str(error).partition(chr(10))[0][:300]}"}
        print(json.dumps(answer), file=answers)
    answers.close()
    os._exit(0)  # a trainer may still wait in the middle of its run


def _answer(job: Any, command: str) -> dict[str, Any]:
    if command == "ready":
        return {"units": job.units}
    if command == "check":
        return {"check": job.check()}
    if command == "memory":
        with ExtraMemory() as memory:
            seconds = _timed(job)
        return {"seconds": seconds, "extra_memory_bytes": memory.bytes}
    if command == "rest":
        _give_back()
        return {}
    return {"seconds": _timed(job)}


def _give_back() -> None:
    if sys.platform.startswith("linux") and hasattr(libc := ctypes.CDLL(None), "malloc_trim"):
        libc.malloc_trim(0)


def _timed(job: Any) -> float:
    start = time.perf_counter()
    own = job.run()
    elapsed = time.perf_counter() - start
    return own if isinstance(own, float) else elapsed


class ExtraMemory:
    """Peak resident memory inside the block above what was resident before it, in bytes.

    Freed memory that malloc has kept is given back first, else the block would seem to need none of it. Linux counts
    the peak itself; elsewhere a thread samples it.
    """

    bytes: int = 0

    def __enter__(self) -> ExtraMemory:
        _give_back()
        self._before = _resident("VmRSS")
        self._peak, self._over = self._before, threading.Event()
        try:
            _CLEAR.write_text("5")  # sets VmHWM to the present size
            self._sampler = None
        except OSError:
            self._sampler = threading.Thread(target=self._sample, daemon=True)
            self._sampler.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._sampler is None:
            self._peak = _resident("VmHWM")
        else:
            self._over.set()
            self._sampler.join()
        self.bytes = max(0, self._peak - self._before)

    def _sample(self) -> None:
        while not self._over.wait(0.002):
            self._peak = max(self._peak, _resident("VmRSS"))


def _resident(name: str) -> int:
    """A size from /proc/self/status in bytes; where there is none, the peak of the whole process."""
    if _STATUS.is_file():
        for line in _STATUS.read_text().split("\n"):
            if line.startswith(name + ":"):
                return int(line.split()[1]) * 1024
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


if __name__ == "__main__":
    main()
