"""Further filters for untrusted text, each asleep until its setting wakes it.

As in `clean`: a function of a text, or of a text beside the record's first version, that gives the reason to drop it or
None. They cost more than those of `clean`, or need a package, or are wrong for some corpora: software messages are
allowed to repeat words, and translations of prices convert them.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlcl.core.errors import UserError, require
from mlcl.core.files import existing, read_text_lines
from mlcl.core.languages import base, canonical
from mlcl.corpus import names
from mlcl.text import language_id, lookalikes, personal_data

if TYPE_CHECKING:
    from mlcl.corpus.clean import CleanSettings, Version

USUAL: dict[str, tuple[dict[str, Any], str]] = {
    "wrong_language": ({"language_id": "py3langid"}, "py3langid"),
    "several_languages": ({"language_id": "py3langid", "one_language": True}, "py3langid"),
    "repetition": ({"min_distinct_words": 0.3}, ""),
    "with_personal_data": ({"personal_data": "drop"}, ""),
    "numbers_differ": ({"same_numbers": True}, ""),
    "links_differ": ({"same_links": True}, ""),
    "names_differ": ({"min_shared_names": 0.2}, ""),
}
"""Filter -> settings that wake it, at values to begin with, and the package it needs; a dry run shows what they do."""

_TELLING = 20  # characters from which on a text tells its language
_SHINGLE = 3
_MANY = 12  # words, or shingles of a text without spaces, from which on repetition is judged
_LINK = re.compile(r"(?:https?://|www\.)[^\s<>\"'，。、）)]+")
_NUMBER = re.compile(r"\d+")
_WORD = re.compile(r"\w+")


def check(settings: CleanSettings) -> None:
    """Refuse settings that cannot work, before any text is read.

    Raises:
        UserError: an unknown identifier, a missing package or file, or a value out of range.
    """
    for name in ("min_distinct_words", "min_language_confidence", "min_shared_names"):
        if not 0 <= getattr(settings, name) <= 1:
            raise UserError(f"clean.{name} is {getattr(settings, name)}, it must be in [0, 1]")
    if settings.length_deviations is not None and settings.length_deviations <= 0:
        raise UserError(
            f"clean.length_deviations is {settings.length_deviations}", remedy="give one above 0, such as 4"
        )
    if settings.boilerplate_documents is not None and settings.boilerplate_documents < 2:
        raise UserError(
            f"clean.boilerplate_documents is {settings.boilerplate_documents}", remedy="give 2 or more, such as 20"
        )
    if settings.one_language and settings.language_id is None:
        raise UserError("clean.one_language needs an identifier", remedy="set clean.language_id to py3langid")
    if settings.language_id is not None:
        language_id.identify(["-"], settings.language_id)
    if settings.fix_encoding:
        require("ftfy", "filters")
    for lang, path in settings.word_lists.items():
        _words(lang, path)


# --- repairs ---------------------------------------------------------------------------------------------------------


def repair(text: str, settings: CleanSettings) -> str:
    """The text with mojibake undone (`Ã¼` -> `ü`), words in one script and personal data masked, where asked for."""
    if settings.fix_encoding and not text.isascii():
        import ftfy

        text = ftfy.fix_encoding(text)
    if settings.fix_lookalikes:
        text = lookalikes.one_script(text)
    return personal_data.mask(text) if settings.personal_data == "mask" else text


# --- filters on one text ---------------------------------------------------------------------------------------------


def wrong_language(text: str, lang: str, settings: CleanSettings) -> str | None:
    """Texts that an identifier takes for another language than they are said to be, and is sure of it."""
    if settings.language_id is None or len(text) < _TELLING:
        return None
    if language_id.language_of(lang) not in language_id.languages(settings.language_id):
        return None  # it can only be wrong about a language that it does not know
    guess = language_id.identify([text], settings.language_id, settings.min_language_confidence)[0]
    return None if guess.tag is None or language_id.same_language(guess.tag, lang) else "wrong language"


def several_languages(text: str, lang: str, settings: CleanSettings) -> str | None:
    """Lines of 24 words or more that an identifier finds to be written in two languages or more."""
    if not settings.one_language or settings.language_id is None:
        return None
    return "several languages" if language_id.mixed(text, settings.language_id) else None


def repetition(text: str, lang: str, settings: CleanSettings) -> str | None:
    """Texts that say few different words many times; texts without spaces are judged by shingles of letters."""
    if settings.min_distinct_words <= 0:
        return None
    units = text.lower().split()
    if len(units) < _MANY and len(text) >= 3 * _MANY and len(text) > 12 * len(units):
        units = [text[start : start + _SHINGLE] for start in range(len(text) - _SHINGLE + 1)]
    few = len(units) >= _MANY and len(set(units)) < settings.min_distinct_words * len(units)
    return "repetition" if few else None


def listed_word(text: str, lang: str, settings: CleanSettings) -> str | None:
    """Texts with a word of the user's list for their language, or of the list `*` for all."""
    if not settings.word_lists:
        return None
    for key in (lang, base(lang), "*"):
        path = settings.word_lists.get(key)
        if path is not None and any(word in _words(key, path) for word in _WORD.findall(text.lower())):
            return "listed word"
    return None


def with_personal_data(text: str, lang: str, settings: CleanSettings) -> str | None:
    """Texts with e-mail addresses, telephone numbers, accounts, cards or IP addresses."""
    return "personal data" if settings.personal_data == "drop" and personal_data.find(text) else None


TEXT_FILTERS = (wrong_language, several_languages, repetition, listed_word, with_personal_data)


# --- filters on a text beside the first version ----------------------------------------------------------------------


def numbers_differ(first: Version, other: Version, settings: CleanSettings) -> str | None:
    """Translations that lack a number of two digits or more, or have another one; digits of all scripts are digits."""
    if not settings.same_numbers:
        return None
    return "numbers differ" if _numbers(first.text) != _numbers(other.text) else None


def links_differ(first: Version, other: Version, settings: CleanSettings) -> str | None:
    """Translations with another number of web addresses."""
    if not settings.same_links:
        return None
    return "links differ" if len(_LINK.findall(first.text)) != len(_LINK.findall(other.text)) else None


def names_differ(first: Version, other: Version, settings: CleanSettings) -> str | None:
    """Translations that share fewer of their names than asked for; see `names` for what it can judge."""
    if settings.min_shared_names <= 0:
        return None
    shared = names.shared_names(first.text, first.lang, other.text, other.lang)
    return "names differ" if shared is not None and shared < settings.min_shared_names else None


PAIR_FILTERS = (numbers_differ, links_differ, names_differ)


def _numbers(text: str) -> Counter[str]:
    """Numbers of two digits or more as ASCII digits. Separators are taken out: 1,000 and 1.000 and 1 000 are one."""
    plain = "".join(str(unicodedata.decimal(c)) if c.isdecimal() and not c.isascii() else c for c in text)
    plain = re.sub(r"(?<=\d)[.,'\u00a0\u202f ](?=\d{3}(?!\d))", "", plain)
    return Counter(number for number in _NUMBER.findall(plain) if len(number) > 1)


@cache
def _words(lang: str, path: str) -> frozenset[str]:
    """The words of a list, one a line, lower-cased; `#` starts a comment."""
    if lang != "*":
        canonical(lang)
    words = frozenset(
        word for line in read_text_lines(existing(Path(path))) if (word := line.partition("#")[0].strip().lower())
    )
    if not words:
        raise UserError("the list has no words", path=path, remedy="one word a line")
    return words
