"""One factor at a time around a base setting: what lambda, temperature, queue, alpha and mask rate do; and questions.

The factor `seed` changes nothing: the width of its three runs is what a difference has to be larger than.

    python benchmarks/study.py --corpus CORPUS --data ROOT --out OUT [--only lambda,...] [--steps 300] [--questions]

Every run differs from configs/study.yaml in one thing, is one process, and is skipped when it is finished, so that the
command can be repeated. All are measured on the dev roles: NTREX documents 74-92, SIB-200 dev, STS-B dev.
OUT/study.json, study.md and the figures hold what is there; `--docs docs/study` copies them beside the text.
`--steps` makes runs equal on any machine, `--minutes` lets a faster setting do more steps.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from study_corpora import Recipe, cut

from mlcl.core.environment import tune_environment
from mlcl.core.files import write_json
from mlcl.corpus.store import Corpus
from objectives import evaluate, pretrain

ROOT = Path(__file__).resolve().parent.parent
BASE = Recipe(100_000)
LOW, RELATIVES = "uk", ("ru", "bg", "pl", "cs", "sr", "hr", "mn", "kk")
"""The language of the low-resource question; its relatives, and others of its script."""
LANGUAGES = "ar bg de el fa fr ha hi it ja ko pt ru sw tr uk vi yo zh-Hans zu".split()
MEASURES = {
    "ntrex": ("NTREX dev", "accuracy", "mean"),
    "multiparallel": ("SIB-200 dev", "accuracy", "mean"),
    "stsb": ("STS-B dev", "spearman", "within"),
}
"""Task -> what tables call it, its metric and its direction."""


@dataclass(frozen=True)
class Arm:
    """One value of one factor.

    Attributes:
        value: As tables show it.
        settings: What differs from the base, as `mlcl pretrain` takes it; nothing is the base itself.
        recipe: Its corpus.
    """

    value: str
    settings: dict[str, Any] = field(default_factory=dict)
    recipe: Recipe = BASE


def training(value: str, **settings: Any) -> Arm:
    """An arm that differs in training arguments."""
    return Arm(value, {"training": settings})


FACTORS: dict[str, list[Arm]] = {
    "lambda": [training("0", lm_weight=0.0), Arm("0.1"), training("0.3", lm_weight=0.3), training("1", lm_weight=1.0)],
    "balance of lambda": [
        Arm("fixed 0.1"),
        training("cosine 0.3 to 0", lm_balance="cosine", lm_weight=0.3, lm_weight_end=0.0),
        training("uncertainty", lm_balance="uncertainty", lm_weight=1.0),
        training("gradient 0.3", lm_balance="gradient", lm_weight=0.3),
    ],
    "temperature": [
        training("0.02", temperature=0.02), Arm("0.05"), training("0.1", temperature=0.1),
        training("learnt", learnable_temperature=True),
    ],
    "queue": [Arm("0"), training("1024", queue_size=1024), training("8192", queue_size=8192)],
    "alpha": [Arm(str(alpha), {} if alpha == 0.5 else {"sampling": {"alpha": alpha}}) for alpha in (0, 0.3, 0.5, 1)],
    "mask rate": [Arm("0.15"), training("0.3", mlm_probability=0.3), training("0.5", mlm_probability=0.5)],
    "seed": [Arm("1"), training("2", seed=2), training("3", seed=3)],
}  # fmt: skip
QUESTIONS: dict[str, list[Arm]] = {
    "MLM alone or with InfoNCE": [
        training("MLM, TLM alone", info_nce_weight=0.0, lm_weight=1.0, lm_share=1.0),
        training("InfoNCE alone", lm_weight=0.0),
        Arm("both"),
    ],
    "pairs": [Arm(f"{size:,}", recipe=Recipe(size)) for size in (1_000, 10_000)] + [Arm("100,000")],
    "noise": [
        Arm(f"{share:.0%}", recipe=Recipe(BASE.pairs, noise=share)) for share in (0.0, 0.1, 0.2, 0.4)
    ],
    f"{LOW} from few pairs": [
        Arm(f"{pairs:,} pairs, {'without' if without else 'with'} relatives",
            recipe=Recipe(50_000, low=LOW, low_pairs=pairs, without=without))
        for pairs in (100, 1_000)
        for without in (RELATIVES, ())
    ],
    "cleaning": [Arm("as built"), Arm("cleaned", recipe=Recipe(BASE.pairs, cleaned=True))],
    "start": [Arm("sentence-id"), Arm("random", {"initialisation": {"embeddings": "random"}})],
}  # fmt: skip


def main() -> None:
    """Run what is missing, measure it, write tables and figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpus", required=True, help="corpus that the study's corpora are cut from")
    parser.add_argument("--data", required=True, help="folder of the evaluation data")
    parser.add_argument("--out", required=True, type=Path, help="where corpora and runs go")
    parser.add_argument("--config", default=str(ROOT / "configs/study.yaml"), help="the base setting")
    parser.add_argument("--steps", type=int, default=300, help="updates of a run")
    parser.add_argument("--minutes", type=float, help="training time of a run, instead of --steps")
    parser.add_argument("--pairs", type=int, help="pairs of an update; that of the config when not given")
    parser.add_argument("--questions", action="store_true", help="the questions instead of the factors")
    parser.add_argument("--only", help=f"some of: {', '.join([*FACTORS, *QUESTIONS])}")
    parser.add_argument("--languages", default=" ".join(LANGUAGES), help="languages to measure; empty takes all")
    parser.add_argument("--cleaned", help="the corpus built with more filters, for the question `cleaning`")
    parser.add_argument("--docs", type=Path, help="folder that tables and figures are copied to")
    options = parser.parse_args()
    tune_environment()
    chosen = {**FACTORS, **QUESTIONS} if options.only else QUESTIONS if options.questions else FACTORS
    if options.only:
        chosen = {name: chosen[name] for name in options.only.split(",")}
    if not options.cleaned and chosen.pop("cleaning", None):
        print("left out: cleaning, which needs --cleaned", flush=True)

    done = []
    for factor, values in chosen.items():
        for arm in values:
            print(f"== {factor}: {arm.value}", flush=True)
            folder = options.out / "runs" / slug(factor, arm)
            run(arm, folder, options)
            done.append({"factor": factor, "value": arm.value, **outcome(folder)})
            report(done, options)


