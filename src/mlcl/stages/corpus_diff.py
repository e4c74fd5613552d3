"""Show what changed from one corpus to another: rows that came, went and changed, by language, origin and reason."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.markup import escape

from mlcl.core.errors import UserError
from mlcl.core.files import atomic_directory, refuse_existing, write_json
from mlcl.core.progress import print_table, results


@dataclass(frozen=True)
class Config:
    """Settings of `mlcl corpus diff`."""

    before: str = field(metadata={"positional": True})
    """Corpus folder, the older one."""
    after: str = field(metadata={"positional": True})
    """Corpus folder, the newer one."""
    samples: int = 20
    """Rows that are shown of each kind of change, drawn at random."""
    out: str | None = None
    """Folder to make for diff.json and report.html; only the tables are printed when not given."""
    overwrite: bool = False
    """Replace OUT where it exists."""


def run(config: Config) -> Path | None:
    """Compare, print the tables, and write the report where one is asked for.

    Raises:
        UserError: a folder is no corpus, or the output exists.
    """
    from mlcl.corpus.compare import compare
    from mlcl.corpus.store import Corpus
    from mlcl.reports.diff_report import PARTS, rows_by, write_diff_report

    if config.samples < 0:
        raise UserError(f"samples is {config.samples}, it must be at least 0")
    if config.out is not None:
        refuse_existing(Path(config.out), config.overwrite)
    found = compare(Corpus.open(config.before), Corpus.open(config.after), config.samples).as_dict()
    header = [part for part, _ in PARTS]
    print_table("Languages (rows)", ["tag", *header], [_shown(row) for row in rows_by(found, "languages")])
    print_table("Origins (rows)", ["origin", *header], [_shown(row) for row in rows_by(found, "origins")])
    drops = [_shown((reason, *counts)) for reason, counts in found["drops"].items() if counts[0] != counts[1]]
    print_table("Dropped (texts), where it differs", ["reason", "before", "after"], drops)
    for part, heading in PARTS:
        if shown := found[part]["samples"][:5]:
            print_table(f"{heading}, for example", ["origin", "texts"], shown)
    pairs, mono = ({part: found[part][kind] for part, _ in PARTS} for kind in ("pairs", "mono"))
    results.print(
        f"{found['same']:,} rows are the same; {pairs['came']:,} pairs and {mono['came']:,} single sentences came, "
        f"{pairs['went']:,} and {mono['went']:,} went, {pairs['changed']:,} translations changed",
        soft_wrap=True,
    )
    if config.out is None:
        return None
    out = Path(config.out)
    with atomic_directory(out, config.overwrite) as folder:
        write_json(folder / "diff.json", found)
        write_diff_report(found, folder / "report.html", config.before, config.after)
    results.print(f"report: {escape(str(out / 'report.html'))}", soft_wrap=True)
    return out


def _shown(row: Sequence[Any]) -> tuple[str, ...]:
    return (row[0], *(f"{number:,}" for number in row[1:]))
