"""Words of a text in any language: `segment(text, language)`.

In: a text and its language. Out: its words and punctuation marks in order, without blanks. Moses rules (sacremoses)
serve languages that put spaces between words; Chinese, Japanese and Thai have a library of their own each. All of them
bring their dictionaries along, so nothing is fetched. Lao, Khmer, Burmese and Tibetan, which do without spaces too, are
cut at spaces and punctuation only. All libraries are in the extra `words`.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Sequence
from functools import cache

from mlcl.core.errors import require
from mlcl.core.languages import canonical

EXTRA = "words"
_CHINESE = ("zh", "yue", "wuu")


def segment(text: str, language: str) -> list[str]:
    """The words of a text.

    Args:
        text: Any text; an empty one has no words.
        language: BCP-47 tag or ISO 639 code.

    Raises:
        UserError: an unknown language, or the library for it is not installed.
    """
    return [word for word in _segmenter(canonical(language).partition("-")[0])(text) if word.strip()]


@cache
def _segmenter(language: str) -> Callable[[str], Sequence[str]]:
    """The function for a language; dictionaries are read once."""
    if language in _CHINESE:
        return _jieba()
    if language == "ja":
        return _fugashi()
    if language == "th":
        return _pythainlp()
    return _moses(language)


def _moses(language: str) -> Callable[[str], Sequence[str]]:
    require("sacremoses", EXTRA)
    from sacremoses import MosesTokenizer

    tokenizer = MosesTokenizer(lang=language)
    return lambda text: _rejoined(text, tokenizer.tokenize(text, escape=False))


def _rejoined(text: str, words: list[str]) -> list[str]:
    """Moses' words, with those that it cut at a combining mark or a joiner put together again.

    Its classes of letters lack some marks (Burmese and Khmer signs, accents without a composed form, as in Yoruba) and
    the zero-width non-joiner of Persian: it treats them as punctuation.
    """
    joined: list[str] = []
    place = 0
    for word in words:
        found = text.find(word, place)
        torn = _extends(word[0]) or (joined and _extends(joined[-1][-1]) and word[0].isalnum())
        if joined and found == place and torn:
            joined[-1] += word
        else:
            joined.append(word)
        place = max(place, found + len(word))
    return joined


def _extends(character: str) -> bool:
    """Whether a character belongs to the letters around it: combining marks, zero-width joiner and non-joiner."""
    return unicodedata.category(character)[0] == "M" or character in "\u200c\u200d"


def _jieba() -> Callable[[str], Sequence[str]]:
    require("jieba", EXTRA)
    import logging

    import jieba

    jieba.setLogLevel(logging.WARNING)  # it reports on standard error how long its dictionary took
    return jieba.lcut


def _fugashi() -> Callable[[str], Sequence[str]]:
    require("fugashi", EXTRA)
    require("unidic_lite", EXTRA)
    import fugashi

    tagger = fugashi.Tagger()
    return lambda text: [word.surface for word in tagger(text)]


def _pythainlp() -> Callable[[str], Sequence[str]]:
    require("pythainlp", EXTRA)
    from pythainlp.tokenize import word_tokenize

    return lambda text: word_tokenize(text, engine="newmm", keep_whitespace=False)
