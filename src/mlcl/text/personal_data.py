"""Personal data in a text: e-mail addresses, telephone numbers, bank accounts, payment cards, IP addresses.

In: a text. Out: what was found and where, or the text with a placeholder in its place. Patterns propose; accounts and
cards must also pass their checksums (ISO 13616, ISO/IEC 7812), addresses must be addresses. Telephone numbers are found
where they are written internationally (+49 30 123456) or are introduced as such; a bare run of digits is a number.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterator
from typing import NamedTuple


class Found(NamedTuple):
    """A piece of personal data: its kind, and where it starts and ends in the text."""

    kind: str
    start: int
    end: int


def find(text: str) -> list[Found]:
    """All pieces, in their order; none overlaps another."""
    if not _HINT.search(text):
        return []
    found: list[Found] = []
    for kind, pattern, holds in _PATTERNS:
        for match in pattern.finditer(text):
            start, end = match.span("data")
            if holds(match["data"]) and not any(start < other.end and other.start < end for other in found):
                found.append(Found(kind, start, end))
    return sorted(found, key=lambda piece: piece.start)


def mask(text: str) -> str:
    """The text with `<EMAIL>`, `<PHONE>`, `<IBAN>`, `<CARD>` or `<IP>` for each piece; idempotent."""
    return "".join(_masked(text))


def _masked(text: str) -> Iterator[str]:
    last = 0
    for kind, start, end in find(text):
        yield text[last:start]
        yield f"<{kind.upper()}>"
        last = end
    yield text[last:]


def _is_iban(text: str) -> bool:
    """Whether the check digits are right: the rearranged number is 1 modulo 97."""
    compact = re.sub(r"\s", "", text).upper()
    return 15 <= len(compact) <= 34 and int("".join(str(int(c, 36)) for c in compact[4:] + compact[:4])) % 97 == 1


def _is_card(text: str) -> bool:
    """Whether the last digit is that of Luhn's sum."""
    digits = [int(c) for c in text if c.isdigit()]
    if not 13 <= len(digits) <= 19 or len(set(digits)) == 1:
        return False
    doubled = (d if place % 2 == 0 else d * 2 - 9 * (d > 4) for place, d in enumerate(reversed(digits)))
    return sum(doubled) % 10 == 0


def _is_ip(text: str) -> bool:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return False
    return not (address.is_loopback or address.is_unspecified)


def _is_phone(text: str) -> bool:
    return 7 <= sum(c.isdigit() for c in text) <= 15


def _always(text: str) -> bool:
    return True


_HINT = re.compile(r"@|[0-9]{2}|::|:[0-9a-fA-F]{1,4}:")  # without one of these there is nothing to find
_DIGITS = r"(?:[ ()./-]{0,2}[0-9]){6,14}"  # the rest of a telephone number
_PHONE_WORDS = "tel|phone|telefon|tél|teléfono|fax|mobile|call"
_KINDS: tuple[tuple[str, str, Callable[[str], bool]], ...] = (
    ("email", r"(?P<data>[\w.+-]{1,64}@(?:[\w-]{1,63}\.){1,8}[^\W\d_]{2,24})\b", _always),
    ("iban", r"\b(?P<data>[A-Z]{2}[0-9]{2}(?: ?[0-9A-Z]{4}){2,7}(?: ?[0-9A-Z]{1,3})?)\b", _is_iban),
    ("card", r"(?<![\d.,-])(?P<data>[3-6][0-9]{3}(?:[ -]?[0-9]{4}){2}[ -]?[0-9]{1,7})(?![\d.,-]\d)", _is_card),
    ("ip", r"(?<![\w.:])(?P<data>(?:[0-9]{1,3}\.){3}[0-9]{1,3})(?![\w.]\w)", _is_ip),
    ("ip", r"(?<![\w:.])(?P<data>(?:[0-9a-fA-F]{0,4}:){2,7}[0-9a-fA-F]{1,4})(?![\w:])", _is_ip),
    ("phone", rf"(?<![\w+])(?<!\d )(?P<data>(?:\+|00)[1-9]{_DIGITS})(?!\d)", _is_phone),
    ("phone", rf"(?i)\b(?:{_PHONE_WORDS})\b[.:]? ?(?P<data>\(?[0-9]{_DIGITS})(?!\d)", _is_phone),
)
_PATTERNS = tuple((kind, re.compile(pattern), holds) for kind, pattern, holds in _KINDS)
KINDS = tuple(dict.fromkeys(kind for kind, _, _ in _KINDS))
"""Kinds of personal data; `mask` leaves `<KIND>` in capitals."""
