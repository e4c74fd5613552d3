"""Charts of a benchmark, as HTML and SVG without a script.

In: plain values. Out: HTML fragments. Labels are text of the page and marks are placed in per cent of the width, so
that a chart fits a telephone and a wide screen at the same size of letters; colours are those of the page, light or
dark.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape

_LANE = 15  # pixels of height for one model
STYLE = """
:root { --heat: #4c86f0; --grid: #e1e6ee;
  --m0: #2f5fd0; --m1: #d9731a; --m2: #2a9468; --m3: #b8478f; --m4: #7a6cc9; --m5: #7d8592 }
@media (prefers-color-scheme: dark) { :root { --heat: #2f63d6; --grid: #2b3342;
  --m0: #7ea6ff; --m1: #f5a35c; --m2: #5fcf9f; --m3: #ea8cc8; --m4: #b3a7f5; --m5: #a9b1bf } }
h3 { font-size: 15px; font-weight: 600; margin: 18px 0 6px } section { overflow-wrap: anywhere }
.tiles { display: flex; flex-wrap: wrap; gap: 10px; margin: 0 0 18px }
.tiles div { flex: 1 1 110px; background: var(--head); border-radius: 8px; padding: 10px 14px; color: var(--soft);
  font-size: 13px } .tiles b { display: block; font-size: 22px; line-height: 1.3; color: var(--ink); font-weight: 650 }
.legend { display: flex; flex-wrap: wrap; gap: 4px 20px; margin: 0 0 12px; font-size: 14px; color: var(--soft) }
.legend b { color: var(--ink); font-weight: 600 }
.key { display: inline-block; width: 10px; height: 10px; border-radius: 50%; margin-right: 7px }
figure.chart { text-align: left; margin: 0 0 14px } figure.chart figcaption { margin-top: 6px; max-width: 85ch }
.row { display: grid; grid-template-columns: minmax(9em, 27%) 1fr; gap: 16px; align-items: center;
  padding: 5px 10px 5px 0; border-top: 1px solid var(--line) } .row:first-child, .row.axis { border-top: 0 }
.row .what { font-size: 14px; line-height: 1.35 } .row small { display: block; color: var(--soft); font-size: 12.5px }
.row svg, .scatter svg { display: block; width: 100%; overflow: visible }
svg text { fill: var(--soft); font-size: 11.5px; font-variant-numeric: tabular-nums }
.grid { stroke: var(--grid) } .zero { stroke: var(--soft) } .aim { stroke: var(--soft); stroke-dasharray: 3 3 }
.scatters { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 300px), 1fr)); gap: 12px 30px }
.scatter h3 { font-size: 14px; margin: 0 0 8px; font-weight: 600 } .scatter { padding: 0 12px 4px 26px }
td.heat { background: color-mix(in oklab, var(--heat) calc(var(--v) * var(--v) * 90%), transparent); text-align: right;
  font-variant-numeric: tabular-nums; padding: 6px 10px; white-space: nowrap }
table.heat th:first-child, table.heat td:first-child { position: sticky; left: 0; background: var(--paper); z-index: 1;
  white-space: nowrap } table.heat thead th { z-index: 2; vertical-align: bottom;
  white-space: normal; overflow-wrap: normal; min-width: 5.5em } table.heat th + th { text-align: right }
table.heat thead th:first-child { z-index: 3; background: var(--head) }
table.heat td:first-child small { color: var(--soft) } tr.mean td { font-weight: 650 }
details { margin: 0 0 14px } details > .scroll, details > p { margin-top: 10px }
summary { cursor: pointer; color: var(--accent); font-size: 14px } summary b { font-weight: 600 }
.cards { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 430px), 1fr)); gap: 6px 26px }
.cards h3 { margin: 12px 0 2px } .cards .scroll { max-height: none }
.cards :is(th, td) + :is(th, td) { text-align: right }
.cards th { white-space: normal; overflow-wrap: normal }
.cards td:first-child { overflow-wrap: break-word; min-width: 9em }
@media (max-width: 640px) {
  .row { grid-template-columns: 1fr; gap: 3px; padding-right: 4px } .row small { display: inline; margin-left: 6px }
  .row.axis > :first-child { display: none } }
