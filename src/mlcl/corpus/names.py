"""Do two translations name the same people, places and products? Judged by spelling alone.

In: two texts with their languages. Out: the share of names of one that stand in the other too, or None where the texts
cannot tell. A name is a capitalised word inside a sentence or, in a text of another script, a word in Latin letters.
Names are compared by their first four letters without accents, because endings are inflected (London, Londýna). Many
names are translated (Germany, Allemagne), so only a small share can be asked for.
"""

from __future__ import annotations

import re
import unicodedata

from mlcl.core.languages import base, script

FEWEST = 2
"""Names that a text needs to be judged by."""

_PREFIX = 4
_WORD = re.compile(rf"[^\W\d_]{{{_PREFIX},}}")
_LATIN = re.compile(rf"[A-Za-z\u00c0-\u024f]{{{_PREFIX},}}")
_STARTS = frozenset(".!?…:;\"'“”„«»‘’()[]-–—•*/|¡¿")  # what may stand before the first word of a sentence
_CASED = frozenset({"Latn", "Cyrl", "Grek", "Armn"})
_CAPITAL_NOUNS = frozenset({"de", "lb", "gsw", "nds", "bar", "ksh", "pdc"})  # there a capital says nothing


def shared_names(first: str, first_lang: str, other: str, other_lang: str) -> float | None:
    """Share, in [0, 1], of the names of a text that the other has; the better of both directions, None for too few."""
    shares = [
        sum(name in words for name in names) / len(names)
        for names, words in (
            (_names(first, first_lang, other_lang), _prefixes(other)),
            (_names(other, other_lang, first_lang), _prefixes(first)),
        )
        if len(names) >= FEWEST
    ]
    return max(shares, default=None)


def _names(text: str, lang: str, beside: str) -> set[str]:
    """The names of a text that a translation into `beside` should keep."""
    here, there = script(lang), script(beside)
    if here == there and here in _CASED and base(lang).partition("-")[0] not in _CAPITAL_NOUNS:
        return {
            _folded(match[0])
            for match in _WORD.finditer(text)
            if match[0][0].isupper() and not _starts_sentence(text, match.start())
        }
    if here != "Latn" and there == "Latn":
        return {_folded(word) for word in _LATIN.findall(text)}
    return set()


def _starts_sentence(text: str, place: int) -> bool:
    before = text[:place].rstrip()
    return not before or before[-1] in _STARTS


def _prefixes(text: str) -> set[str]:
    return {_folded(word) for word in _WORD.findall(text)}


def _folded(word: str) -> str:
    """The first letters, without accents and case."""
    letters = "".join(c for c in unicodedata.normalize("NFKD", word) if not unicodedata.combining(c))
    return letters.casefold()[:_PREFIX]
