"""Show what is in a corpus: languages, origins, and what was dropped when it was built."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from rich.markup import escape
from rich.table import Table

from mlcl.core.errors import UserError
from mlcl.core.languages import name
from mlcl.core.progress import results
from mlcl.corpus.store import Corpus
from mlcl.reports.corpus_report import median_length
from mlcl.training.mixing import proportions


@dataclass(frozen=True)
class Config:
    """Settings of `mlcl corpus stats`."""

    corpus: str = field(metadata={"positional": True})
    """Corpus folder."""
    alphas: list[float] = field(default_factory=list)
    """Exponents of the language sampling, such as 1 0.5 0.3: shows the mixture that each would train on."""
    verify: bool = False
    """Read every shard and compare it with its checksum."""


def run(config: Config) -> Path:
    """Print the tables and, last, the path of the HTML report.

    Raises:
        UserError: the folder is no corpus, a shard is missing or damaged, or an exponent is out of range.
    """
    if wrong := [alpha for alpha in config.alphas if not 0 <= alpha <= 1]:
        raise UserError(f"alphas has {wrong[0]}, it must be in [0, 1]")
    corpus = Corpus.open(config.corpus)
    if config.verify:
        corpus.verify()
    manifest = corpus.manifest
    edges, lengths = manifest["lengths"]["edges"], manifest["lengths"]["counts"]
    _print(
        "Languages",
        ["tag", "language", "in pairs", "alone", "median length"],
        [
            (tag, name(tag), count["pairs"], count["mono"], f"from {median_length(edges, lengths[tag])}")
            for tag, count in sorted(manifest["languages"].items(), key=lambda item: -sum(item[1].values()))
        ],
    )
    if config.alphas:
        _print_mixtures(manifest["languages"], config.alphas)
    origins = [(origin, facts["licence"], facts["texts"]) for origin, facts in manifest["origins"].items()]
    _print("Origins", ["origin", "licence", "texts"], origins)
    reasons = Counter[str]()
    for drop in manifest["drops"]:
        reasons[drop["reason"]] += drop["texts"]
    _print("Dropped", ["reason", "texts"], reasons.most_common())
    results.print(
        f"{manifest['rows']['pairs']:,} pairs, {manifest['rows']['mono']:,} single sentences, "
        f"{manifest['groups']:,} groups, the largest of {manifest['largest_group']['texts']:,} texts",
        soft_wrap=True,
    )
    report = corpus.path / "report.html"
    results.print(f"report: {escape(str(report))}", soft_wrap=True)
    return report


def _print_mixtures(languages: dict[str, dict[str, int]], alphas: Sequence[float]) -> None:
    """Share of the pairs' sentences that each exponent draws from a language, and how often it repeats them."""
    tags = sorted((tag for tag in languages if languages[tag]["pairs"]), key=lambda tag: -languages[tag]["pairs"])
    counts = np.array([languages[tag]["pairs"] for tag in tags])
    places, one = np.arange(len(tags)), np.ones(1)
    columns = []
    for alpha in alphas:
        share = proportions(counts, places, np.zeros_like(places), alpha, one, one) if len(tags) else one
        repeats = share * counts.sum() / counts
        columns.append([f"{100 * p:.2f} %, {times:.2f} x" for p, times in zip(share, repeats, strict=True)])
    rows = [(tag, *(column[i] for column in columns)) for i, tag in enumerate(tags)]
    _print(
        "Mixtures: share of the draws, and draws of a sentence in an epoch",
        ["tag", *(f"alpha {a:g}" for a in alphas)],
        rows,
    )


def _print(title: str, header: list[str], rows: Sequence[tuple[Any, ...]]) -> None:
    table = Table(title=title, title_justify="left")
    for column, label in enumerate(header):
        number = any(isinstance(row[column], int) for row in rows)
        table.add_column(label, justify="right" if number else "left")
    for row in rows:
        table.add_row(*(f"{value:,}" if isinstance(value, int) else escape(str(value)) for value in row))
    results.print(table)
