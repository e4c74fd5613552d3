"""Fixtures of the quickstart: a Python package with translation catalogs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mlcl.formats._gettext import in_part

CANDIDATES = [
    f"{verb} the {thing} {place}"
    for verb in ("Delete", "Open", "Move", "Paint")
    for thing in ("page", "house", "user", "door", "bridge", "window")
    for place in ("of %(name)s", "near the river", "in the garden")
]
HELD_OUT = [text for text in CANDIDATES if in_part(text, "dev")][:4]
MESSAGES = HELD_OUT + [text for text in CANDIDATES if in_part(text, "train")][:20]


def catalog(messages: dict[str, str]) -> str:
    header = 'msgid ""\nmsgstr "Content-Type: text/plain; charset=UTF-8\\n"\n'
    return header + "".join(
        f"\nmsgid {json.dumps(msgid, ensure_ascii=False)}\nmsgstr {json.dumps(msgstr, ensure_ascii=False)}\n"
        for msgid, msgstr in messages.items()
    )


@pytest.fixture
def held_out_messages() -> list[str]:
    """The English messages of the package that the split holds out."""
    return HELD_OUT


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A package with German, Greek and British catalogs; German repeats and copies some messages."""
    name = "package_with_catalogs"
    german = {text: f"Deutsch: {text[::-1].replace('s)eman(%', '%(name)s')}" for text in MESSAGES}
    greek = {text: "".join(chr(0x3B1 + ord(letter) % 24) for letter in text) for text in MESSAGES}
    british = {text: text + ", please" for text in MESSAGES}
    german[HELD_OUT[0]] = HELD_OUT[0]  # not translated
    german[HELD_OUT[2]] = german[HELD_OUT[1]]  # two messages with one translation
    for language, messages in (("de", german), ("el", greek), ("en_GB", british)):
        folder = tmp_path / name / "locale" / language / "LC_MESSAGES"
        folder.mkdir(parents=True)
        (folder / "django.po").write_text(catalog(messages), encoding="utf-8")
    (tmp_path / name / "__init__.py").write_text("")
    monkeypatch.syspath_prepend(str(tmp_path))
    return name
