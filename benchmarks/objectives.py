"""What each part of the objective brings, beside sentence-transformers on the same corpus, tokenizer and time.

    python benchmarks/objectives.py --corpus CORPUS --data ROOT --out OUT [--minutes 8] [--arms a,b,...] [--seeds 1]

Arms: (a) in-batch InfoNCE, (b) + momentum queue, (c) + MLM/TLM, (d) all three, (f) MLM/TLM alone; (e)
sentence-transformers' trainer with its cached ranking loss at the best settings that we found for it (bf16, no dropout,
plain attention, freed memory kept, our clock schedule); (d-pairs) is (d) stopped after as many pairs as (e) saw, to
compare at equal pairs; (e-init) is (e) started from the sentence-id embeddings that our arms start from. Every arm is
one process; finished arms are skipped, so that the command can be repeated. OUT/evaluation holds NTREX dev, PUD,
SIB-200 and Tatoeba for every arm.
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

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
QUEUE = {"queue_size": 8192, "momentum": 0.99}
LM = {"lm_weight": 0.1, "lm_share": 0.125, "tlm_share": 0.5, "mlm_probability": 0.15}
NEITHER = {"queue_size": 0, "lm_weight": 0.0}
OURS = {
    "a": NEITHER,
    "b": NEITHER | QUEUE,
    "c": NEITHER | LM,
    "d": QUEUE | LM,
    "f": NEITHER | LM | {"info_nce_weight": 0.0},
}


def main() -> None:
    """Run the arms one after the other, then measure all of them together."""
    parser = common_options(__doc__)
    parser.add_argument("--minutes", type=float, default=8.0, help="training time of an arm")
    parser.add_argument("--arms", default="a,b,c,d,e,e-init,d-pairs,f", help="which arms")
    parser.add_argument("--seeds", type=int, default=1, help="seeds 1..N for (d) and (e); the other arms have seed 1")
    options = parser.parse_args()
    tune_environment()  # for all arms alike

    models = []
    for arm in options.arms.split(","):
        for seed in range(1, options.seeds + 1 if arm in ("d", "e") else 2):
            name = f"{arm}-{seed}"
            folder = options.out / name
            if not (folder / "model").exists():
                print(f"== {name}", flush=True)
                run_arm(arm, seed, folder, options)
            models.append(folder / "model")
    evaluate(models, options)


def common_options(description: str | None) -> argparse.ArgumentParser:
    """The options of every study that trains arms on one corpus."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpus", required=True, help="corpus folder")
    parser.add_argument("--data", required=True, help="folder of the evaluation data")
    parser.add_argument("--out", required=True, type=Path, help="where the runs go")
    parser.add_argument("--config", default=str(ROOT / "configs/reference-cpu.yaml"), help="what all arms share")
    parser.add_argument("--tokenizer", required=True, help="folder of the tokenizer that all arms share")
    return parser


def run_arm(arm: str, seed: int, folder: Path, options: argparse.Namespace) -> None:
    """Train one arm in a process of its own."""
    if arm in ("e", "e-init"):
        words = [str(HERE / "peer_sentence_transformers.py"), "--minutes", str(options.minutes), "--seed", str(seed)]
        words += ["--sentence-id", "true"] if arm == "e-init" else []
        for name in ("corpus", "tokenizer", "config"):
            words += [f"--{name}", str(getattr(options, name))]
        subprocess.run([sys.executable, *words, "--out", str(folder)], check=True)
    else:
        settings = dict(OURS[arm.partition("-")[0]])
        if arm == "d-pairs":
            report = json.loads((options.out / "e-1" / "peer.json").read_text())
            settings |= {"max_steps": report["steps"], "max_minutes": None}
        else:
            settings |= {"max_minutes": options.minutes}
        pretrain({f"training.{key}": value for key, value in settings.items()}, seed, folder, options)


def pretrain(settings: dict[str, Any], seed: int, folder: Path, options: argparse.Namespace) -> None:
    """`mlcl pretrain` with what all arms share and some settings of its own, by their dotted names."""
    words = ["-m", "mlcl", "pretrain", "--config", options.config, "--corpus", options.corpus]
    words += ["--tokenizer.path", options.tokenizer, "--training.seed", str(seed), "--overwrite"]
    for key, value in settings.items():
        words += [f"--{key}", "null" if value is None else str(value)]
    subprocess.run([sys.executable, *words, "--out", str(folder)], check=True)


def evaluate(
    models: list[Path],
    options: argparse.Namespace,
    tasks: str = "ntrex,multiparallel,tatoeba",
    words: Sequence[str] = (),
) -> None:
    """All arms by the same code, in one table; `words` are further ones for `mlcl evaluate`."""
    line = ["-m", "mlcl", "evaluate", "--model", *map(str, models), "--data", options.data]
    line += ["--tasks", tasks, "--out", str(options.out / "evaluation"), "--overwrite"]
    subprocess.run([sys.executable, *line, *words], check=True)


if __name__ == "__main__":
    main()
