"""Train and measure a real multilingual encoder in minutes, on the translation catalogs inside installed packages.

In: a time budget. Out: a folder with the corpus, the tokenizer, the finished model, `results.json` and `report.html`.
The test is to find the translation of program messages whose English was held out, next to two baselines.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.markup import escape
from rich.table import Table

from mlcl.core.errors import UserError, require
from mlcl.core.files import refuse_existing
from mlcl.core.flags import from_values
from mlcl.core.languages import name
from mlcl.core.progress import console, results, step
from mlcl.core.settings import read_settings

if TYPE_CHECKING:
    from mlcl.stages.pipelines._quickstart_results import Answer, Measured

SETTINGS = Path(__file__).with_suffix(".yaml")
POOL_SIZE = 400  # candidates per language
MIN_MESSAGES = 30  # held-out messages that a language needs for the averages
LATER = 1.9  # time of token store, evaluation and report over that of corpus and tokenizer, whatever the machine
_SHOWN = 16  # languages in the printed table


@cache
def _packaged() -> dict[str, Any]:
    return read_settings(SETTINGS)[0]


def _default(key: str) -> Any:
    return json.loads(json.dumps(_packaged()[key]))


@dataclass(frozen=True)
class Config:
    """Settings of `mlcl quickstart`."""

    out: str = "mlcl-quickstart"
    """Folder to make, with corpus, model and report."""
    minutes: float = 6.0
    """Wall-clock minutes for everything; training gets what the other steps leave of them."""
    packages: list[str] = field(default_factory=partial(_default, "packages"))
    """Installed Python packages (import names) whose translation catalogs are the corpus."""
    searches: list[str] = field(default_factory=partial(_default, "searches"))
    """Queries to answer with the finished model, in any language."""
    tokenizer: dict[str, Any] = field(default_factory=partial(_default, "tokenizer"))
    """Settings of `mlcl tokenizer train`."""
    pretrain: dict[str, Any] = field(default_factory=partial(_default, "pretrain"))
    """Settings of `mlcl pretrain`."""
    seed: int = 0
    """Seed of training and of the choice of candidates."""
    overwrite: bool = False
    """Replace OUT where it exists."""


def run(config: Config) -> Path:
    """Run the whole path and return the folder.

    Raises:
        UserError: an output that exists, packages that are not installed, or settings that do not fit.
    """
    from mlcl.corpus.store import Corpus
    from mlcl.stages import corpus_build, pretrain, tokenizer_train
    from mlcl.stages.pipelines import _held_out, _quickstart_results

    start = time.monotonic()
    out = Path(config.out)
    _check(config, out)
    with _whole(out, config.overwrite):
        with step("holding out a tenth of the messages"):
            pools, dropped = _held_out.read_held_out(config.packages)
            _held_out.write_texts(pools, out / "held-out.jsonl")

        corpus_build.run(from_values(corpus_build.Config, _corpus_settings(config, out), "quickstart corpus"))
        dropped["masked, the same as a training message"] = _held_out.fill_pools(
            pools, Corpus.open(out / "corpus"), POOL_SIZE, config.seed
        )

        tokenizer_settings = {**config.tokenizer, "corpus": str(out / "corpus"), "out": str(out / "tokenizer")}
        tokenizer_train.run(from_values(tokenizer_train.Config, tokenizer_settings, "quickstart tokenizer"))

        minutes = _training_minutes(config.minutes, (time.monotonic() - start) / 60)
        console.print(f"  training may take {minutes:.1f} of the {config.minutes:g} minutes")
        model = pretrain.run(from_values(pretrain.Config, _pretrain_settings(config, out, minutes), "quickstart"))

        measured = _quickstart_results.measure(model, pools, POOL_SIZE, MIN_MESSAGES, config.seed)
        answers = _quickstart_results.search(measured, config.searches)
        with step("writing the report"):
            _quickstart_results.write(out, measured, answers, dropped, config.seed, _facts(config, measured, minutes))

    _show(measured, answers, out, (time.monotonic() - start) / 60)
    return out


def _check(config: Config, out: Path) -> None:
    """Mistakes that can be seen before any work."""
    refuse_existing(out, config.overwrite)
    require("sklearn", "demo")
    if config.minutes <= 0:
        raise UserError(f"minutes is {config.minutes:g}", remedy="give a number above 0; 6 is the default")
    if not config.packages:
        raise UserError("packages is empty", remedy="name at least one installed package, such as django")


@contextmanager
def _whole(out: Path, overwrite: bool) -> Iterator[None]:
    """Make the folder; take it away again when the block fails or is stopped.

    Not `atomic_directory`, because the stages write down where their inputs and outputs lie.
    """
    if overwrite:
        shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True, exist_ok=True)
    try:
        yield
    except BaseException:
        shutil.rmtree(out, ignore_errors=True)
        raise


def _corpus_settings(config: Config, out: Path) -> dict[str, Any]:
    """The train part of the catalogs, without any text of the held-out part."""
    catalogs = {"packages": config.packages, "part": "train"}
    return {
        "data": str(out),
        "out": str(out / "corpus"),
        "sources": [{"format": "gettext_package", "origin": "gettext catalogs", "options": catalogs}],
        "evaluation": [{"format": "jsonl", "path": "held-out.jsonl", "options": {"language_field": "lang"}}],
    }


def _pretrain_settings(config: Config, out: Path, minutes: float) -> dict[str, Any]:
    settings = config.pretrain
    return {
        **settings,
        "corpus": str(out / "corpus"),
        "out": str(out / "training"),
        "tokenizer": {"path": str(out / "tokenizer")},
        "training": {**settings.get("training", {}), "max_minutes": minutes, "seed": config.seed},
    }


def _training_minutes(budget: float, used: float) -> float:
    """What training gets: the budget less what is used and what comes after it, but at least a fifth."""
    return max(budget - used - LATER * used, budget / 5)


def _facts(config: Config, measured: Measured, minutes: float) -> dict[str, str]:
    """The head of the report."""
    pairs = sum(pool.training_pairs for pool in measured.pools.values())
    return {
        "corpus": f"translation catalogs of {', '.join(config.packages)}",
        "training pairs": f"{pairs:,} with English, in {len(measured.pools)} languages and regional varieties",
        "training": f"{minutes:.1f} minutes, seed {config.seed}",
        "averages": f"languages with at least {MIN_MESSAGES} held-out messages and {POOL_SIZE} candidates",
    }


def _show(measured: Measured, answers: list[Answer], out: Path, minutes: float) -> None:
    """Print the tables, the searches, and what was made."""
    from mlcl.stages.pipelines._quickstart_results import language_rows

    means = measured.averages
    table = Table(title="Finding the translation among 400 messages (accuracy in %, both directions)")
    table.add_column("")
    for model in means:
        table.add_column(model, justify="right")
    for group in dict.fromkeys(group for of in means.values() for group in of):
        count = next(of[group][1] for of in means.values() if group in of)
        table.add_row(f"{group} ({count})", *(f"{of[group][0]:.1f}" for of in means.values()))
    rows = language_rows(measured)
    for row in [row for row in rows if row["counted"]][:_SHOWN]:
        table.add_row(f"  {row['name']}", *(f"{row[model]:.1f}" for model in means), style="dim")
    results.print(table)
    if few := [row for row in rows if not row["counted"]]:
        results.print(
            f"{len(few)} more languages have too few messages to be averaged; they are in the report: "
            f"{', '.join(row['name'] for row in few)}."
        )
    for answer in answers:
        results.print(f"\n[bold]{escape(answer.query)}[/bold]")
        for language, text, cosine in answer.found:
            results.print(f"  {cosine:.2f}  {escape(text)}  [dim]{name(language)}[/dim]", soft_wrap=True)
    results.print(f"\nDone in {minutes:.1f} minutes. In {out}:")
    for path, what in (
        ("report.html", "loss curves, accuracy by language, maps: open it in a browser"),
        ("training/model", "the encoder; load it with mlcl.Encoder.from_pretrained or SentenceTransformer"),
        ("results.json", "the scores, per language and direction"),
        ("corpus", "the training corpus, as Parquet, with a report"),
    ):
        results.print(f"  {out / path}  [dim]{what}[/dim]", soft_wrap=True)
