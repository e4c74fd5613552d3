r"""Hard distractors for xsim++ (Chen et al. 2023, arXiv 2306.12907): English sentences with one thing changed.

In: English sentences. Out: for each, sentences that differ from it in a number, a name or a negation, and therefore in
meaning, but in hardly any word. An encoder that embeds topics instead of meanings takes them for translations.

The paper's three kinds, by small rules that need no model and give the same sentences in every run. What replaces a
number or a name comes from the other sentences:

    numbers    `47` becomes another number of as many digits and the same form (`1,850`, `10-6`, `14.5`); number words
               from two to twelve, weekdays and months become others of their kind
    entities   a run of capitalised words inside a sentence becomes one of as many words from another sentence; at the
               beginning of a sentence only runs that also stand inside one count as names
    negation   `is` becomes `is not`, `did not` becomes `did`, `can't` becomes `can`, ... (the paper's causality kind)
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence

from mlcl.core.text import key_hash, normalise_key

KINDS = ("numbers", "entities", "negation")

_NUMBER = re.compile(r"(?<![\w.,])\d+(?:[.,:/-]\d+)*(?![\w])")
_WORD_CLASSES = [
    "two three four five six seven eight nine ten eleven twelve".split(),
    "Monday Tuesday Wednesday Thursday Friday Saturday Sunday".split(),
    "January February March April June July August September October November December".split(),  # May is a verb too
]
_SIBLINGS = {word: words for words in _WORD_CLASSES for word in words}
_CLASSED = re.compile(rf"\b(?:{'|'.join(_SIBLINGS)})\b")

_CAPITALISED = r"[A-Z](?:[\w-]|['’](?!s\b))*\w"
_NAME = re.compile(rf"\b{_CAPITALISED}(?: {_CAPITALISED})*")
_NO_NAMES = {"Mr", "Mrs", "Ms", "Dr", *(f"I{mark}{end}" for mark in "'’" for end in ("m", "ve", "d", "ll"))}
_LOWER = re.compile(r"\b[a-z]\w*")

# After these a negation fits, if no pronoun follows (a question), nor anything but a participle after forms of `have`.
_ADD_NOT = re.compile(
    r"\b(?:(?:is|are|was|were|will|would|can|could|should|must|might)(?! not\b)(?! (?:I|you|he|she|it|we|they)\b)"
    r"|(?:has|have|had)(?= (?:been|had|made|done|\w{2,}e[dn])\b))(?=[ ,])"
)
_DROP_NOT = re.compile(
    r"\b(is|are|was|were|will|would|can|could|should|must|might|may|has|have|had|does|do|did) not\b", re.IGNORECASE
)
_CONTRACTED = re.compile(
    r"\b(is|are|was|were|would|could|should|has|have|had|does|do|did|ca|wo)n['’]t\b", re.IGNORECASE
)
_WHOLE = {"ca": "can", "wo": "will"}


def distractors(sentences: Sequence[str], per_kind: int = 4) -> list[dict[str, list[str]]]:
    """Changed versions of each sentence.

    A version that equals one of the sentences (in the normalised form in which texts are compared) is left out: it may
    be the right translation of another source.

    Args:
        sentences: English sentences; what replaces a name or a number is drawn from them.
        per_kind: Most versions of a kind that one sentence gets.

    Returns:
        For each sentence, kind (`KINDS`) -> versions; kinds that change nothing have an empty list.
    """
    numbers = _by_form(number for text in sentences for number in _NUMBER.findall(text))
    lower = {word for text in sentences for word in _LOWER.findall(text)}
    names = _names(sentences, lower)
    known = {normalise_key(text) for text in sentences}
    makers: dict[str, Callable[[str], Iterator[str]]] = {
        "numbers": lambda text: _numbers(text, numbers),
        "entities": lambda text: _entities(text, names, lower),
        "negation": _negation,
    }
    result = []
    for text in sentences:
        versions: dict[str, list[str]] = {}
        for kind, make in makers.items():
            made = [other for other in dict.fromkeys(make(text)) if normalise_key(other) not in known]
            versions[kind] = sorted(made, key=lambda other: key_hash(other))[:per_kind]
        result.append(versions)
    return result


def _by_form(values: Iterable[str]) -> dict[str, list[str]]:
    """Form (each digit as 0) -> the distinct values of that form, sorted."""
    forms: dict[str, set[str]] = {}
    for value in values:
        forms.setdefault(_form(value), set()).add(value)
    return {form: sorted(members) for form, members in forms.items()}


def _form(number: str) -> str:
    return re.sub(r"\d", "0", number)


def _numbers(text: str, pool: dict[str, list[str]]) -> Iterator[str]:
    for match in _NUMBER.finditer(text):
        others = [number for number in pool[_form(match[0])] if number != match[0]]
        for other in others or [_counted_up(match[0])]:
            yield _replaced(text, match, other)
    for match in _CLASSED.finditer(text):
        for other in _SIBLINGS[match[0]]:
            if other != match[0]:
                yield _replaced(text, match, other)


def _counted_up(number: str) -> str:
    """A number of the same form: every digit but a leading one counted up, which leaves its size."""
    return re.sub(r"\d(?=\D*$)", lambda digit: str((int(digit[0]) + 1) % 10), number)


def _runs(text: str, lower: set[str]) -> Iterator[tuple[int, int, bool]]:
    """(start, end, whether it opens a sentence) of each run of capitalised words.

    Args:
        text: A sentence.
        lower: Words that stand somewhere in lower case; such a word is no part of a name at the opening (`But Boris`).
    """
    for match in _NAME.finditer(text):
        opening = match[0].partition(" ")[0]
        opens = _opens(text, match.start())
        if opens and opening != match[0] and opening.lower() in lower:
            yield match.start() + len(opening) + 1, match.end(), False
        else:
            yield match.start(), match.end(), opens


def _opens(text: str, place: int) -> bool:
    """Whether a place is the beginning of a sentence, where every word is capitalised."""
    before = text[:place].rstrip(" \"'“”‘’«»([")
    return not before or before[-1] in ".!?:;…–—-"


def _names(sentences: Sequence[str], lower: set[str]) -> dict[int, list[str]]:
    """Number of words -> the distinct names of that many words that stand inside a sentence, sorted.

    A run of words that all stand somewhere in lower case too is a heading or the like, not a name.
    """
    pool: dict[int, set[str]] = {}
    for text in sentences:
        for start, end, opens in _runs(text, lower):
            words = text[start:end].split(" ")
            ordinary = all(word.lower() in lower or word in _SIBLINGS or word in _NO_NAMES for word in words)
            if not ordinary and not opens:
                pool.setdefault(len(words), set()).add(text[start:end])
    return {size: sorted(names) for size, names in pool.items()}


def _entities(text: str, names: dict[int, list[str]], lower: set[str]) -> Iterator[str]:
    for start, end, _ in _runs(text, lower):
        name = text[start:end]
        pool = names.get(name.count(" ") + 1, [])
        if name in pool:  # so it is a name, wherever it stands here
            for other in pool:
                if other != name and other not in text:
                    yield text[:start] + other + text[end:]


def _negation(text: str) -> Iterator[str]:
    for match in _DROP_NOT.finditer(text):
        yield _replaced(text, match, match[1])
    for match in _CONTRACTED.finditer(text):
        yield _replaced(text, match, _WHOLE.get(match[1].lower(), match[1]))
    for match in re.finditer(r"\bcannot\b", text):
        yield _replaced(text, match, "can")
    for match in _ADD_NOT.finditer(text):
        yield _replaced(text, match, f"{match[0]} not")


def _replaced(text: str, match: re.Match[str], new: str) -> str:
    return text[: match.start()] + new + text[match.end() :]
