"""What each further term, margin and made positive changes: one at a time, for the same number of steps.

    python benchmarks/terms.py --corpus CORPUS --tokenizer DIR --data ROOT --out OUT [--steps 300] [--arms a,b,...]

Every arm is `mlcl pretrain` with the settings of --config and those of the arm (`ARMS`), in a process of its own;
finished arms are skipped, so that the command can be repeated. `negatives` needs an encoder that mines: it takes that
of the arm `base`. OUT/terms.md has one row for each arm: means over the languages of NTREX dev and `multiparallel`
(retrieval accuracy), STS-B dev (Spearman) and Tatoeba, which is a test set: to be reported, not to be chosen by; and
the minutes of training. OUT/evaluation has all languages.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections import defaultdict
from typing import Any

from mlcl.core.environment import tune_environment
from objectives import common_options, evaluate, pretrain

TASKS = "ntrex,multiparallel,stsb,tatoeba"
HEADLINES = dict.fromkeys(("ntrex", "multiparallel", "tatoeba"), ("accuracy", "mean"))
HEADLINES["stsb"] = ("spearman", "within")
ARMS: dict[str, dict[str, Any]] = {
    "base": {},
    "margin": {"training.margin": 0.2},
    "angular_margin": {"training.angular_margin": 0.2},
    "matryoshka": {"training.objectives.matryoshka.weight": 1.0},
    "koleo": {"training.objectives.koleo.weight": 0.1},
    "uniformity": {"training.objectives.uniformity.weight": 0.1},
    "context": {"training.objectives.context.weight": 0.05},
    "mask_documents": {"training.mask_documents": "true"},
    "alignment": {"training.objectives.alignment.weight": 1.0},
    "mse": {"training.objectives.mse.weight": 0.1},
    "cross_unmasking": {"training.objectives.cross_unmasking.weight": 0.1},
    "adversarial": {"training.objectives.adversarial.weight": 0.1},
    "fgm": {"training.fgm_radius": 0.05},
    "simcse": {"augmentation.simcse": 0.25, "model.hidden_dropout": 0.1},
    "code_switch": {"augmentation.code_switch": 0.25},
    "code_switch_pairs": {"augmentation.code_switch_pairs": 0.25},
    "negatives": {},
}


def main() -> None:
    """Run the arms one after the other, then measure all of them together."""
    parser = common_options(__doc__)
    parser.add_argument("--steps", type=int, default=300, help="optimiser steps of an arm")
    parser.add_argument("--arms", default=",".join(ARMS), help="which arms")
    parser.add_argument("--seed", type=int, default=1, help="seed of all arms")
    options = parser.parse_args()
    arms = options.arms.split(",")
    if unknown := set(arms) - set(ARMS):
        parser.error(f"unknown arms {', '.join(sorted(unknown))}; known: {', '.join(ARMS)}")
    if "negatives" in arms and "base" not in arms and not (options.out / "base/model").exists():
        parser.error("the arm negatives mines with the model of the arm base: run that first")
    tune_environment()  # for all arms alike

    for arm in arms:
        if not (options.out / arm / "model").exists():
            print(f"== {arm}", flush=True)
            run_arm(arm, options)
    models = [options.out / arm / "model" for arm in arms]
    evaluate(models, options, TASKS)
    table = markdown(arms, json.loads((options.out / "evaluation/results.json").read_text()), options)
    (options.out / "terms.md").write_text(table)
    print(table, flush=True)
    print(options.out / "terms.md")


def run_arm(arm: str, options: argparse.Namespace) -> None:
    """Train one arm."""
    if arm == "negatives":
        mined = options.out / "corpus-with-negatives"
        if not mined.exists():
            words = ["corpus", "negatives", "--corpus", options.corpus, "--model", str(options.out / "base/model")]
            subprocess.run([sys.executable, "-m", "mlcl", *words, "--out", str(mined)], check=True)
        options = argparse.Namespace(**{**vars(options), "corpus": str(mined)})
    length = {"training.max_steps": options.steps, "training.max_minutes": None}
    pretrain(length | ARMS[arm], options.seed, options.out / arm, options)


def markdown(arms: list[str], rows: list[dict[str, Any]], options: argparse.Namespace) -> str:
    """One row for each arm, one column for each task and split: the mean over the languages."""
    found: dict[tuple[str, str, str], list[float]] = defaultdict(list)
    for row in rows:
        if (row["metric"], row["direction"]) == HEADLINES.get(row["task"]):
            found[row["model"], row["task"], row["split"]].append(row["value"])
    columns = list(dict.fromkeys((task, split) for _, task, split in found))
    header = ["arm", *(f"{task} {split}" for task, split in columns), "minutes"]
    lines = [f"{options.steps} steps, seed {options.seed}", "", f"| {' | '.join(header)} |", "|---" * len(header) + "|"]
    for arm in arms:
        values = [found[(arm, *column)] for column in columns]
        cells = [f"{sum(value) / len(value):.1f}" if value else "" for value in values]
        info = json.loads((options.out / arm / "model/mlcl.json").read_text())
        lines.append(f"| {' | '.join([arm, *cells, str(info['minutes'])])} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
