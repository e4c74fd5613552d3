"""Timing of jobs in turn on one device, inside one process; the GPU's counterpart of `harness.py`.

In: jobs by name. Out: results in the form of `harness.py`, so that one report serves both.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import torch
from harness import Case, Job, compare

Result = dict[str, Any]


class Bench:
    """Times jobs in turn on one device.

    Args:
        device: `cuda`, or `cpu` to try the code.
        quick: Toy sizes.
        rounds: Timed repetitions of each peer.
    """

    def __init__(self, device: str, quick: bool, rounds: int) -> None:
        self.device, self.quick, self.rounds = device, quick, rounds
        self.flop_per_second = self._matmul_rate()

    def _matmul_rate(self) -> float:
        """FLOP/s of the fastest square bf16 product of a few sizes."""
        best = 0.0
        for size in (256,) if self.quick else (4096, 8192, 16_384):
            a, b = (torch.randn(size, size, device=self.device, dtype=torch.bfloat16) for _ in range(2))
            best = max(best, 2 * size**3 / min(self.seconds(lambda a=a, b=b: a @ b) for _ in range(8)))
        return best

    def seconds(self, function: Callable[[], Any]) -> float:
        """Time of one call, the device's work included."""
        if self.device == "cpu":
            start = time.perf_counter()
            function()
            return time.perf_counter() - start
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        torch.cuda.synchronize()
        begin.record()
        function()
        end.record()
        end.synchronize()
        return begin.elapsed_time(end) / 1e3

    def autocast(self, half: bool = True) -> Any:
        """Autocast to bf16 on the device, or nothing."""
        return torch.autocast(self.device, dtype=torch.bfloat16) if half else nullcontext()

    def case(self, title: str, case: Case, jobs: dict[str, Callable[[], Job]], flop: float, rounds: int = 0) -> Result:
        """One table in the form of harness.py; a peer that runs out of memory becomes a line that says so."""
        peers: dict[str, Any] = {}
        ready: dict[str, Job] = {}
        rounds = rounds or self.rounds
        for name, make in jobs.items():
            peers[name] = {"seconds": []}
            try:
                ready[name] = make()
                peers[name] |= {"units": ready[name].units, "check": ready[name].check()}
                for _ in range(2):
                    peers[name]["extra_memory_bytes"] = self._memory(ready[name].run)
            except torch.OutOfMemoryError:
                peers[name]["error"] = "out of memory"
            if "error" in peers[name]:
                ready.pop(name, None)
            if self.device != "cpu":
                torch.cuda.empty_cache()
        order = list(ready)
        for number in range(rounds):
            for name in order[number % len(order) :] + order[: number % len(order)] if order else []:
                peers[name]["seconds"].append(self.seconds(ready[name].run))
        floor = {"seconds": flop / self.flop_per_second, "products_seconds": flop / self.flop_per_second, "flop": flop}
        result = {"comparison": "gpu", "title": title, "case": case.name, "settings": case.settings, "unit": case.unit}
        result |= {"rounds": rounds, "ours": case.peers[0], "peers": peers, **compare(peers, case, floor)}
        print(f"{title}, {case.name}: " + "  ".join(f"{n} {p.get('median', p.get('error'))}" for n, p in peers.items()))
        return result | {"floor": floor, "time": time.strftime("%F %T")}

    def _memory(self, function: Callable[[], Any]) -> int:
        if self.device == "cpu":
            function()
            return 0
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        function()
        torch.cuda.synchronize()
        return torch.cuda.max_memory_allocated() - before
