"""When two texts count as the same: one normalised key, used wherever texts are compared.

In: any text. Out: its key (a string), the key's 64-bit hash, and a stable held-out split of texts by that hash.
"""

from __future__ import annotations

import hashlib
import re
import sys
import unicodedata
from functools import cache

_ASCII_IGNORED = {code: None for code in range(128) if unicodedata.category(chr(code))[0] in "PZC"}

_HIGH = re.compile("[\U00010000-\U0010ffff]")


@cache
def _ignored() -> tuple[re.Pattern[str], re.Pattern[str]]:
    """Runs of punctuation (P*), separators (Z*), control and format characters (Cc, Cf): below U+10000, and above.

    Two patterns, because `re` looks up a class below U+10000 in a table but tries the ranges above one by one.
    """
    ranges: list[list[int]] = []
    for code in range(sys.maxunicode + 1):
        category = unicodedata.category(chr(code))
        if category[0] in "PZ" or category in ("Cc", "Cf"):
            if ranges and ranges[-1][1] == code - 1:
                ranges[-1][1] = code
            else:
                ranges.append([code, code])
    classes = ["", ""]
    for first, last in ranges:
        classes[first > 0xFFFF] += f"{re.escape(chr(first))}-{re.escape(chr(last))}"
    return re.compile(f"[{classes[0]}]+"), re.compile(f"[{classes[1]}]+")


def _without_ignored(text: str) -> str:
    low, high = _ignored()
    text = low.sub("", text)
    return high.sub("", text) if _HIGH.search(text) else text


def normalise_key(text: str) -> str:
    """The form in which two texts are compared: NFKC, casefolded, without punctuation, spaces and control characters.

    Letters, marks, digits and symbols stay, so vowel signs and accents still tell words apart. The language is not
    part of the key. A text of punctuation alone has the empty key. Applying it twice changes nothing.

    >>> normalise_key("Don't  STOP!") == normalise_key("dont stop")
    True
    """
    if text.isascii():
        return text.lower().translate(_ASCII_IGNORED)
    # Casefolding can undo NFKC, so the Unicode standard (section 3.13, D145) applies NFKC on both sides of it. Taking
    # characters out can bring two others together that compose, hence the removal before the last step.
    folded = unicodedata.normalize("NFKC", _without_ignored(unicodedata.normalize("NFKC", text))).casefold()
    return unicodedata.normalize("NFKC", folded)


def key_hash(key: str) -> int:
    """64-bit hash of a key as a signed integer, the same on every machine and in every run."""
    digest = hashlib.blake2b(key.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "little", signed=True)


def is_held_out(text: str, percent: int = 10, salt: str = "held-out") -> bool:
    """Whether a text belongs to the held-out `percent` of all texts.

    It depends on nothing but the text's `normalise_key`, `percent` and `salt`: every occurrence of a text, in any file
    and in any order, falls on the same side, so a held-out message never enters training through another catalog.
    """
    return key_hash(f"{salt}\n{normalise_key(text)}") % 100 < percent
