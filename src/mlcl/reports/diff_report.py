"""The HTML report of two corpora: what came, went and changed.

In: the difference, as `corpus.compare` gives it for JSON. Out: one self-contained HTML file.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mlcl.core.languages import name
from mlcl.reports import html

PARTS = (("came", "Came"), ("went", "Went"), ("changed", "Changed translations"))


def write_diff_report(difference: Mapping[str, Any], path: Path, before: str, after: str) -> None:
    """Write the report of what changed between two corpora.

    Args:
        difference: `same`, the parts `came`, `went` and `changed`, `drops` and `licences`.
        path: The HTML file.
        before: What to call the first corpus.
        after: What to call the second.
    """
    counts = ", ".join(
        f"{difference[part]['pairs']:,} pairs and {difference[part]['mono']:,} single sentences {part}"
        for part, _ in PARTS[:2]
    )
    subtitle = (
        f"From {before} to {after}: {difference['same']:,} rows are the same, {counts}, "
        f"{difference['changed']['pairs']:,} pairs have another translation"
    )
    sections = [("Languages", _by(difference, "languages")), ("Origins", _by(difference, "origins"))]
    sections += [("Dropped", _drops(difference["drops"]))]
    if difference["licences"]:
        rows = [(origin, *pair) for origin, pair in difference["licences"].items()]
        sections.append(("Licences that differ", html.table(["origin", "before", "after"], rows)))
    for part, heading in PARTS:
        if samples := difference[part]["samples"]:
            sections.append((f"{heading}: samples", html.table(["origin", "texts"], samples)))
    path.write_text(html.page("Two corpora", sections, subtitle), encoding="utf-8")


def rows_by(difference: Mapping[str, Any], what: str) -> list[tuple[str, int, int, int]]:
    """(language or origin, came, went, changed), most rows first."""
    names = {key for part, _ in PARTS for key in difference[part][what]}
    rows = [(key, *(difference[part][what].get(key, 0) for part, _ in PARTS)) for key in names]
    return sorted(rows, key=lambda row: (-sum(row[1:]), row[0]))


def _by(difference: Mapping[str, Any], what: str) -> str:
    rows = rows_by(difference, what)
    header = ["came", "went", "changed"]
    if what == "languages":
        body = [(tag, name(tag), *counts) for tag, *counts in rows]
        return html.paragraph("Rows with the language on a side.") + html.table(["tag", "language", *header], body)
    return html.table(["origin", *header], rows)


def _drops(drops: Mapping[str, tuple[int, int]]) -> str:
    rows = [(reason, before, after, after - before) for reason, (before, after) in drops.items()]
    return html.table(["reason", "texts before", "texts after", "difference"], rows)
