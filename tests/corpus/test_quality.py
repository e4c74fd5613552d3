"""Filters that a setting wakes: what each drops and keeps, and what the builder makes of them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mlcl.core.errors import UserError
from mlcl.corpus import quality
from mlcl.corpus.clean import PAIR_FILTERS, TEXT_FILTERS, CleanSettings, filter_versions, versions

GERMAN = "Die Seite wurde gestern von einem Benutzer gelöscht."


def reasons(texts, **settings):
    chosen = CleanSettings(**settings)
    return [dropped.reason for dropped in filter_versions(versions(texts, chosen), chosen)[1]]


def test_all_are_asleep_by_default():
    text = "na " * 40 + "mail a@example.org 12"
    assert reasons([("de", text), ("en", "other words, and no numbers at all: " + "b " * 40)]) == []
    assert set(quality.TEXT_FILTERS) <= set(TEXT_FILTERS)
    assert set(quality.PAIR_FILTERS) <= set(PAIR_FILTERS)


def test_wrong_language():
    pytest.importorskip("py3langid")
    assert reasons([("en", GERMAN)], language_id="py3langid") == ["wrong language"]
    assert reasons([("de", GERMAN)], language_id="py3langid") == []
    assert reasons([("de-AT", GERMAN)], language_id="py3langid") == []
    assert reasons([("en", "Seite")], language_id="py3langid") == []  # too short to tell
    assert reasons([("tlh", GERMAN)], language_id="py3langid") == []  # a language that it does not know


def test_repetition():
    assert reasons([("en", "buy now " * 20)], min_distinct_words=0.3) == ["repetition"]
    assert reasons([("ja", "買う今" * 20)], min_distinct_words=0.3) == ["repetition"]
    assert reasons([("ja", "このページは昨日、利用者によって削除されました。")], min_distinct_words=0.3) == []
    assert reasons([("en", "no no no")], min_distinct_words=0.3) == []


def test_numbers_and_links():
    pairs = [
        ("Pay 1,000 dollars in 2019", "Zahle 1.000 Dollar im Jahr 2019", []),
        ("in 2019", "２０１９年に", []),
        ("in 2019", "سنة ٢٠١٩", []),
        ("Pay 1,000 dollars", "Zahle 1.500 Dollar", ["numbers differ", "no translation left"]),
        ("twice", "2 mal", []),  # small numbers are often words
    ]
    for first, second, expected in pairs:
        assert reasons([("en", first), ("de", second)], same_numbers=True, min_script_share=0.0) == expected, first
    linked = [("en", "see https://example.org for more on this matter"), ("de", "mehr dazu steht hier geschrieben")]
    assert reasons(linked, same_links=True) == ["links differ", "no translation left"]
    assert (
        reasons([linked[0], ("de", "mehr zu diesem Thema steht hier: https://example.org/d.")], same_links=True) == []
    )


def test_word_lists(tmp_path):
    (tmp_path / "de.txt").write_text("# rude\nDoofkopf\n")
    (tmp_path / "all.txt").write_text("casino\n")
    lists = {"de": str(tmp_path / "de.txt"), "*": str(tmp_path / "all.txt")}
    assert reasons([("de", "Du Doofkopf, komm her")], word_lists=lists) == ["listed word"]
    assert reasons([("de-CH", "Du Doofkopf, komm her")], word_lists=lists) == ["listed word"]
    assert reasons([("en", "Du Doofkopf, komm her")], word_lists=lists) == []
    assert reasons([("en", "the CASINO opens")], word_lists=lists) == ["listed word"]
    assert reasons([("en", "casinos open")], word_lists=lists) == []


def test_personal_data():
    text = [("en", "Write to a.b@example.org today")]
    assert reasons(text, personal_data="drop") == ["personal data"]
    assert reasons(text, personal_data="mask") == []
    assert versions(text, CleanSettings(personal_data="mask"))[0].text == "Write to <EMAIL> today"


def test_encoding_is_repaired():
    pytest.importorskip("ftfy")
    broken = GERMAN.encode("utf-8").decode("cp1252")
    assert broken != GERMAN
    assert versions([("de", broken)], CleanSettings(fix_encoding=True))[0].text == GERMAN
    assert versions([("de", GERMAN)], CleanSettings(fix_encoding=True))[0].text == GERMAN
    assert versions([("de", broken)], CleanSettings())[0].text == broken


def test_words_of_two_scripts_are_repaired():
    mixed, cyrillic = "кaдa сaм биo мaли", "када сам био мали"  # Latin a and o in the first
    assert versions([("sr", mixed)], CleanSettings(fix_lookalikes=True))[0].text == cyrillic
    assert versions([("sr", mixed)], CleanSettings())[0].text == mixed


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"min_distinct_words": 2.0}, "min_distinct_words is 2.0"),
        ({"min_language_confidence": -1.0}, "must be in"),
        ({"language_id": "oracle"}, "known: py3langid"),
        ({"word_lists": {"de": "nowhere.txt"}}, "no such file"),
        ({"word_lists": {"xx1": "empty.txt"}}, "unknown language tag"),
        ({"word_lists": {"de": "empty.txt"}}, "has no words"),
    ],
)
def test_mistakes_show_before_any_work(tmp_path, monkeypatch, settings, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty.txt").write_text("# nothing\n")
    with pytest.raises(UserError, match=message):
        quality.check(replace(CleanSettings(), **settings))


def test_lines_in_several_languages():
    pytest.importorskip("py3langid")
    english = "The committee met on Tuesday to discuss the new budget for schools and hospitals in every region."
    german = "Der Ausschuss traf sich am Dienstag, um den neuen Haushalt für Schulen und Krankenhäuser zu beraten."
    awake = {"language_id": "py3langid", "min_language_confidence": 1.0, "one_language": True}
    assert reasons([("en", f"{english} {german}")], **awake) == ["several languages"]
    assert reasons([("en", f"{english} {english}")], **awake) == []
    assert reasons([("en", f"{english} {german}")], **(awake | {"one_language": False})) == []
