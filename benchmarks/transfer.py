"""Labels in a few languages, tests in many: every encoder, frozen and tuned, on the labelled tasks.

    python benchmarks/transfer.py --model NAME=FOLDER [NAME=FOLDER ...] --data ROOT --out OUT [--only ...]

Each cell is one `mlcl finetune` in a process of its own, so that its memory is its own; finished cells are skipped, and
a stopped one is resumed. `OUT/transfer.md` has one table per task: score in the languages of the labels, mean over the
other languages with its interval, the majority label's score there, minutes, CPU minutes, memory, weights that moved.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mlcl.core.environment import tune_environment

CASES = {
    "wikiann": ["en"],
    "afrisenti": ["ha"],
    "fakenews": ["en", "es"],
    "sib200": ["en"],
    "xnli": ["en"],
    "pawsx": ["en"],
}
"""Task -> languages of the labels."""
METHODS = {
    "frozen": ["frozen"],
    "gradual": ["gradual"],
    "upper half": ["full", "--tuning.freeze_layers", "2"],
    "lora": ["lora"],
    "full": ["full"],
}
HEADER = "| encoder | tuning | {own} | other languages ({count}) | majority label | M weights | min | CPU min | MiB |"


def main() -> int:
    """Run what is missing, then write the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", nargs="+", required=True, help="encoders, as NAME=FOLDER")
    parser.add_argument("--data", required=True, help="folder of the published data sets")
    parser.add_argument("--out", required=True, type=Path, help="where the runs and transfer.md go")
    parser.add_argument("--tasks", default=",".join(CASES), help="which tasks")
    parser.add_argument("--methods", default="frozen,full", help=f"which of: {', '.join(METHODS)}")
    parser.add_argument("--seeds", type=int, default=1, help="fits of each cell")
    parser.add_argument("words", nargs="*", help="further words for mlcl finetune, after --")
    options = parser.parse_args()
    tune_environment()

    options.out.mkdir(parents=True, exist_ok=True)
    failed = 0
    tables = []
    for task in options.tasks.split(","):
        lines = []
        for model in options.model:
            for method in options.methods.split(","):
                folder = options.out / f"{task}-{model.partition('=')[0]}-{method.replace(' ', '-')}"
                if not folder.exists():
                    print(f"== {folder.name}", flush=True)
                    failed += fit(model, task, method, folder, options) != 0
                if folder.exists():
                    lines.append((model.partition("=")[0], method, folder))
        if lines:
            tables.append(table(task, lines))
    (options.out / "transfer.md").write_text("\n".join(tables), encoding="utf-8")
    print(f"tables: {options.out / 'transfer.md'}")
    return min(failed, 1)


def fit(model: str, task: str, method: str, folder: Path, options: argparse.Namespace) -> int:
    """One cell; returns the exit status."""
    words = ["--model", model, "--task", task, "--data", options.data, "--out", str(folder)]
    words += ["--train_language", json.dumps(CASES[task]), "--evaluate", '["all"]', "--seeds", str(options.seeds)]
    words += ["--tuning.method", *METHODS[method], *options.words]
    if folder.with_name(folder.name + ".unfinished").exists():
        words.append("--resume")
    return subprocess.run([sys.executable, "-m", "mlcl", "finetune", *words], check=False).returncode


def table(task: str, cells: Sequence[tuple[str, str, Path]]) -> str:
    """Markdown of one task; cells are (encoder, tuning, folder)."""
    lines = []
    header = ""
    for name, method, folder in cells:
        rows = json.loads((folder / "results.json").read_text(encoding="utf-8"))
        runs = json.loads((folder / "runs.json").read_text(encoding="utf-8"))
        metric = next(row["metric"] for row in rows if row["language"] == "avg:transfer")
        transfer = [row for row in rows if (row["language"], row["metric"]) == ("avg:transfer", metric)]
        floor = {row["code"]: row["value"] for row in rows if row["metric"] == f"majority_{metric}" and row["code"]}
        trained = set(transfer[0]["train_language"].split("+"))
        scored = [row for row in rows if row["metric"] == metric and row["code"]]
        own = [row["value"] for row in scored if row["language"] in trained]
        others = {row["code"] for row in scored if row["language"] not in trained}
        header = header or HEADER.format(own="+".join(sorted(trained)), count=len(others))
        score = f"{mean([row['value'] for row in transfer]):.1f}"
        if all(row["low"] is not None for row in transfer):  # there is none of a single language
            score += f" [{mean([row['low'] for row in transfer]):.1f}, {mean([row['high'] for row in transfer]):.1f}]"
        lines.append(
            f"| {name} | {method} | {mean(own):.1f} | {score} | "
            f"{mean([floor[code] for code in others]):.1f} | {mean([run['trained'] for run in runs]) / 1e6:.2f} | "
            f"{mean([run['minutes'] for run in runs]):.1f} | {mean([run['cpu_minutes'] for run in runs]):.1f} | "
            f"{max(run['peak_memory_bytes'] for run in runs) / 2**20:,.0f} |"
        )
    rule = "|" + "---|" * (header.count("|") - 1)
    return f"## {task}\n\n{header}\n{rule}\n" + "\n".join(lines) + "\n"


def mean(values: Sequence[Any]) -> float:
    """Arithmetic mean."""
    return sum(values) / len(values)


if __name__ == "__main__":
    sys.exit(main())
