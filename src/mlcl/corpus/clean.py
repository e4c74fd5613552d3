"""Cleaning: a record in, its usable versions out, and for every version left out the reason.

`clean_text` repairs a text. The filters then judge it, each a small function that gives the reason to drop it or None:
`TEXT_FILTERS` look at one text, `PAIR_FILTERS` at a text beside the record's first version. A bad version leaves the
record; the others stay, as long as there are two. Adding a filter is a function and its place in one of the two tuples.
`quality` has those that a setting has to ask for.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from typing import Literal

import regex

from mlcl.core.languages import script, unicode_scripts
from mlcl.core.text import normalise_key
from mlcl.corpus import quality
from mlcl.text import language_id


@dataclass(frozen=True)
class CleanSettings:
    """Limits of the filters.

    Lengths are `width`s: characters, where a Han character counts as 3, kana and Hangul as 2.
    """

    min_length: int = 2
    """Shortest text."""
    max_length: int = 1000
    """Longest text."""
    max_length_ratio: float = 3.0
    """Largest ratio of the lengths of two translations, after length_slack is added to both."""
    length_slack: int = 15
    """Added to both lengths before their ratio is taken, because short texts vary more (`OK` and `Einverstanden`)."""
    max_markup_share: float = 0.5
    """Largest share of characters in mark-up, placeholders, code and URLs."""
    min_script_share: float = 0.2
    """Smallest share of letters, outside mark-up, in the script of the language."""
    language_id: language_id.Identifier | None = None
    """Identifier that must not be sure of another language: py3langid, fasttext or heliport; none when not given."""
    min_language_confidence: float = 0.8
    """How sure it has to be."""
    min_distinct_words: float = 0.0
    """Smallest share of different words in texts of 12 words or more; 0 = any."""
    same_numbers: bool = False
    """Drop translations whose numbers of two digits or more differ."""
    same_links: bool = False
    """Drop translations with another number of web addresses."""
    min_shared_names: float = 0.0
    """Smallest share of names that a translation keeps, where both are in one script or one has names in Latin letters
    between its own; 0 = any. Many names are translated: 0.2 drops those that share none."""
    one_language: bool = False
    """Drop lines that are written in several languages, by the identifier of language_id."""
    length_deviations: float | None = None
    """Robust standard deviations that the length of a translation may be away from what the corpus shows for its two
    languages, such as 4; not judged when not given, nor for two languages with fewer than 200 pairs."""
    boilerplate_documents: int | None = None
    """A text that stands in so many documents of one origin is boilerplate (menus, notices), such as 20; none is when
    not given. Texts without a document are not judged."""
    word_lists: dict[str, str] = field(default_factory=dict)
    """Language -> file of words, one a line, that a text must not have; `*` is for all languages."""
    personal_data: Literal["keep", "mask", "drop"] = "keep"
    """E-mail addresses, telephone numbers, accounts, cards, IP addresses: keep them, put <EMAIL> and so on in their
    place, or drop the text."""
    fix_encoding: bool = False
    """Undo mojibake such as `Ã¼` for `ü` (package ftfy)."""
    fix_lookalikes: bool = False
    """Write words that mix Latin with Cyrillic or Greek letters of the same look (`кaдa` with Latin a) in one
    script."""


@dataclass(frozen=True, slots=True)
class Version:
    """One cleaned text of a record: language tag, text, and `normalise_key` of the text."""

    lang: str
    text: str
    key: str


@dataclass(frozen=True, slots=True)
class Dropped:
    """A text that was left out, and why."""

    reason: str
    lang: str
    text: str


# --- repairing -------------------------------------------------------------------------------------------------------

# Control characters that are no white space, and invisible ones that only direct the layout. The joiners U+200C and
# U+200D stay: Persian and the Indic scripts are spelt with them.
_INVISIBLE = re.compile(
    "[\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\u00ad\u200b\u200e\u200f\u202a-\u202e\u2060\u2066-\u2069\ufeff]"
)


# Positional shapes of Arabic letters and their ligatures, as old software and PDF files write them.
_ARABIC_SHAPES = re.compile("[\ufb50-\ufdff\ufe70-\ufefc]")


def clean_text(text: str) -> str:
    """NFC, no control and invisible characters, Arabic shapes as letters, white space as one space; idempotent."""
    if not text.isprintable():  # quick and true of most texts; it is false for all that _INVISIBLE has
        text = _INVISIBLE.sub("", text)
    if not text.isascii():
        text = _ARABIC_SHAPES.sub(_arabic_letters, text)
        # NFC turns some spaces into others, and taking characters out above may let two others compose.
        text = unicodedata.normalize("NFC", text)
    return " ".join(text.split())


def _arabic_letters(match: re.Match[str]) -> str:
    """The letters of a shape (NFKC). A vowel sign written alone stands on a space there, which would cut the word."""
    return unicodedata.normalize("NFKC", match[0]).removeprefix(" ")


# --- filters on one text ---------------------------------------------------------------------------------------------

TextFilter = Callable[[str, str, CleanSettings], "str | None"]
"""(text, language tag, settings) -> reason to drop the text, or None."""

_BROKEN = re.compile("[\ufffd\ud800-\udfff]")
_WIDE = re.compile("[\u1100-\u11ff\u3040-\u30ff\u3130-\u318f\uac00-\ud7af]")  # kana and Hangul
_HAN = re.compile("[\u3005\u3007\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]")
_EAST_ASIAN = re.compile(f"{_WIDE.pattern}|{_HAN.pattern}")
_MARKUP = re.compile(
    r"""<[^<>]{1,300}>             # HTML and XML tags, reStructuredText link targets
    | https?://\S+ | www\.\S+
    | %\(\w*\)[a-zA-Z] | %[sdifrx]\b | \$\{\w*\}
    | \{\{[^{}]*\}\} | \{%[^{}]*%\} | \{[\w.!:\[\]-]*\}
    | :[\w:+.-]+:`[^`]*` | ``[^`]+``   # reStructuredText roles and code
    | &\#?\w+; | \|\w+\|""",
    re.VERBOSE,
)
_MARKUP_HINT = re.compile(r"[<{%`&|]|://|www\.")


