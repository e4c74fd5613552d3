"""All CPU comparisons, one after the other.

    python benchmarks/cpu.py --out FOLDER [--only training_step,encode] [--quick] [--rounds 7]

Writes results.json, results.md, a plot per case, and the log of every peer. README.md of this folder has the method.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from harness import machine, run_comparison
from report import write_report

COMPARISONS = ("floor", "info_nce", "lm_head", "encode", "training_step", "grad_cache", "data_path", "mining")
ON_REQUEST = ("encode_settings",)  # run only when named


def main(arguments: list[str] | None = None) -> int:
    """Run what was asked for; status 1 if one of our own arms failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", required=True, type=Path, help="where the results go")
    parser.add_argument(
        "--only", default=",".join(COMPARISONS), help=f"comma-separated: {', '.join(COMPARISONS + ON_REQUEST)}"
    )
    parser.add_argument("--quick", action="store_true", help="toy sizes: shows that everything runs, measures nothing")
    parser.add_argument("--rounds", type=int, default=None, help="timed repetitions of each peer (7; 2 with --quick)")
    parser.add_argument("--warm-ups", type=int, default=None, help="repetitions before them (2; 1 with --quick)")
    options = parser.parse_args(arguments)
    names = options.only.split(",")
    if unknown := sorted(set(names) - {*COMPARISONS, *ON_REQUEST}):
        parser.error(f"unknown comparison {', '.join(unknown)}; known: {', '.join(COMPARISONS + ON_REQUEST)}")

    rounds = options.rounds or (2 if options.quick else 7)
    warm_ups = options.warm_ups or (1 if options.quick else 2)
    words = ["python benchmarks/cpu.py", f"--only {options.only}", f"--rounds {rounds}", f"--warm-ups {warm_ups}"]
    command = " ".join(words + (["--quick"] if options.quick else []))
    here, results = machine(), []
    for name in names:
        results += run_comparison(name, options.out, quick=options.quick, rounds=rounds, warm_ups=warm_ups)
        write_report(options.out, here, results, command)
    print(f"results in {options.out / 'results.md'}")
    return int(any("error" in result["peers"][result["ours"]] for result in results))


if __name__ == "__main__":
    sys.exit(main())
