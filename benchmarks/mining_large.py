"""A million sentences on each side by `mlcl mine --index ivf`: minutes, memory, and what it finds.

    python benchmarks/mining_large.py --out FOLDER [--sentences 1000000] [--dimension 256] [--index ivf]

The vectors are those of `mining.py` (clusters, half of the targets are translations); the planted pairs are the gold
pairs, so that the command learns its threshold from half of them and measures precision, recall and F1 on the other.
FOLDER/results.json has the wall and CPU seconds of the command, its peak memory, and its last lines.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from harness import machine
from mining import vectors

from mlcl.core.files import write_json


def main() -> None:
    """Make the vectors, mine them, say what it took."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", required=True, type=Path, help="where vectors, pairs and results go")
    parser.add_argument("--sentences", type=int, default=1_000_000, help="of each side")
    parser.add_argument("--dimension", type=int, default=256, help="values of a vector")
    parser.add_argument("--index", default="ivf", help="exact or ivf")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    for side, rows in zip(("source", "target"), vectors(options.sentences, options.dimension), strict=True):
        np.save(options.out / f"{side}.npy", rows)
    gold = options.out / "gold.tsv"
    gold.write_text("".join(f"{line}\t{line}\n" for line in range(1, options.sentences // 2 + 1)), encoding="ascii")

    words = ["--source_vectors", str(options.out / "source.npy"), "--target_vectors", str(options.out / "target.npy")]
    words += ["--index", options.index, "--gold", str(gold), "--out", str(options.out / "pairs.tsv"), "--overwrite"]
    started = time.monotonic()
    done = subprocess.run([sys.executable, "-m", "mlcl", "mine", *words], check=True, stderr=subprocess.PIPE, text=True)
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    result = {
        "machine": machine(),
        "sentences": options.sentences,
        "dimension": options.dimension,
        "index": options.index,
        "wall seconds": time.monotonic() - started,
        "CPU seconds": used.ru_utime + used.ru_stime,
        "peak memory bytes": used.ru_maxrss * 1024,
        "said": done.stderr.rstrip("\n").split("\n")[-12:],
    }
    write_json(options.out / "results.json", result)
    for key, value in result.items():
        print(f"{key}: {value}" if key != "said" else "\n".join(value))  # type: ignore[arg-type]


if __name__ == "__main__":
    main()
