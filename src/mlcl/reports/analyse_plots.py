"""Curves over the steps of a run, several runs in one panel, as HTML and SVG without a script.

In: points by run. Out: HTML fragments in the style of `benchmark_plots` (its `STYLE` belongs to the page). Letters are
text of the page and stay their size; only the curve itself is stretched.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from statistics import fmean

from mlcl.reports.analyse_run import Points
from mlcl.reports.benchmark_plots import colour

_HEIGHT = 150  # pixels of a panel
_MOST = 240  # points of one curve; more are averaged
STYLE = """
.panels { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 300px), 1fr)); gap: 16px 34px }
.panel { padding: 0 8px 0 44px; min-width: 0 } .panel h3 { font-size: 14px; margin: 0 0 8px -44px; font-weight: 600 }
.panel svg { display: block; width: 100%; overflow: visible } .panel svg svg { overflow: hidden }
.panel path { fill: none; stroke-width: 1.8; vector-effect: non-scaling-stroke; stroke-linejoin: round }
.finding { border-left: 3px solid var(--m1); padding: 2px 0 2px 14px; margin: 0 0 16px }
.finding.fine { border-left-color: var(--m2) } .finding p { margin: 0 0 4px } .finding b { font-weight: 650 }
td:first-child { min-width: 7em }
"""


@dataclass(frozen=True)
class Curve:
    """One run in a panel."""

    run: str
    points: Points
    place: int
    """Number of the run, which decides its colour."""


def panel(title: str, curves: Sequence[Curve], *, floor: float | None = None) -> str:
    """One small chart: a value over the steps, a curve for each run.

    Args:
        title: What the value is.
        curves: At least one point in all.
        floor: A value that the axis must show, such as 0; None fits the data.
    """
    values = [value for curve in curves for _, value in curve.points]
    low, high = min(values), max(values)
    low = low if floor is None else min(low, floor)
    ticks = _ticks(low, high)
    low, high = min(low, ticks[0]), max(high, ticks[-1])
    last = max(step for curve in curves for step, _ in curve.points)
    first = min(0, *(step for curve in curves for step, _ in curve.points))
    parts = []
    for tick in ticks:
        y = _HEIGHT * (1 - (tick - low) / (high - low))
        parts.append(f'<line x1="0" x2="100%" y1="{y:.1f}" y2="{y:.1f}" class="grid"/>')
        parts.append(f'<text x="-7" y="{y + 4:.1f}" text-anchor="end">{_short(tick)}</text>')
    parts.append(f'<text x="0" y="{_HEIGHT + 17}" text-anchor="start">{first:,}</text>')
    parts.append(f'<text x="100%" y="{_HEIGHT + 17}" text-anchor="end">step {last:,}</text>')
    lines = []
    for curve in curves:
        points = thinned(curve.points)
        if not points:
            continue
        at = [
            f"{100 * (step - first) / max(last - first, 1):.2f} {100 * (high - value) / (high - low):.2f}"
            for step, value in points
        ]
        at = at if len(at) > 1 else at * 2  # a single point: a line of no length, which round ends show
        said = f"{curve.run}: {_short(points[-1][1])} at step {curve.points[-1][0]:,}"
        lines.append(
            f'<path d="M{" L".join(at)}" style="stroke:{colour(curve.place)}" stroke-linecap="round">'
            f"<title>{escape(said)}</title></path>"
        )
    inner = (
        f'<svg x="0" y="-3" width="100%" height="{_HEIGHT + 6}" viewBox="0 -2 100 104" preserveAspectRatio="none">'
        f"{''.join(lines)}</svg>"
    )
    return (
        f'<div class="panel"><h3>{escape(title)}</h3><svg style="height:{_HEIGHT + 24}px">'
        f'<g transform="translate(0 4)">{"".join(parts)}{inner}</g></svg></div>'
    )


def panels(drawn: Sequence[str], alt: str, caption: str = "") -> str:
    """Panels side by side, as one image to a screen reader; the numbers are in a table near it."""
    below = f"<figcaption>{escape(caption)}</figcaption>" if caption else ""
    body = f'<div class="panels">{"".join(drawn)}</div>'
    return f'<figure class="chart"><div role="img" aria-label="{escape(alt)}">{body}</div>{below}</figure>'


def thinned(points: Points, most: int = _MOST) -> Points:
    """Neighbouring points averaged until there are at most so many; the last step stays the last."""
    size = math.ceil(len(points) / most)
    if size <= 1:
        return points
    groups = [points[start : start + size] for start in range(0, len(points), size)]
    return [(group[-1][0], fmean(value for _, value in group)) for group in groups]


def _ticks(low: float, high: float) -> list[float]:
    """Two to five round numbers that reach from the lowest to the highest value."""
    size = max(abs(high), abs(low))
    if high - low <= 1e-9 * size or size < 1e-100:  # one value: room around it
        room = 0.5 * size if size >= 1e-100 else 0.5
        low, high = low - room, high + room
    raw = (high - low) / 3
    unit = 10 ** math.floor(math.log10(raw))
    step = next(unit * factor for factor in (1, 2, 2.5, 5, 10) if unit * factor >= raw)
    start, stop = math.floor(low / step), math.ceil(high / step)
    return [number * step for number in range(start, stop + 1)]


def _short(value: float) -> str:
    """A number in few letters: 12,300 as 12.3k."""
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:.4g}{letter}"
    return f"{value:.3g}" if value else "0"
