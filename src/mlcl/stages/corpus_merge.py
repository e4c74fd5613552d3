"""Make one corpus of several: duplicates are dropped and counted, groups, licences and earlier drops are kept."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from rich.markup import escape

from mlcl.core.errors import UserError
from mlcl.core.files import atomic_directory, refuse_existing
from mlcl.core.progress import results, step


@dataclass(frozen=True)
class Config:
    """Settings of `mlcl corpus merge`."""

    corpora: list[str] = field(metadata={"positional": True})
    """Corpus folders, two or more; of equal texts, those of the first stay."""
    out: str
    """Corpus folder to make."""
    overwrite: bool = False
    """Replace OUT where it exists."""


def run(config: Config) -> Path:
    """Merge the corpora, and return the new folder.

    Raises:
        UserError: fewer than two corpora, one given twice, a folder that is none, or an output that exists.
    """
    from mlcl.corpus.merge import merge
    from mlcl.corpus.store import Corpus

    if len(config.corpora) < 2:
        raise UserError("one corpus is given", remedy="name two or more")
    if len({Path(path).resolve() for path in config.corpora}) < len(config.corpora):
        raise UserError("a corpus is given twice", remedy="name each once")
    out = Path(config.out)
    refuse_existing(out, config.overwrite)
    parents = [Corpus.open(path) for path in config.corpora]
    with step("merging"), atomic_directory(out, config.overwrite) as folder:
        manifest = merge(parents, folder)
    before = sum(sum(parent.manifest["rows"].values()) for parent in parents)
    rows = manifest["rows"]
    results.print(
        f"{sum(rows.values()):,} of {before:,} rows kept: {rows['pairs']:,} pairs, {rows['mono']:,} single sentences, "
        f"{manifest['groups']:,} groups",
        soft_wrap=True,
    )
    results.print(f"report: {escape(str(out / 'report.html'))}", soft_wrap=True)
    return out
