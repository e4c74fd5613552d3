"""Self-contained HTML reports: no script, no file beside them, every text escaped.

In: plain values and matplotlib figures. Out: HTML fragments (`str`) and the page made of them.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Sequence
from html import escape
from itertools import zip_longest
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_CSS = """
:root { color-scheme: light dark; --ink: #1d2330; --soft: #5d6678; --line: #e3e7ee; --paper: #fff; --accent: #2f5fd0;
  --back: #f4f6f9; --head: #eef2f7; --hover: #f7f9fc }
@media (prefers-color-scheme: dark) { :root { --ink: #e4e8f0; --soft: #98a2b5; --line: #2b3342; --paper: #171c26;
  --accent: #8db0ff; --back: #0f131a; --head: #202735; --hover: #1c2330 } }
* { box-sizing: border-box }
body { margin: 0; background: var(--back); color: var(--ink);
  font: 15px/1.55 system-ui, "Segoe UI", Roboto, sans-serif }
header { background: var(--paper); border-bottom: 1px solid var(--line); padding: 28px 0 18px }
header > :is(h1, p, nav), main { max-width: 1160px; margin: 0 auto; padding: 0 24px }
h1 { font-size: 26px; letter-spacing: -.01em } h2 { font-size: 18px; margin: 0 0 12px }
header > nav { display: flex; flex-wrap: wrap; line-height: 1.9; margin-top: 10px; font-size: 14px }
nav a { color: var(--accent); text-decoration: none; margin-right: 16px }
section { background: var(--paper); border: 1px solid var(--line); border-radius: 10px; padding: 20px 24px;
  margin: 20px 0 }
p { margin: 0 0 12px; max-width: 80ch } .note { color: var(--soft); font-size: 13.5px }
.scroll { overflow: auto; max-height: 34em; border: 1px solid var(--line); border-radius: 8px; margin: 0 0 12px }
table { border-collapse: collapse; width: 100%; font-size: 14px }
th { position: sticky; top: 0; background: var(--head); text-align: left; font-weight: 600; white-space: nowrap }
th, td { padding: 6px 12px; border-bottom: 1px solid var(--line); vertical-align: top; overflow-wrap: anywhere }
tr:last-child td { border-bottom: 0 } tbody tr:hover { background: var(--hover) }
.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap }
figure { margin: 0 0 12px; text-align: center } figure img { max-width: 100%; height: auto; border-radius: 6px }
figcaption { color: var(--soft); font-size: 13.5px }
@media (max-width: 640px) { header > :is(h1, p, nav), main { padding-left: 12px; padding-right: 12px }
  section { padding: 16px 14px } th, td { padding: 5px 8px } }
"""


def page(title: str, sections: Iterable[tuple[str, str]], subtitle: str = "", style: str = "") -> str:
    """A whole HTML document.

    Args:
        title: Heading of the page (plain text).
        sections: `(heading, body)`; the heading is plain text, the body is HTML made by the functions below.
        subtitle: A line under the title (plain text).
        style: Further rules of style (CSS).
    """
    sections = list(sections)
    links = "".join(f'<a href="#s{n}">{escape(heading)}</a>' for n, (heading, _) in enumerate(sections))
    bodies = "\n".join(
        f'<section id="s{n}"><h2>{escape(heading)}</h2>\n{body}\n</section>'
        for n, (heading, body) in enumerate(sections)
    )
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{_CSS}{style}</style>\n</head>\n<body>\n"
        f"<header><h1>{escape(title)}</h1>"
        f"{f'<p class=note>{escape(subtitle)}</p>' if subtitle else ''}<nav>{links}</nav></header>\n"
        f"<main>\n{bodies}\n</main>\n</body>\n</html>\n"
    )


def paragraph(text: str, note: bool = False) -> str:
    """A paragraph of plain text; `note` prints it small and grey."""
    return f"<p{' class=note' if note else ''}>{escape(text)}</p>"


def table(header: Sequence[str], rows: Iterable[Sequence[Any]], digits: int = 1) -> str:
    """A table. Texts are escaped; numbers are right-aligned, floats rounded to `digits`; None is an empty cell.

    The name of a column that holds numbers alone stands above them, at the right.
    """
    rows = list(rows)
    right = {place for place, column in enumerate(zip_longest(*rows)) if _holds_numbers(column)}
    head = "".join(
        f"<th{' class=number' if place in right else ''}>{escape(str(name))}</th>" for place, name in enumerate(header)
    )
    body = "\n".join(f"<tr>{''.join(_cell(value, digits) for value in row)}</tr>" for row in rows)
    return f'<div class="scroll"><table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody>\n</table></div>'


def _is_number(value: Any) -> bool:
    """Whether it is an int, a float or a scalar of numpy."""
    return hasattr(value, "__float__") and not isinstance(value, bool)


def _holds_numbers(column: Sequence[Any]) -> bool:
    filled = [value for value in column if value is not None and value != ""]
    return bool(filled) and all(map(_is_number, filled))


def _cell(value: Any, digits: int) -> str:
    if value is None:
        return "<td></td>"
    if isinstance(value, bool):
        return f"<td>{'yes' if value else 'no'}</td>"
    if _is_number(value):
        shown = f"{value:,}" if hasattr(value, "__index__") else f"{value:,.{digits}f}"
        return f'<td class="number">{shown}</td>'
    return f'<td dir="auto">{escape(str(value))}</td>'


def figure(fig: Figure, caption: str = "", kind: Literal["png", "svg"] = "png") -> str:
    """A matplotlib figure, embedded as data; `svg` is sharper, `png` smaller for figures with many points."""
    buffer = io.BytesIO()
    fig.savefig(buffer, format=kind, dpi=144, bbox_inches="tight", facecolor="white")
    data = base64.b64encode(buffer.getvalue()).decode("ascii")
    mime = "image/svg+xml" if kind == "svg" else "image/png"
    text = f"<figcaption>{escape(caption)}</figcaption>" if caption else ""
    return f'<figure><img src="data:{mime};base64,{data}" alt="{escape(caption)}">{text}</figure>'
