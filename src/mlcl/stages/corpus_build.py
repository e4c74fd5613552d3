"""Build a corpus: read the sources, clean, deduplicate, decontaminate, and write Parquet shards with a report."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from pathlib import Path

from rich.markup import escape

from mlcl.core.progress import results
from mlcl.corpus.build import BuildSettings, build
from mlcl.corpus.clean import CleanSettings
from mlcl.corpus.sources import Source


@dataclass(frozen=True)
class Config:
    """Settings of `mlcl corpus build`."""

    data: str
    """Folder that the paths of the sources are relative to."""
    out: str
    """Corpus folder to make."""
    sources: list[Source]
    """The texts to train on, each with format, path, origin, licence, limit and the format's options."""
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
    overwrite: bool = False
    """Replace OUT where it exists."""


def run(config: Config) -> Path:
    """Build the corpus, print what is in it and, last, its folder.

    Raises:
        UserError: unreadable sources, too many malformed rows, or an output that exists.
    """
    settings = BuildSettings(**{part.name: getattr(config, part.name) for part in fields(BuildSettings)})
    corpus = build(settings, config.data, config.out, overwrite=config.overwrite)
    texts, rows = corpus.manifest["texts"], corpus.manifest["rows"]
    results.print(
        f"{texts['kept']:,} of {texts['read']:,} texts kept in {len(corpus.languages)} languages: "
        f"{rows['pairs']:,} pairs, {rows['mono']:,} single sentences, {corpus.manifest['groups']:,} groups",
        soft_wrap=True,
    )
    results.print(f"report: {escape(str(corpus.path / 'report.html'))}", soft_wrap=True)
    return corpus.path
