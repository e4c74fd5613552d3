"""The HTML report of a corpus.

In: the manifest. Out: one self-contained HTML file: sentences per language, lengths, what was dropped and why.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from mlcl.core.languages import name
from mlcl.reports import html

_PAIRS, _MONO = "#2f5fd0", "#e08a2c"


def write_report(manifest: dict[str, Any], path: Path) -> None:
    """Write the report of a corpus from its manifest."""
    languages, rows = manifest["languages"], manifest["rows"]
    subtitle = (
        f"{manifest['texts']['kept']:,} texts in {len(languages)} languages; {rows['pairs']:,} pairs, "
        f"{rows['mono']:,} single sentences, {manifest['groups']:,} groups"
    )
    sections = [
        ("Languages", html.figure(_languages(languages)) + _language_table(manifest)),
        ("Lengths", html.figure(_lengths(manifest["lengths"]), "Length of a text in characters, all languages.")),
        ("Dropped", _dropped(manifest)),
        ("Origins", _origins(manifest)),
        ("Groups", _groups(manifest)),
    ]
    path.write_text(html.page("Corpus", sections, subtitle), encoding="utf-8")


def median_length(edges: list[int], counts: list[int]) -> int:
    """Left edge of the histogram bin that holds the median text."""
    seen, half = 0, sum(counts) / 2
    for edge, count in zip(edges, counts, strict=True):
        seen += count
        if seen >= half:
            return edge
    return edges[-1]


def _languages(languages: dict[str, dict[str, int]]) -> Figure:
    """Dots on a log scale, largest language first; wide enough for a hundred labels."""
    order = sorted(languages, key=lambda tag: -sum(languages[tag].values()))
    fig = Figure(figsize=(max(6.0, 0.13 * len(order) + 2), 3.8))
    axes = fig.add_subplot()
    for kind, label, colour in (("pairs", "in pairs", _PAIRS), ("mono", "alone", _MONO)):
        points = [(place, languages[tag][kind]) for place, tag in enumerate(order) if languages[tag][kind]]
        axes.plot(*zip(*points, strict=True) if points else ([], []), "o", ms=4, color=colour, label=label)
    axes.set_yscale("log")
    axes.set_ylabel("sentences")
    axes.set_xticks(range(len(order)), order, rotation=90, fontsize=7)
    axes.set_xlim(-1, len(order))
    axes.grid(axis="y", alpha=0.3)
    axes.legend(frameon=False)
    return fig


def _language_table(manifest: dict[str, Any]) -> str:
    edges, counts = manifest["lengths"]["edges"], manifest["lengths"]["counts"]
    rows = [
        (tag, name(tag), count["pairs"], count["mono"], f"from {median_length(edges, counts[tag])}")
        for tag, count in sorted(manifest["languages"].items(), key=lambda item: -sum(item[1].values()))
    ]
    return html.table(["tag", "language", "sentences in pairs", "sentences alone", "median length"], rows)


def _lengths(lengths: dict[str, Any]) -> Figure:
    edges = lengths["edges"]
    totals = [sum(counts[bin_] for counts in lengths["counts"].values()) for bin_ in range(len(edges))]
    labels = [f"{low}–{high - 1}" for low, high in zip(edges, edges[1:], strict=False)] + [f"{edges[-1]}+"]
    fig = Figure(figsize=(8, 3.2))
    axes = fig.add_subplot()
    axes.bar(range(len(edges)), totals, color=_PAIRS)
    axes.set_xticks(range(len(edges)), labels, rotation=45, ha="right", fontsize=8)
    axes.set_ylabel("texts")
    axes.grid(axis="y", alpha=0.3)
    return fig


def _dropped(manifest: dict[str, Any]) -> str:
    drops = manifest["drops"]
    texts = manifest["texts"]
    intro = html.paragraph(
        f"{texts['read']:,} texts were read, {texts['kept']:,} kept and {texts['dropped']:,} dropped."
    )
    if not drops:
        return intro
    by_reason = Counter[str]()
    for drop in drops:
        by_reason[drop["reason"]] += drop["texts"]
    fig = Figure(figsize=(8, 0.35 * len(by_reason) + 1))
    axes = fig.add_subplot()
    order = [reason for reason, _ in by_reason.most_common()][::-1]
    axes.barh(order, [by_reason[reason] for reason in order], color=_MONO)
    axes.set_xlabel("dropped texts")
    axes.grid(axis="x", alpha=0.3)
    rows = [(d["reason"], d["origin"], d["texts"], sample) for d in drops for sample in d["samples"][:3]]
    shown = html.table(["reason", "origin", "texts", "for example"], rows)
    skipped = [
        (source["origin"], source["path"], what, reason, count)
        for source in manifest["sources"]
        for what, key in (("malformed", "rows_bad"), ("left out on purpose", "rows_skipped"))
        for reason, count in source[key].items()
    ]
    unread = html.paragraph("Rows of the sources that gave no text:") if skipped else ""
    table = html.table(["origin", "path", "kind", "reason", "rows"], skipped) if skipped else ""
    return intro + html.figure(fig) + shown + unread + table


def _origins(manifest: dict[str, Any]) -> str:
    rows = [(origin, facts["licence"], facts["texts"]) for origin, facts in manifest["origins"].items()]
    return html.table(["origin", "licence", "texts kept"], rows)


def _groups(manifest: dict[str, Any]) -> str:
    largest = manifest["largest_group"]
    text = (
        f"{manifest['groups']:,} groups: all versions of a sentence, and sentences that share a normalised text. "
        f"The largest has {largest['texts']:,} texts, such as:"
    )
    return html.paragraph(text) + html.table(["text"], [(sample,) for sample in largest["samples"]])
