"""A corpus far larger than memory: how fast it builds, how much memory the processes hold, how much disk it takes.

    python benchmarks/corpus_memory.py --data ROOT --out FOLDER --gigabytes 10 [--workers N]

The texts are those of `mono` and of the English and German `multi30k`, a fifth of the bytes translations, repeated
until there are enough. Each copy but the first has its number behind nine lines of ten; so a tenth are duplicates, and
deduplication has as many different keys as a corpus of that size would have. Texts and corpus lie in FOLDER at the end,
with what is printed as results.json:

    seconds        of the wall clock and of all processes' CPUs, in each pass
    MB/s           of source text for each second of CPU, in each pass; a busy machine changes it least
    peak memory    resident, of this process, and of the largest worker
    disk           source text, the most that work folder and corpus held together, and the corpus
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import threading
import time
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import psutil

sys.path.insert(0, str(Path(__file__).resolve().parent))
from harness import machine

from mlcl.core.files import read_lines
from mlcl.corpus import build as building
from mlcl.corpus.engine import EngineSettings, cores
from mlcl.corpus.sources import Source

_PASSES = {"first_pass": "read and clean", "select": "deduplicate and group", "write_shards": "write"}


def write_texts(root: Path, folder: Path, size: int) -> list[Source]:
    """Write about `size` bytes of text, and say where they are."""
    pairs = [root / "multi30k/data/task1/raw" / f"train.{code}.gz" for code in ("en", "de")]
    raw = sorted((root / "mono").glob("mono.*.txt.gz"))
    _repeat(pairs, [folder / "train.en", folder / "train.de"], size // 5)
    _repeat(raw, [folder / path.name.removesuffix(".gz") for path in raw], size - size // 5)
    return [
        Source("moses", "train", "multi30k", "non-commercial research"),
        Source("text", ".", "common-voice", "CC0 1.0", options={"pattern": "mono.{language}.txt"}),
    ]


def _repeat(sources: list[Path], copies: list[Path], size: int) -> None:
    texts = [[line for _, line in read_lines(source) if line is not None] for source in sources]
    files = [copy.open("w", encoding="utf-8") for copy in copies]
    for number in count():
        for lines, file in zip(texts, files, strict=True):
            file.writelines(
                f"{line}\n" if not number or place % 10 == 0 else f"{line} {number}\n"
                for place, line in enumerate(lines)
            )
        if sum(file.tell() for file in files) >= size:
            break
    for file in files:
        file.close()


def timed(function: Callable[..., Any], name: str, seconds: dict[str, dict[str, float]]) -> Callable[..., Any]:
    """The function, with its seconds of wall clock and CPU put down under a name."""

    def run(*arguments: Any) -> Any:
        start, cpu = time.perf_counter(), cpu_seconds()
        result = function(*arguments)
        seconds[name] = {"wall": time.perf_counter() - start, "cpu": cpu_seconds() - cpu}
        return result

    return run


def cpu_seconds() -> float:
    """CPU time of this process and of its children that have ended."""
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def memory_of(process: psutil.Process) -> int:
    """Resident bytes of a process, 0 where it has ended."""
    try:
        return int(process.memory_info().rss)
    except psutil.Error:
        return 0


def bytes_of(*folders: Path) -> int:
    """Size of the files in folders; files may vanish meanwhile."""
    total = 0
    for folder in folders:
        for path in folder.rglob("*"):
            try:
                total += path.stat().st_size if path.is_file() else 0
            except OSError:
                continue
    return total


def main() -> None:
    """Write the texts, build, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--gigabytes", type=float, default=10)
    parser.add_argument("--workers", type=int, default=cores())
    options = parser.parse_args()
    texts, corpus = options.out / "texts", options.out / "corpus"
    texts.mkdir(parents=True)
    sources = write_texts(options.data, texts, int(options.gigabytes * 1e9))
    megabytes = bytes_of(texts) / 1e6

    seconds: dict[str, dict[str, float]] = {}
    for function, name in _PASSES.items():
        setattr(building, function, timed(getattr(building, function), name, seconds))
    most, over = {"disk": 0, "worker": 0}, threading.Event()

    def watch() -> None:
        while not over.wait(1):
            most["disk"] = max(most["disk"], bytes_of(corpus, corpus.with_name(".corpus.build")))
            workers = psutil.Process().children(recursive=True)
            most["worker"] = max([most["worker"], *map(memory_of, workers)])

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    made = building.build(
        building.BuildSettings(sources), texts, corpus, engine_settings=EngineSettings(workers=options.workers)
    )
    over.set()
    watcher.join()
    # The maximum that the system keeps of a child begins with what its parent had when it was made: so it is watched
    peaks = [resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3, most["worker"] / 1e6]
    found = {
        "machine": machine(),
        "workers": options.workers,
        "texts": made.manifest["texts"],
        "megabytes": round(megabytes),
        "seconds": seconds,
        "megabytes_per_cpu_second": {name: round(megabytes / value["cpu"], 2) for name, value in seconds.items()},
        "peak_megabytes": {"reader": round(peaks[0]), "largest worker": round(peaks[1])},
        "disk_megabytes": {
            "texts": round(megabytes),
            "most": round(most["disk"] / 1e6),
            "corpus": bytes_of(corpus) // 10**6,
        },
    }
    (options.out / "results.json").write_text(json.dumps(found, indent=1) + "\n")
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
