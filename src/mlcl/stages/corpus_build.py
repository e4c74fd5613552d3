"""Build a corpus: read the sources, clean, deduplicate, decontaminate, and write Parquet shards with a report."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from pathlib import Path

from rich.markup import escape

from mlcl.core.errors import UserError
from mlcl.core.progress import print_table, results, warn
from mlcl.corpus.build import BuildSettings, build
from mlcl.corpus.clean import CleanSettings
from mlcl.corpus.engine import EngineName, EngineSettings
from mlcl.corpus.preview import Preview, preview
from mlcl.corpus.sources import Source

_SAMPLES = 3  # of each reason in a dry run


@dataclass(frozen=True)
class Config:
    """Settings of `mlcl corpus build`."""

    data: str
    """Folder that the paths of the sources are relative to."""
    sources: list[Source]
    """The texts to train on, each with format, path, origin, licence, limit and the format's options."""
    out: str | None = None
    """Corpus folder to make; not needed with --dry_run."""
    evaluation: list[Source] = field(default_factory=list)
    """Texts that must not be in the corpus: a record with one of them in any version is dropped."""
    languages: list[str] | None = None
    """Languages to keep; all when not given."""
    clean: CleanSettings = field(default_factory=CleanSettings)
    """Limits of the cleaning filters."""
    near_duplicates: float | None = None
    """Jaccard similarity of shingles from which on two texts of a language are one, such as 0.8; only equal texts are
    when not given. A pair is dropped when both of its sides came before."""
    near_evaluation: float | None = None
    """Jaccard similarity of shingles from which on a text is too close to an evaluation text, such as 0.7; only equal
    texts are when not given. The whole record is dropped."""
    max_bad_share: float = 0.01
    """Largest tolerated share of malformed rows in a source."""
    rows_per_shard: int = 500_000
    """Most rows of one Parquet file."""
    dry_run: bool = False
    """Show what each filter would drop, alone and in a build, with samples, and write nothing."""
    engine: EngineName = "local"
    """Where the work is done: local (processes on this machine) or ray (a Ray cluster, found by RAY_ADDRESS; one is
    started on this machine where there is none). The corpus is the same, bit for bit."""
    workers: int | None = None
    """Processes that clean text; all cores when not given."""
    overwrite: bool = False
    """Replace OUT where it exists."""


def run(config: Config) -> Path:
    """Build the corpus, print what is in it and, last, its folder; a dry run prints what would be dropped.

    A build that was stopped or killed goes on where it stopped when the command is repeated.

    Raises:
        UserError: unreadable sources, too many malformed rows, or an output that exists.
    """
    if config.out is None and not config.dry_run:
        raise UserError("--out is missing", remedy="name a folder to make, or pass --dry_run true")
    settings = BuildSettings(**{part.name: getattr(config, part.name) for part in fields(BuildSettings)})
    if config.out is None or config.dry_run:
        _show(preview(settings, config.data))
        return Path(config.data)
    where = EngineSettings(config.engine, config.workers)
    corpus = build(settings, config.data, config.out, overwrite=config.overwrite, engine_settings=where)
    texts, rows = corpus.manifest["texts"], corpus.manifest["rows"]
    results.print(
        f"{texts['kept']:,} of {texts['read']:,} texts kept in {len(corpus.languages)} languages: "
        f"{rows['pairs']:,} pairs, {rows['mono']:,} single sentences, {corpus.manifest['groups']:,} groups",
        soft_wrap=True,
    )
    results.print(f"report: {escape(str(corpus.path / 'report.html'))}", soft_wrap=True)
    return corpus.path


def _show(found: Preview) -> None:
    """The two lists of a dry run."""
    for title, drops in (("each filter alone", found.alone), ("what the build would drop", found.drops)):
        by_reason: dict[str, tuple[int, list[str]]] = {}
        for drop in drops:
            texts, samples = by_reason.get(drop["reason"], (0, []))
            by_reason[drop["reason"]] = texts + drop["texts"], [*samples, *drop["samples"]][:_SAMPLES]
        rows = [
            (reason, f"{texts:,}", "\n".join(samples))
            for reason, (texts, samples) in sorted(by_reason.items(), key=lambda item: -item[1][0])
        ]
        print_table(title, ["reason", "texts", "for example"], rows)
    if found.problem is not None:
        warn(f"the build would fail: {escape(found.problem)}")
    elif found.texts is not None:
        kept, read = found.texts["kept"], found.texts["read"]
        results.print(f"{kept:,} of {read:,} texts would be kept; nothing was written", soft_wrap=True)