def width(text: str) -> int:
    """Length in characters, with Han counted as 3, kana and Hangul as 2: about that of a Latin-script translation."""
    if text.isascii() or not _EAST_ASIAN.search(text):
        return len(text)
    return len(text) + 2 * _count(_HAN, text) + _count(_WIDE, text)


def broken_encoding(text: str, lang: str, settings: CleanSettings) -> str | None:
    """Replacement characters and lone surrogates: the text was decoded wrongly before it came to us."""
    return "broken encoding" if not text.isascii() and _BROKEN.search(text) else None


def no_letters(text: str, lang: str, settings: CleanSettings) -> str | None:
    """Numbers and punctuation alone have no language."""
    return None if any(map(str.isalpha, text)) else "no letters"


def length(text: str, lang: str, settings: CleanSettings) -> str | None:
    """Texts outside the length limits."""
    size = width(text)
    return "too short" if size < settings.min_length else "too long" if size > settings.max_length else None


def mostly_markup(text: str, lang: str, settings: CleanSettings) -> str | None:
    """Texts that are mark-up, placeholders, code or URLs for the most part."""
    if not _MARKUP_HINT.search(text):
        return None
    return "mostly mark-up" if _count(_MARKUP, text) > settings.max_markup_share * len(text) else None


def wrong_script(text: str, lang: str, settings: CleanSettings) -> str | None:
    """Texts whose letters are not in the script of their language; digits and punctuation do not count."""
    code = script(lang)
    if code == "Latn" and text.isascii():
        return None
    letters = script_letters(code)
    if letters is None or not letters.foreign.search(text):
        return None
    prose = _MARKUP.sub(" ", text) if _MARKUP_HINT.search(text) else text
    own, foreign = width("".join(letters.own.findall(prose))), _count(letters.foreign, prose)
    return "wrong script" if own < settings.min_script_share * (own + foreign) else None


TEXT_FILTERS: tuple[TextFilter, ...] = (
    broken_encoding, no_letters, length, mostly_markup, wrong_script, *quality.TEXT_FILTERS
)  # fmt: skip


