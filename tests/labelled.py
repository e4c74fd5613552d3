"""Made-up labelled tasks for the tests of fine-tuning: a few words decide the label, in two "languages"."""

from __future__ import annotations

import random
from pathlib import Path

from mlcl.tasks._labelled import Example, LabelledTask, Language, TaggedSentence

WORDS = {
    "en": {"a": ["page", "deleted"], "b": ["enter", "password"], "filler": ["the", "was", "your"]},
    "de": {"a": ["seite", "gelöscht"], "b": ["passwort", "eingeben"], "filler": ["die", "wurde", "der"]},
}
SIZES = {"train": 48, "dev": 24, "test": 24}


def text(chance: random.Random, language: str, label: str) -> str:
    """A sentence with one telling word and two to four others."""
    words = chance.choices(WORDS[language]["filler"], k=chance.randint(2, 4))
    words.insert(chance.randrange(len(words) + 1), chance.choice(WORDS[language][label]))
    return " ".join(words)


def classification(language: str, split: str) -> list[Example]:
    """Texts of the classes `a` and `b`."""
    chance = random.Random(f"{language} {split}")
    labels = [chance.choice("ab") for _ in range(SIZES[split])]
    return [Example(text(chance, language, label), label) for label in labels]


def pairs(language: str, split: str) -> list[Example]:
    """Two texts each: are they of the same class?"""
    chance = random.Random(f"{language} {split}")
    found = []
    for _ in range(SIZES[split]):
        first, second = chance.choice("ab"), chance.choice("ab")
        label = "same" if first == second else "other"
        found.append(Example(text(chance, language, first), label, text(chance, language, second)))
    return found


def regression(language: str, split: str) -> list[Example]:
    """The same pairs with scores from 0 to 5."""
    return [Example(e.text, 5.0 if e.label == "same" else 0.0, e.pair) for e in pairs(language, split)]


def tagging(language: str, split: str) -> list[TaggedSentence]:
    """Words of class `a` are persons, words of class `b` the start of a place of two words."""
    chance = random.Random(f"{language} {split}")
    found = []
    for _ in range(SIZES[split]):
        words = [*text(chance, language, "a").split(), *text(chance, language, "b").split(), "the"]
        tags = []
        for word in words:
            if word in WORDS[language]["a"]:
                tags.append("B-PER")
            elif word in WORDS[language]["b"]:
                tags.append("B-LOC")
            else:
                tags.append("I-LOC" if tags and tags[-1] == "B-LOC" else "O")
        found.append(TaggedSentence(tuple(words), tuple(tags)))
    return found


def retrieval(language: str, split: str) -> list[Example]:
    """Questions of two words, and passages of their counterparts in the other language; the same keys in both."""
    other = "de" if language == "en" else "en"
    asked, said = ([WORDS[one][label][n] for label in "ab" for n in range(2)] for one in (language, other))
    fillers = list(zip(WORDS[language]["filler"], WORDS[other]["filler"], strict=True))
    return [
        Example(f"{word} {question}", f"{split} {word_number} {number}", f"{passage} {counterpart}")
        for word_number, (word, counterpart) in enumerate(zip(asked, said, strict=True))
        for number, (question, passage) in enumerate(fillers)
    ]


MAKERS = {
    "classification": classification, "pair": pairs, "regression": regression, "tagging": tagging,
    "retrieval": retrieval,
}  # fmt: skip
LABELS = {
    "classification": ("a", "b"), "pair": ("same", "other"), "regression": (), "tagging": ("PER", "LOC"),
    "retrieval": (),
}  # fmt: skip
METRICS = {
    "classification": "accuracy", "pair": "accuracy", "regression": "spearman", "tagging": "span_f1",
    "retrieval": "map",
}  # fmt: skip


def task(kind: str, name: str = "made_up", splits=("train", "dev", "test"), labels=None, make=None) -> LabelledTask:
    """A task of any kind in English and German; `make(language, split)` may replace its examples."""
    make = make or MAKERS[kind]

    def read(root: Path, code: str, split: str, rows):
        examples = make(code[:2], split)
        rows.good(len(examples))
        return examples

    return LabelledTask(
        name, kind, labels or LABELS[kind], METRICS[kind],
        lambda root: [Language("eng", "en", tuple(splits)), Language("deu", "de", tuple(splits))],
        lambda root, code, split, rows: read(root, {"eng": "en", "deu": "de"}[code], split, rows),
        "cut by hand",
    )  # fmt: skip
