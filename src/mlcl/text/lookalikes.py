"""Letters that were typed in another script than their word because they look the same, put right.

In: a text such as `кaдa сaм` with Latin a, which a reader cannot tell from `када сам` and a tokenizer cuts to pieces.
Out: the text with such words in one script. Latin, Cyrillic and Greek are covered, where most such letters are; the
pairs are those of Unicode's confusables (UTS 39) that are indistinguishable in ordinary fonts.
"""

from __future__ import annotations

import regex

_CYRILLIC = dict(zip("аеёорсухіїјѕһәАВЕЁКМНОРСТУХІЇЈЅӘ", "aeëopcyxiïjshəABEËKMHOPCTYXIÏJSƏ", strict=True))
_GREEK = dict(zip("ονόΑΒΕΖΗΙΚΜΝΟΡΤΥΧ", "ovóABEZHIKMNOPTYX", strict=True))
_TWINS = {
    ("Cyrillic", "Latin"): _CYRILLIC,
    ("Latin", "Cyrillic"): {latin: own for own, latin in _CYRILLIC.items()},
    ("Greek", "Latin"): _GREEK,
    ("Latin", "Greek"): {latin: own for own, latin in _GREEK.items()},
}
"""(from, to) -> the letters of the one script as the other writes them."""
_SCRIPTS = ("Latin", "Cyrillic", "Greek")
_LETTER = {name: regex.compile(rf"\p{{{name}}}") for name in _SCRIPTS}
_WORD = regex.compile(r"[\p{Latin}\p{Cyrillic}\p{Greek}\p{M}]{2,}")
_SHORT = regex.compile(r"(?<![\p{L}\p{M}\p{N}_'’])\p{Ll}{1,3}(?![\p{L}\p{M}\p{N}_])")


def one_script(text: str) -> str:
    """The text with every word of two scripts in one of them, where all letters of the other one have a twin there.

    A word goes to the script of its letters without a twin, or to the commoner script of the text if it has none. In a
    text where that happened, words of up to three lower-case letters go to the text's script too (Serbian `je`), which
    no letter of their own could tell. Words that both scripts need (`µTorrent`) stay; so does any text without a mixed
    word, whatever it is made of.
    """
    if sum(letter.search(text) is not None for letter in _LETTER.values()) < 2:  # quick, and true of most texts
        return text
    usual = max(_SCRIPTS, key=lambda name: len(_LETTER[name].findall(text)))
    repaired = _WORD.sub(lambda match: _word(match[0], usual), text)
    if repaired == text:
        return text
    return _SHORT.sub(lambda match: _into(usual, match[0]) or match[0], repaired)


def _word(word: str, usual: str) -> str:
    scripts = [name for name in _SCRIPTS if _LETTER[name].search(word)]
    if len(scripts) < 2:
        return word
    for target in sorted(scripts, key=lambda name: name != usual):
        if repaired := _into(target, word):
            return repaired
    return word


def _into(target: str, word: str) -> str | None:
    """The word in one script, or None where a letter has no twin there."""
    for name in _SCRIPTS:
        foreign = set(_LETTER[name].findall(word)) if name != target else set()
        if foreign:
            twins: dict[str, str | int | None] = {**_TWINS.get((name, target), {})}
            if not foreign <= twins.keys():
                return None
            word = word.translate(str.maketrans(twins))
    return word
