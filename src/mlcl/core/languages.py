"""Language tags: one canonical BCP-47 tag per language, whatever code a data set uses.

In: `deu`, `zh-CN`, `swh_Latn`, `sr@latin`. Out: `de`, `zh-Hans`, `sw`, `sr-Latn`. Regions are kept (`pt-BR`), because
two official codes must not collapse into one; `base` gives the language alone. Names and likely scripts come from
`langcodes`.
"""

from __future__ import annotations

from functools import cache

import langcodes

from mlcl.core.errors import UserError

# The individual language that data sets mean by a macrolanguage, where ISO 639-3 has a code for both. The other
# members (arz, yue, nno, ...) stay themselves.
_DOMINANT_MEMBER = {
    "arb": "ar", "cmn": "zh", "swh": "sw", "pes": "fa", "zsm": "ms", "khk": "mn", "lvs": "lv", "ekk": "et",
    "azj": "az", "uzn": "uz", "npi": "ne", "ory": "or", "als": "sq", "gaz": "om", "plt": "mg", "ydd": "yi",
    "pbt": "ps", "ayr": "ay", "quy": "qu", "dgo": "doi", "gom": "kok", "kmr": "ku", "fuv": "ff", "knc": "kr",
}  # fmt: skip
_CHINESE = {"CN": "zh-Hans", "SG": "zh-Hans", "TW": "zh-Hant", "HK": "zh-Hant", "MO": "zh-Hant"}
_SAME_SCRIPT = {"Hang": "Kore"}  # `ko_Hang` of some data sets is plain Korean, whose script ISO 15924 calls Kore
# ISO 15924 codes that stand for a mixture, or for a style, of the scripts that Unicode gives to characters.
_SCRIPT_PARTS = {
    "Jpan": ("Hani", "Hira", "Kana"), "Hrkt": ("Hira", "Kana"), "Kore": ("Hang", "Hani"), "Hang": ("Hang", "Hani"),
    "Hans": ("Hani", "Bopo"), "Hant": ("Hani", "Bopo"), "Hanb": ("Hani", "Bopo"), "Aran": ("Arab",),
    "Latf": ("Latn",), "Latg": ("Latn",), "Cyrs": ("Cyrl",), "Syre": ("Syrc",), "Geok": ("Geor",),
}  # fmt: skip
_MODIFIERS = {"latin": "Latn", "cyrillic": "Cyrl", "devanagari": "Deva", "arabic": "Arab"}


@cache
def canonical(code: str) -> str:
    """The canonical tag of a language code.

    Raises:
        UserError: the code names no language.
    """
    text, _, modifier = code.strip().replace("_", "-").partition("@")
    text = text.partition(".")[0]  # a locale's encoding, as in de_DE.UTF-8
    if modifier.lower() in _MODIFIERS:
        text += "-" + _MODIFIERS[modifier.lower()]
    try:
        tag = langcodes.Language.get(text, normalize=True)
    except (langcodes.LanguageTagError, ValueError) as error:
        raise _unknown(code) from error
    if not tag.language or tag.language == "und" or not tag.is_valid():
        raise _unknown(code)
    language = _DOMINANT_MEMBER.get(tag.language, tag.language)
    if language == "zh":
        return f"zh-{tag.script}" if tag.script else _CHINESE.get(tag.territory or "", "zh-Hans")
    parts = [language]
    # Korean in Hangul alone (`kor_Hang`) is Korean as it is written, although its full script code is Kore.
    if tag.script and (language, tag.script) != ("ko", "Hang") and tag.script != _likely_script(language):
        parts.append(tag.script)
    if tag.territory:
        parts.append(tag.territory)
    return "-".join(parts)


def _unknown(code: str) -> UserError:
    return UserError(f"unknown language tag {code!r}", remedy="use a BCP-47 tag or an ISO 639 code, such as de or deu")


@cache
def base(tag: str) -> str:
    """A canonical tag without its region; the script stays (`pt-BR` -> `pt`, `zh-Hant` -> `zh-Hant`)."""
    language = langcodes.Language.get(tag)
    return "-".join(part for part in (language.language, language.script) if part)


@cache
def name(tag: str) -> str:
    """English name of a language, such as `Brazilian Portuguese`."""
    return langcodes.Language.get(tag).display_name()


@cache
def _likely_script(tag: str) -> str:
    return langcodes.Language.get(tag).maximize().script or "Zyyy"


@cache
def script(tag: str) -> str:
    """ISO 15924 code of the script that a canonical tag is written in (`de` -> `Latn`, `zh-Hant` -> `Hant`)."""
    return langcodes.Language.get(tag).script or _likely_script(tag)


def unicode_scripts(code: str) -> tuple[str, ...]:
    """The scripts that Unicode gives to the characters of an ISO 15924 code (`Jpan` -> Han, hiragana and katakana)."""
    return _SCRIPT_PARTS.get(code, (code,))


def is_trained(tag: str, trained: set[str]) -> bool:
    """Whether a tag, or its language without region, is among the trained tags (with or without region)."""
    return base(tag) in {base(other) for other in trained}