# --- filters on a text beside the first version ----------------------------------------------------------------------

PairFilter = Callable[[Version, Version, CleanSettings], "str | None"]
"""(first version, other version, settings) -> reason to drop the other one, or None."""


def identical_sides(first: Version, other: Version, settings: CleanSettings) -> str | None:
    """A "translation" with the same normalised text: left untranslated, or a name."""
    return "identical sides" if first.key == other.key else None


def length_ratio(first: Version, other: Version, settings: CleanSettings) -> str | None:
    """Two texts of very different length are hardly translations of one another."""
    a, b = width(first.text) + settings.length_slack, width(other.text) + settings.length_slack
    return "length ratio" if max(a, b) > settings.max_length_ratio * min(a, b) else None


PAIR_FILTERS: tuple[PairFilter, ...] = (identical_sides, length_ratio, *quality.PAIR_FILTERS)


# --- records ---------------------------------------------------------------------------------------------------------


def versions(texts: list[tuple[str, str]], settings: CleanSettings) -> list[Version]:
    """The repaired versions of a record, with their keys."""
    repaired = [(lang, clean_text(quality.repair(text, settings))) for lang, text in texts]
    return [Version(lang, text, normalise_key(text)) for lang, text in repaired]


def filter_versions(candidates: list[Version], settings: CleanSettings) -> tuple[list[Version], list[Dropped]]:
    """Apply all filters to the versions of one record.

    Returns:
        The versions that stay (none where a record of several would be left with one), and what was dropped.
    """
    kept: list[Version] = []
    dropped: list[Dropped] = []
    for version in candidates:
        reason = _text_reason(version, settings) or (_pair_reason(kept[0], version, settings) if kept else None)
        if reason:
            dropped.append(Dropped(reason, version.lang, version.text))
        else:
            kept.append(version)
    if len(kept) == 1 < len(candidates):
        dropped.append(Dropped("no translation left", kept[0].lang, kept[0].text))
        return [], dropped
    return kept, dropped


def _text_reason(version: Version, settings: CleanSettings) -> str | None:
    for check in TEXT_FILTERS:
        if reason := check(version.text, version.lang, settings):
            return reason
    return None


def _pair_reason(first: Version, other: Version, settings: CleanSettings) -> str | None:
    for check in PAIR_FILTERS:
        if reason := check(first, other, settings):
            return reason
    return None


# --- scripts ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ScriptLetters:
    """Runs of letters of a script, and runs of letters of all others; letters common to all scripts are in neither.

    `foreign` has letters below U+10000 only: `re` looks those up in a table but tries the ranges above one by one.
    """

    own: re.Pattern[str]
    foreign: re.Pattern[str]


@cache
def script_letters(code: str) -> ScriptLetters | None:
    """Character classes for an ISO 15924 code; None for one that Unicode does not know as a script.

    The `regex` module knows the scripts, but plain `re` classes made from its answer match several times faster.
    """
    try:
        inside = "".join(rf"\p{{Script={part}}}" for part in unicode_scripts(code))
        own = regex.findall(f"[{inside}]", _letters())
    except regex.error:
        return None
    known = set(own)
    foreign = [letter for letter in _letters() if letter not in known and letter <= "\uffff"]
    return ScriptLetters(_runs(own), _runs(foreign)) if own else None


@cache
def _letters() -> str:
    """All letters that belong to one script."""
    return "".join(regex.findall(r"(?V1)[\p{L}--[\p{Script=Zyyy}\p{Script=Zinh}]]", "".join(map(chr, range(0x40000)))))


def _runs(letters: list[str]) -> re.Pattern[str]:
    """A pattern for runs of the given letters (ascending), as ranges of code points."""
    ranges: list[list[int]] = []
    for code in map(ord, letters):
        if ranges and ranges[-1][1] == code - 1:
            ranges[-1][1] = code
        else:
            ranges.append([code, code])
    return re.compile("[" + "".join(f"{chr(first)}-{chr(last)}" for first, last in ranges) + "]+")


def _count(pattern: re.Pattern[str], text: str) -> int:
    """Characters of `text` in matches of `pattern`."""
    return len(text) - len(pattern.sub("", text))