def slug(factor: str, arm: Arm) -> str:
    """Folder of an arm; all factors share the run of the base."""
    if not arm.settings and arm.recipe == BASE:
        return "base"
    return "".join(letter if letter.isalnum() or letter in ".-" else "-" for letter in f"{factor}-{arm.value}")


def run(arm: Arm, folder: Path, options: argparse.Namespace) -> None:
    """Train and measure one arm, unless that is done."""
    corpora, corpus = options.out / "corpora", Corpus.open(options.corpus)
    base = cut(corpus, BASE, corpora / BASE.name)
    tokenizer = options.out / "tokenizer"
    if not tokenizer.exists():
        words = ["--corpus", str(base), "--vocab-size", "16000", "--out", str(tokenizer)]
        subprocess.run([sys.executable, "-m", "mlcl", "tokenizer", "train", *words], check=True)
    if not (folder / "model").exists():
        length = {"max_minutes": options.minutes} if options.minutes else {"max_steps": options.steps}
        length |= {"per_device_train_batch_size": options.pairs} if options.pairs else {}
        settings = dotted({"training": length}) | dotted(arm.settings)
        source = Corpus.open(options.cleaned) if arm.recipe.cleaned else corpus
        place = cut(source, arm.recipe, corpora / arm.recipe.name)
        shared = argparse.Namespace(config=options.config, corpus=str(place), tokenizer=str(tokenizer))
        pretrain(settings, 1, folder, shared)
    if not (folder / "evaluation").exists():
        words = ["--options.multiparallel.sets", '["sib200-dev"]', "--options.multiparallel.all_pairs", "false"]
        words += ["--languages", *options.languages.split()] if options.languages else []
        evaluate([folder / "model"], argparse.Namespace(data=options.data, out=folder), ",".join(MEASURES), words)


