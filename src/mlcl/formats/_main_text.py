"""The main text of a web page, by trafilatura (Barbaresi 2021): menus, footers, advertising are left out and counted.

In: the bytes of a page. Out: the paragraphs of its main text, the language that its mark-up claims, and how many blocks
of text were left out.
"""

from __future__ import annotations

import logging
from functools import cache
from typing import Any, NamedTuple

from mlcl.core.errors import require

_BLOCKS = frozenset(
    "address article aside blockquote body br button caption center dd details div dl dt fieldset figcaption figure "
    "footer form h1 h2 h3 h4 h5 h6 header hr legend li main nav ol option p pre section select summary table tbody td "
    "tfoot th thead tr ul".split()
)
_SILENT = frozenset(["script", "style", "noscript", "template", "head", "svg", "math", "iframe"])


class MainText(NamedTuple):
    """What is in a page: paragraphs, the claimed language (any code, or empty), and blocks outside the main text."""

    paragraphs: list[str]
    language: str
    left_out: int


def main_text(page: bytes, charset: str = "") -> MainText | None:
    """The main text of a page; None where the bytes are no HTML.

    Args:
        page: The page as it came.
        charset: Encoding that the HTTP header claims; else the page's own `<meta>` or a guess decides.

    Raises:
        UserError: the package `trafilatura` is not installed.
    """
    trafilatura = _trafilatura()
    tree = trafilatura.load_html(_decoded(page, charset))
    if tree is None:
        return None
    language = tree.get("lang") or tree.get("{http://www.w3.org/XML/1998/namespace}lang") or ""
    blocks = [block for part in _blocks(tree) if (block := " ".join(part.split()))]
    text = trafilatura.extract(tree, include_comments=False, include_tables=False) or ""
    paragraphs = [line.strip().removeprefix("- ") for line in text.split("\n") if line.strip()]
    flat = " ".join(" ".join(paragraphs).split())
    return MainText(paragraphs, language, sum(block not in flat for block in blocks))


@cache
def _trafilatura() -> Any:
    require("trafilatura", "web")
    import trafilatura

    logging.getLogger("trafilatura").setLevel(logging.CRITICAL)  # what it cannot read is counted by us
    return trafilatura


def _decoded(page: bytes, charset: str) -> bytes | str:
    try:
        return page.decode(charset) if charset else page
    except (UnicodeDecodeError, LookupError):
        return page


def _blocks(tree: Any) -> list[str]:
    """The text of each block-level element without that of the blocks inside it, in order."""
    parts: list[list[str]] = [[]]
    stack: list[tuple[Any, bool]] = [(tree, False)]
    while stack:
        element, is_left = stack.pop()
        name = element.tag if isinstance(element.tag, str) else ""
        if name in _BLOCKS:
            parts.append([])
        if is_left:
            parts[-1].append(element.tail or "")
            continue
        stack.append((element, True))
        if name and name not in _SILENT:
            parts[-1].append(element.text or "")
            stack.extend((child, False) for child in reversed(element))
    return ["".join(part) for part in parts]
