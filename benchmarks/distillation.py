"""What a teacher brings to a multilingual student, beside sentence-transformers' own recipe, in the same time.

    python benchmarks/distillation.py --corpus CORPUS --tokenizer TOKENIZER --teacher FOLDER --data ROOT --out OUT
                                      [--minutes 6] [--arms scratch,student,...] [--seeds 1]

Arms, all on the same corpus and tokenizer, with the same batch and clock:

    scratch       InfoNCE from scratch: the reference settings, no teacher
    student       the same, and the teacher's vectors as targets; its vectors are as long as the teacher's
    distilled     the teacher's vectors alone, no InfoNCE
    transplanted  as student, from the teacher's own layers with a transplanted vocabulary
    shallow       as transplanted, from every other layer of the teacher
    peer          sentence-transformers: its MSELoss on pairs with English, the fresh student of `student`
    peer-init     the same from our sentence-id token vectors
    peer-start    the same from the transplanted teacher

The teacher's vectors of the corpus and the transplanted start are made once before, and their seconds are told. Every
arm is a process of its own; finished arms and measurements are skipped, so that the command can be repeated, also with
further arms. OUT/evaluation/ARM holds STS-B dev in all its languages, Tatoeba (test), NTREX dev documents and the
SIB-200 probe; OUT/distillation.md the table.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

from mlcl.core.environment import tune_environment

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
TASKS = "stsb,tatoeba,ntrex,sib200"
OURS: dict[str, list[str]] = {
    "scratch": [],
    "student": ["--training.objectives", "TAUGHT"],
    "distilled": ["--training.objectives", "TAUGHT", "--training.info_nce_weight", "0"],
    "transplanted": ["--training.objectives", "TAUGHT"],
    "shallow": ["--training.objectives", "TAUGHT"],
}
PEERS: dict[str, list[str]] = {"peer": [], "peer-init": ["--sentence-id", "true"], "peer-start": ["--start", "START"]}
COLUMNS = (  # title, task, metric, direction, language of the row
    ("STS-B en", "stsb", "spearman", "within", "en"),
    ("STS-B within", "stsb", "spearman", "within", "avg:all"),
    ("STS-B across", "stsb", "spearman", "across", "avg:all"),
    ("Tatoeba, trained", "tatoeba", "accuracy", "mean", "avg:trained"),
    ("Tatoeba, all", "tatoeba", "accuracy", "mean", "avg:all"),
    ("NTREX", "ntrex", "accuracy", "mean", "avg:all"),
    ("SIB-200 topics", "sib200", "accuracy", "linear", "avg:all"),
)


def main() -> None:
    """Make what the arms share, run them one after the other, then measure all of them together."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpus", required=True, help="corpus folder")
    parser.add_argument("--tokenizer", required=True, help="folder of the tokenizer that all arms share")
    parser.add_argument("--teacher", required=True, help="folder of the teacher, an English encoder")
    parser.add_argument("--data", required=True, help="folder of the evaluation data")
    parser.add_argument("--out", required=True, type=Path, help="where the runs go")
    parser.add_argument("--config", default=str(ROOT / "configs/reference-cpu.yaml"), help="what all arms share")
    parser.add_argument("--minutes", type=float, default=6.0, help="training time of an arm")
    parser.add_argument("--weight", type=float, default=10.0, help="of the distillation term")
    parser.add_argument("--learning-rate", default="5e-4", help="of the arms that start from the teacher's layers")
    parser.add_argument("--arms", default=",".join([*OURS, *PEERS]), help="which arms")
    parser.add_argument("--seeds", type=int, default=1, help="seeds 1..N")
    parser.add_argument("--tasks", default=TASKS, help="what is measured")
    parser.add_argument("--teacher-tasks", help="what of it with the teacher, which is slow; all when not given")
    options = parser.parse_args()
    tune_environment()  # for all arms alike
    if unknown := sorted({*options.arms.split(",")} - {*OURS, *PEERS}):
        parser.error(f"unknown arms: {', '.join(unknown)}")

    options.out.mkdir(parents=True, exist_ok=True)
    once(options.out / "teacher.json", partial(teach, options))
    if {"transplanted", "shallow", "peer-start"} & {*options.arms.split(",")}:
        once(options.out / "start.json", partial(transplant, options))
    arms = {}
    for arm in options.arms.split(","):
        for seed in range(1, options.seeds + 1):
            name = f"{arm}-{seed}"
            arms[name] = options.out / name
            if not (arms[name] / "model").exists():
                print(f"== {name}", flush=True)
                run_arm(arm, seed, arms[name], options)
    evaluate(arms, options)
    table = summary(arms, options)
    (options.out / "distillation.md").write_text(table)
    print(table)


def once(mark: Path, make) -> None:
    """Do what all arms share, unless it is done, and keep what it took."""
    if not mark.exists():
        start = time.monotonic()
        found = make()
        mark.write_text(json.dumps({"seconds": round(time.monotonic() - start, 1), **found}))
    print(f"{mark.stem}: {mark.read_text()}", flush=True)


def teach(options: argparse.Namespace) -> dict[str, int]:
    """The teacher's vectors of the corpus, which our arms and the peer's find in the corpus folder."""
    from mlcl.corpus.store import Corpus
    from mlcl.model.encoder import Encoder
    from mlcl.training.teacher import open_or_compute

    embed = partial(Encoder.from_pretrained(options.teacher).encode, normalize=False)
    vectors = open_or_compute(Corpus.open(options.corpus), options.teacher, embed, ["en"], options.out)
    return {"sentences": len(vectors.groups), "dimension": vectors.dimension}