@media print { .scroll { max-height: none; overflow: visible } section { break-inside: avoid } }
"""


@dataclass(frozen=True)
class Mark:
    """One dot of a chart.

    Attributes:
        value: Where it stands.
        colour: CSS colour.
        low: Lower end of its whisker; None for none.
        high: Upper end.
        hollow: Draw a ring.
        title: What it says when pointed at.
    """

    value: float
    colour: str
    low: float | None = None
    high: float | None = None
    hollow: bool = False
    title: str = ""


@dataclass(frozen=True)
class Line:
    """One labelled line of a chart.

    Attributes:
        label: What it is about.
        note: In smaller letters.
        lanes: Lists of marks, one below the other.
        aim: Where a dashed line stands, such as chance; None for none.
        joined: Draw a line between the first two marks of a lane.
    """

    label: str
    note: str = ""
    lanes: Sequence[Sequence[Mark]] = field(default_factory=list)
    aim: float | None = None
    joined: bool = False


def colour(place: int) -> str:
    """The colour of model number `place`."""
    return f"var(--m{place % 6})"


def dots(lines: Sequence[Line], low: float, high: float, ticks: Sequence[float], alt: str, caption: str = "") -> str:
    """A chart of dots with whiskers, line by line.

    Args:
        lines: From top to bottom.
        low: Left end of the axis.
        high: Right end.
        ticks: Where grid lines stand.
        alt: What the chart shows, for those who do not see it.
        caption: How to read it.
    """

    def x(value: float) -> str:
        return f"{100 * (min(max(value, low), high) - low) / (high - low):.2f}%"

    rows = []
    for line in lines:
        height = _LANE * max(1, len(line.lanes)) + 6
        parts = [_rule(x(tick), "zero" if tick == 0 and low < 0 else "grid") for tick in ticks]
        parts += [_rule(x(line.aim), "aim")] if line.aim is not None else []
        for place, marks in enumerate(line.lanes):
            y = 3 + _LANE * (place + 0.5)
            if line.joined and len(marks) > 1:
                parts.append(_stroke(x(marks[0].value), x(marks[1].value), y, marks[0].colour, 2, 0.45))
            for mark in marks:
                if mark.low is not None and mark.high is not None:
                    parts.append(_stroke(x(mark.low), x(mark.high), y, mark.colour, 2, 0.55))
                fill = "var(--paper)" if mark.hollow else mark.colour
                parts.append(
                    f'<circle cx="{x(mark.value)}" cy="{y}" r="4.5" style="fill:{fill};stroke:{mark.colour};'
                    f'stroke-width:2"><title>{escape(mark.title)}</title></circle>'
                )
        rows.append(_row(line, "".join(parts), height))
    axis = "".join(_text(x(tick), 12, f"{tick:g}") for tick in ticks)
    return _chart(rows, axis, alt, caption)


def bars(lines: Sequence[tuple[str, Sequence[tuple[float, float, str, str]]]], alt: str, caption: str) -> str:
    """A chart of bars in two parts, one bar a model.

    Args:
        lines: Label -> per model (first part, second part, colour, text at its end).
        alt: What the chart shows.
        caption: How to read it.
    """
    top = max((first + rest for _, bars_ in lines for first, rest, *_ in bars_), default=1.0) or 1.0
    scale = 78 / top  # leaves room for the text at the end of the longest
    rows = []
    for label, bars_ in lines:
        parts = []
        for place, (first, rest, shade, text) in enumerate(bars_):
            y, middle, end = 3 + _LANE * place, scale * first, scale * (first + rest)
            parts.append(f'<rect x="0" y="{y + 2}" width="{middle:.2f}%" height="10" rx="2" style="fill:{shade}"/>')
            parts.append(
                f'<rect x="{middle:.2f}%" y="{y + 2}" width="{end - middle:.2f}%" height="10" rx="2" '
                f'style="fill:{shade};opacity:.35"/>'
            )
            parts.append(f'<text x="{end:.2f}%" y="{y + 11}" dx="6">{escape(text)}</text>')
        rows.append(_row(Line(label), "".join(parts), _LANE * max(1, len(bars_)) + 6))
    return _chart(rows, "", alt, caption)


def scatters(
    panels: Sequence[tuple[str, str, Sequence[tuple[float, float, str]]]],
    alt: str, caption: str, *, x_label: str, y_label: str, y_top: float = 100.0,
) -> str:  # fmt: skip
    """Scatter plots side by side, with the same axes.

    Args:
        panels: (title, colour, points); a point is (x, y, name).
        alt: What the plots show.
        caption: How to read them.
        x_label: What x is.
        y_label: What y is.
        y_top: Upper end of y, which begins at 0.
    """
    high = 1.04 * max((x for _, _, points in panels for x, _, _ in points), default=1.0)
    step = next(step for step in (0.5, 1, 2, 5, 10, 25, 50, 100) if high / step <= 6 or step == 100)
    ticks = [tick * step for tick in range(int(high / step) + 1)]
    height = 240
    shown = []
    for title, shade, points in panels:
        parts = []
        for tick in ticks:
            at = f"{100 * tick / high:.2f}%"
            parts += [_rule(at, "grid", str(height)), _text(at, height + 15, f"{tick:g}")]
        for share in (0, 0.25, 0.5, 0.75, 1):
            y = height * (1 - share)
            parts.append(f'<line x1="0" x2="100%" y1="{y}" y2="{y}" class="grid"/>')
            parts.append(f'<text x="-6" y="{y + 4}" text-anchor="end">{share * y_top:g}</text>')
        named: list[tuple[float, float]] = []
        for x, y, name in sorted(points, reverse=True):
            left, down = f"{100 * x / high:.2f}%", height * (1 - min(max(y / y_top, 0), 1))
            parts.append(
                f'<circle cx="{left}" cy="{down:.1f}" r="3.5" style="fill:{shade};fill-opacity:.7">'
                f"<title>{escape(name)}: {x:.2f}, {y:.1f}</title></circle>"
            )
            free = all(abs(down - other_y) > 14 or x < 0.7 * other_x for other_x, other_y in named)
            if free and len(named) < 3:
                named.append((x, down))
                parts.append(f'<text x="{left}" y="{down - 7:.1f}" text-anchor="end">{escape(name)}</text>')
        parts.append(f'<text x="100%" y="{height + 32}" text-anchor="end">{escape(x_label)}</text>')
        parts.append(f'<text x="0" y="-8" text-anchor="start">{escape(y_label)}</text>')
        shown.append(
            f'<div class="scatter"><h3><i class="key" style="background:{shade}"></i>{escape(title)}</h3>'
            f'<svg style="height:{height + 54}px"><g transform="translate(0 18)">{"".join(parts)}</g></svg></div>'
        )
    return _figure(f'<div class="scatters">{"".join(shown)}</div>', alt, caption)


def heat_table(
    header: Sequence[str],
    heads: Sequence[tuple[str, str, bool]],
    cells: Sequence[Sequence[tuple[float, float] | None]],
    means: Sequence[tuple[float, float] | None],
) -> str:
    """A table whose cells are coloured by their value.

    Args:
        header: Names of the columns (C), after that of the first, `language`.
        heads: (tag, name, whether starred) of each row (R).
        cells: (R, C) (value shown, strength of the colour in [0, 1]); None is empty.
        means: (C) of all rows, shown first.
    """
    top = "".join(f"<th>{escape(name)}</th>" for name in ("language", *header))
    lines = [f'<tr class="mean"><td>mean</td>{"".join(map(_heat_cell, means))}</tr>']
    for (tag, name, star), row in zip(heads, cells, strict=True):
        first = f"<td>{escape(name)}{' *' if star else ''} <small>{escape(tag)}</small></td>"
        lines.append(f"<tr>{first}{''.join(map(_heat_cell, row))}</tr>")
    body = "\n".join(lines)
    table = f'<table class="heat"><thead><tr>{top}</tr></thead>\n<tbody>\n{body}\n</tbody></table>'
    return f'<div class="scroll">{table}</div>'


def _heat_cell(cell: tuple[float, float] | None) -> str:
    return "<td></td>" if cell is None else f'<td class="heat" style="--v:{cell[1]:.3f}">{cell[0]:.1f}</td>'


def legend(entries: Sequence[tuple[str, str, str]]) -> str:
    """Colours and what they stand for: (colour, name, note)."""
    items = "".join(
        f'<span><i class="key" style="background:{shade}"></i><b>{escape(name)}</b> {escape(note)}</span>'
        for shade, name, note in entries
    )
    return f'<div class="legend">{items}</div>'


def tiles(entries: Mapping[str, str]) -> str:
    """Large numbers with what they count: what -> number."""
    return (
        '<div class="tiles">'
        + "".join(f"<div><b>{escape(number)}</b>{escape(what)}</div>" for what, number in entries.items())
        + "</div>"
    )


def details(summary: str, body: str, is_open: bool = False) -> str:
    """A part that unfolds."""
    return f"<details{' open' if is_open else ''}><summary>{escape(summary)}</summary>{body}</details>"


def _row(line: Line, marks: str, height: float) -> str:
    note = f"<small>{escape(line.note)}</small>" if line.note else ""
    return (
        f'<div class="row"><div class="what">{escape(line.label)}{note}</div>'
        f'<svg style="height:{height}px">{marks}</svg></div>'
    )


def _chart(rows: Sequence[str], axis: str, alt: str, caption: str) -> str:
    scale = f'<div class="row axis"><div></div><svg style="height:16px">{axis}</svg></div>' if axis else ""
    return _figure("".join(rows) + scale, alt, caption)


def _figure(body: str, alt: str, caption: str) -> str:
    """All parts of a chart are one image to a screen reader, which reads `alt`; the numbers are in a table near it."""
    below = f"<figcaption>{escape(caption)}</figcaption>" if caption else ""
    return f'<figure class="chart"><div role="img" aria-label="{escape(alt)}">{body}</div>{below}</figure>'


def _rule(x: str, kind: str, height: str = "100%") -> str:
    return f'<line x1="{x}" x2="{x}" y1="0" y2="{height}" class="{kind}"/>'


def _stroke(left: str, right: str, y: float, shade: str, width: int, opacity: float) -> str:
    return (
        f'<line x1="{left}" x2="{right}" y1="{y}" y2="{y}" '
        f'style="stroke:{shade};stroke-width:{width};opacity:{opacity}"/>'
    )


def _text(x: str, y: float, text: str) -> str:
    return f'<text x="{x}" y="{y}" text-anchor="middle">{escape(text)}</text>'