def dotted(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Settings by their dotted names: `{"training": {"lm_weight": 0}}` is `{"training.lm_weight": 0}`."""
    found: dict[str, Any] = {}
    for key, value in settings.items():
        found |= dotted(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {prefix + key: value}
    return found


def outcome(folder: Path) -> dict[str, Any]:
    """Scores of a run, those of the low-resource language, and where its training ended."""
    rows = json.loads((folder / "evaluation" / "results.json").read_text(encoding="utf-8"))
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text(encoding="utf-8").split("\n") if line]
    scores: dict[str, Any] = {}
    for task, (name, metric, direction) in MEASURES.items():
        found = [row for row in rows if (row["task"], row["metric"], row["direction"]) == (task, metric, direction)]
        scores[name] = next((row["value"] for row in found if row["language"] == "avg:all"), None)
        scores[f"{name} {LOW}"] = next((row["value"] for row in found if row["language"] == LOW), None)
    for key in ("info_nce", "lm", "gradient_cosine", "effective_rank", "lm_weight", "temperature"):
        scores[key] = next((line[key] for line in reversed(lines) if line.get(key) is not None), None)
    scores["steps"] = max(line["step"] for line in lines)
    return scores


def report(done: list[dict[str, Any]], options: argparse.Namespace) -> None:
    """Write study.json, study.md and one figure for all factors, as far as they are known."""
    name = "questions" if not options.only and options.questions else "study"
    write_json(options.out / f"{name}.json", done)
    (options.out / f"{name}.md").write_text(markdown(done), encoding="utf-8")
    draw(done).savefig(options.out / f"{name}.svg", metadata={"Date": None})
    if options.docs:
        options.docs.mkdir(parents=True, exist_ok=True)
        for suffix in ("json", "md", "svg"):
            shutil.copy(options.out / f"{name}.{suffix}", options.docs)


def markdown(done: list[dict[str, Any]]) -> str:
    """One table for each factor."""
    columns = [name for name, *_ in MEASURES.values()]
    parts = []
    for factor in dict.fromkeys(row["factor"] for row in done):
        low = [f"NTREX dev {LOW}"] if factor.startswith(LOW) else []
        header = [factor, *columns, *low, "InfoNCE", "LM", "gradient cosine", "effective rank"]
        keys = [*columns, *low, "info_nce", "lm", "gradient_cosine", "effective_rank"]
        parts += ["| " + " | ".join(header) + " |", "|---|" + "---:|" * (len(header) - 1)]
        for row in done:
            if row["factor"] == factor:
                parts.append("| " + " | ".join([row["value"], *(_shown(row[key], key) for key in keys)]) + " |")
        parts.append("")
    return "\n".join(parts)


def _shown(value: float | None, key: str) -> str:
    return "" if value is None else f"{value:.2f}" if key in ("info_nce", "lm", "gradient_cosine") else f"{value:.1f}"


def draw(done: Iterable[dict[str, Any]]) -> Figure:
    """A panel for each factor: its values from left to right, a line for each measure.

    A band behind a line is what the three seeds of the base span: values within it are equal.
    """
    done = list(done)
    factors = list(dict.fromkeys(row["factor"] for row in done))
    across = min(3, len(factors))
    down = -(-len(factors) // across)
    figure = Figure(figsize=(4.2 * across, 3.2 * down), layout="constrained", facecolor="white")
    for place, factor in enumerate(factors):
        axes = figure.add_subplot(down, across, place + 1)
        rows = [row for row in done if row["factor"] == factor]
        low = [f"NTREX dev {LOW}"] if factor.startswith(LOW) else []
        for name in [*(name for name, *_ in MEASURES.values()), *low]:
            (line,) = axes.plot(range(len(rows)), [row[name] for row in rows], marker="o", ms=4, lw=1.3, label=name)
            if spans := [row[name] for row in done if row["factor"] == "seed"]:
                axes.axhspan(min(spans), max(spans), color=line.get_color(), alpha=0.15, lw=0)
        axes.set_xticks(
            range(len(rows)), [row["value"] for row in rows], fontsize=8, rotation=20 if len(rows) > 3 else 0
        )
        axes.set_title(factor, fontsize=10, loc="left")
        axes.set_ylim(0, 100)
        axes.grid(alpha=0.3)
        if not place or low:
            axes.legend(frameon=False, fontsize=8)
    return figure


if __name__ == "__main__":
    main()
