"""The runs that `mlcl analyse` is given: folders in, `Run`s out.

A run folder has metrics.jsonl; settings.json, a corpus that is still there and a model are taken along where they
exist, and what lacks is said.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mlcl.core.errors import UserError
from mlcl.core.files import read_json
from mlcl.core.progress import step, warn
from mlcl.corpus.store import Corpus
from mlcl.reports.analyse_run import Measures, Run
from mlcl.reports.plots import read_metrics


def read_runs(words: Sequence[str], corpus: str | None, sentences: int) -> list[Run]:
    """All runs, each with a short, distinct name.

    Args:
        words: Folders, or NAME=FOLDER.
        corpus: Corpus folder for all of them; None takes that of each run's settings.
        sentences: Most held-out sentences to encode with each model; 0 measures nothing.

    Raises:
        UserError: no such folder, no metrics.jsonl in it, malformed lines, or a name given twice.
    """
    folders = _named(words)
    lines = {name: _lines(folder) for name, folder in folders.items()}  # mistakes before any model is loaded
    if corpus is not None:
        Corpus.open(corpus)
    return [_read(name, folder, lines[name], corpus, sentences) for name, folder in folders.items()]


def _named(words: Sequence[str]) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for word in words:
        name, equals, place = word.partition("=")
        if not equals or Path(word).is_dir():
            place, parts = word, [part for part in Path(word).resolve().parts if part != "/"]
            name = next(
                ("/".join(parts[-n:]) for n in range(1, len(parts) + 1) if "/".join(parts[-n:]) not in found), word
            )
        if not name or not place or name in found:
            raise UserError(
                f"two runs are called {name!r}" if name in found else f"{word!r} lacks its name or its place"
            )
        if not Path(place).is_dir():
            raise UserError("no such run folder", path=place, remedy="give the --out of mlcl pretrain")
        found[name] = Path(place)
    return found


def _lines(folder: Path) -> list[dict[str, Any]]:
    path = folder / "metrics.jsonl"
    if not path.is_file():
        raise UserError("no metrics.jsonl in this folder", path=folder, remedy="give the --out of mlcl pretrain")
    lines = read_metrics(path, running=True)
    for number, line in enumerate(lines, start=1):
        if not isinstance(line, dict) or not isinstance(line.get("step"), int):
            raise UserError("a line without a step", path=path, line=number, remedy="give the file of a training run")
    return lines


def _read(name: str, folder: Path, lines: list[dict[str, Any]], corpus_path: str | None, sentences: int) -> Run:
    path = folder / "settings.json"
    settings = read_json(path) if path.is_file() else {}
    run = Run(
        name=name,
        path=folder,
        lines=lines,
        settings=settings,
        training=_training(settings) if settings else {},
        bad_batches=sorted(file.name for file in folder.glob("bad-batch-*.json")),
    )
    corpus = _corpus(corpus_path or settings.get("corpus"), name)
    if corpus is None:
        return run
    counts = {tag: counts["pairs"] for tag, counts in corpus.manifest["languages"].items() if counts["pairs"]}
    alpha = (settings.get("sampling") or {}).get("alpha")
    return dataclasses.replace(
        run, sentences=counts, alpha=alpha, measures=_measures(run, corpus, sentences) if sentences else None
    )


def _training(settings: dict[str, Any]) -> dict[str, Any]:
    """Training arguments with the defaults of those that were not given."""
    from mlcl.training.arguments import MLCTrainingArguments

    fields = dataclasses.fields(MLCTrainingArguments)
    defaults = {field.name: field.default for field in fields if field.default is not dataclasses.MISSING}
    return defaults | (settings.get("training") or {})


def _corpus(path: str | None, name: str) -> Corpus | None:
    if path is None or not Path(path).is_dir():
        warn(f"{name}: " + (f"its corpus {path} is not here" if path else "its corpus is unknown") + "; see --corpus")
        return None
    return Corpus.open(path)


def _measures(run: Run, corpus: Corpus, sentences: int) -> Measures | None:
    from mlcl.stages._analyse_measure import measure

    checkpoints = sorted(run.path.glob("checkpoint-*"), key=lambda path: int(path.name.rpartition("-")[2]))
    folder = next((path for path in (run.path / "model", *reversed(checkpoints)) if path.is_dir()), None)
    if folder is None:
        warn(f"{run.name}: neither a model nor a checkpoint, so nothing is measured")
        return None
    with step(f"{run.name}: measuring {folder.name}"):
        return measure(folder, run, corpus, sentences)
