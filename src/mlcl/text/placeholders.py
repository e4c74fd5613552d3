"""Placeholders and mark-up in program messages: text in, the same text with each of them replaced by one neutral sign.

A message and its translation share `%(count)d` or `<a href="...">` letter by letter, which lets string overlap alone
find the translation. Evaluation on messages therefore looks at masked text.
"""

from __future__ import annotations

import re

MASK = "…"

_PLACEHOLDER = re.compile(
    r"""
      %\([\w.\-]+\)[#0\-+]*[\d.]*[a-zA-Z]      # %(name)s
    | %[#0\-+]*[\d.]*[sdifrxc](?![a-zA-Z])     # %s, %5.1f; not the percent sign of "50% discount"
    | \{\{.*?\}\} | \{%.*?%\} | \{[^{}\s]*\}   # {{ value }}, {% tag %}, {name!r}
    | </?[a-zA-Z][^<>]*>                       # <b>, </a>, <a href="...">
    | &(?:\#\d+|\#x[0-9a-fA-F]+|[a-zA-Z]+);    # &nbsp;
    | https?://[^\s<>"']+ | \bwww\.[^\s<>"']+ | [\w.+\-]+@[\w\-]+\.[\w.\-]+
    """,
    re.VERBOSE,
)
_REPEATED = re.compile(rf"{MASK}(?:\s*{MASK})+")


def mask_placeholders(text: str) -> str:
    """Replace format fields, template tags, HTML tags and entities, addresses by `…`; spaces are put in order.

    >>> mask_placeholders('Delete the <b>%(name)s</b> of {user}?')
    'Delete the … of …?'
    """
    return " ".join(_REPEATED.sub(MASK, _PLACEHOLDER.sub(MASK, text)).split())