def transplant(options: argparse.Namespace) -> dict[str, str]:
    """The teacher with the vocabulary of all arms, in OUT/start."""
    words = ["transplant", "--model", options.teacher, "--tokenizer", options.tokenizer, "--corpus", options.corpus]
    call("-m", "mlcl", *words, "--languages", "en", "--out", str(options.out / "start"), "--overwrite")
    return {"folder": str(options.out / "start")}


def run_arm(arm: str, seed: int, folder: Path, options: argparse.Namespace) -> None:
    """Train one arm in a process of its own."""
    shared = ["--corpus", options.corpus, "--config", options.config]
    if arm in PEERS:
        words = [str(options.out / "start") if word == "START" else word for word in PEERS[arm]]
        words += ["--tokenizer", options.tokenizer, "--teacher", options.teacher, "--minutes", str(options.minutes)]
        config = own_config(options) if arm == "peer-start" else options.config
        shared = ["--corpus", options.corpus, "--config", config]
        call(str(HERE / "peer_distillation.py"), *shared, *words, "--seed", str(seed), "--out", str(folder))
        return
    words = ["--tokenizer.path", options.tokenizer, "--training.seed", str(seed), "--overwrite"]
    words += ["--training.max_minutes", str(options.minutes)]
    taught = f"{{distillation: {{weight: {options.weight}, distance: cosine}}}}"
    words += [taught if word == "TAUGHT" else word for word in OURS[arm]]
    if arm != "scratch":
        words += ["--teacher.model", options.teacher]
    if arm in ("student", "distilled"):
        words += ["--model.proj_size", str(json.loads((options.out / "teacher.json").read_text())["dimension"])]
    if arm in ("transplanted", "shallow"):
        shared = ["--corpus", options.corpus, "--config", own_config(options)]
        words += ["--model.model_name", str(options.out / "start")]
    if arm == "shallow":
        words += ["--start.depth", str(depth(options.out / "start") // 2)]
    call("-m", "mlcl", "pretrain", *shared, *words, "--out", str(folder))


def own_config(options: argparse.Namespace) -> str:
    """The shared settings without a fresh backbone, at the learning rate for trained layers."""
    import yaml

    settings = yaml.safe_load(Path(options.config).read_text())
    settings["model"].pop("backbone", None)
    settings.pop("initialisation", None)
    settings["training"]["learning_rate"] = float(options.learning_rate)
    place = options.out / "start.yaml"
    place.write_text(yaml.safe_dump(settings))
    return str(place)


def depth(folder: Path) -> int:
    """Layers of a saved model."""
    return int(json.loads((folder / "config.json").read_text())["backbone"]["num_hidden_layers"])


def evaluate(arms: dict[str, Path], options: argparse.Namespace) -> None:
    """All arms, and the teacher, by the same code."""
    models = {name: (folder / "model", options.tasks) for name, folder in arms.items()}
    models["teacher"] = options.teacher, options.teacher_tasks or options.tasks
    for name, (folder, tasks) in models.items():
        place = options.out / "evaluation" / name
        if not place.exists():
            words = ["--data", options.data, "--tasks", tasks, "--out", str(place)]
            call("-m", "mlcl", "evaluate", "--model", f"{name}={folder}", *words)


def summary(arms: dict[str, Path], options: argparse.Namespace) -> str:
    """The averages of each arm as a Markdown table, with what it saw and took."""
    rows = [
        row
        for name in [*arms, "teacher"]
        for row in json.loads((options.out / "evaluation" / name / "results.json").read_text())
    ]
    columns = [column for column in COLUMNS if column[1] in options.tasks.split(",")]
    header = ["arm", "pairs seen", "CPU min", *(column[0] for column in columns)]
    lines = ["| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
    for name in [*arms, "teacher"]:
        cells = [name, *(("-", "-") if name == "teacher" else effort(arms[name]))]
        for _, task, metric, direction, language in columns:
            found = [
                row["value"] for row in rows
                if tuple(row[key] for key in ("model", "task", "language", "direction", "metric"))
                == (name, task, language, direction, metric)
            ]  # fmt: skip
            cells.append(f"{found[0]:.1f}" if found else "-")
        lines.append("| " + " | ".join(cells) + " |")
    made = {mark: options.out / f"{mark}.json" for mark in ("teacher", "start")}
    notes = [f"{mark}: {file.read_text()}" for mark, file in made.items() if file.exists()]
    return "\n".join([f"{options.minutes:g} minutes an arm. " + " ".join(notes), "", *lines]) + "\n"


def effort(folder: Path) -> tuple[str, str]:
    """Pairs seen and CPU minutes of a run of ours or of the peer."""
    if (folder / "peer.json").exists():
        report = json.loads((folder / "peer.json").read_text())
        return f"{report['pairs']:,}", f"{report['cpu_seconds'] / 60:.1f}"
    info = json.loads((folder / "model" / "mlcl.json").read_text())
    return f"{info['pairs_seen']:,}", f"{info['cpu_minutes']:.1f}"


def call(*words: str) -> None:
    """Run a Python program; its failure is ours."""
    subprocess.run([sys.executable, *words], check=True)


if __name__ == "__main__":
    main()
