from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlcl.core.text import normalise_key
from mlcl.corpus.clean import CleanSettings, clean_text, filter_versions, script_letters, versions, width

SETTINGS = CleanSettings()


def reasons(*texts: tuple[str, str]) -> list[str]:
    return [drop.reason for drop in filter_versions(versions(list(texts), SETTINGS), SETTINGS)[1]]


@given(st.text())
def test_cleaning_twice_changes_nothing_and_keeps_the_key(text: str) -> None:
    cleaned = clean_text(text)
    assert clean_text(cleaned) == cleaned
    assert unicodedata.is_normalized("NFC", cleaned)
    assert normalise_key(cleaned) == normalise_key(text)


def test_white_space_control_and_invisible_characters() -> None:
    assert clean_text("\ufeff a\u00a0\tb\x00\u200b\x1c\u2028c \u00ad\u202e") == "a b c"
    assert clean_text("می\u200cخواهم") == "می\u200cخواهم"  # the joiner is spelling


@pytest.mark.parametrize(
    ("lang", "text", "reason"),
    [
        ("en", "12:30, 2019!", "no letters"),
        ("en", "a", "too short"),
        ("en", "word " * 250, "too long"),
        ("en", "caf\ufffd au lait", "broken encoding"),
        ("en", "bad \ud800 text", "broken encoding"),
        ("en", '<a href="https://example.org/x">here</a>', "mostly mark-up"),
        ("en", "%(count)s of {total}", "mostly mark-up"),
        ("ru", "This is not Russian at all", "wrong script"),
        ("en", "Это не по-английски", "wrong script"),
        ("sr-Latn", "Ово је ћирилица", "wrong script"),
    ],
)
def test_each_text_filter_drops(lang: str, text: str, reason: str) -> None:
    assert reasons((lang, text)) == [reason]


@pytest.mark.parametrize(
    ("lang", "text"),
    [
        ("zh-Hans", "年"),
        ("ja", "これはPythonのテストです"),
        ("ko", "漢字와 한글"),
        ("zh-Hant", "Holly Willoughby 退出 £1100 萬合作投資"),
        ("ru", "Эта программа использует ``asyncio.run(debug=True)`` для запуска"),
        ("sr", "Ово је ћирилица"),
        ("sr-Latn", "Ovo je latinica: čćžšđ"),
        ("hi", "यह एक वाक्य है"),
        ("en", "Welcome to <b>our</b> new and improved site"),
        ("de", "100 % aller Fälle"),
    ],
)
def test_good_texts_stay(lang: str, text: str) -> None:
    assert reasons((lang, text)) == []


def test_a_bad_version_leaves_the_record_and_the_others_stay() -> None:
    texts = [("en", "Good morning"), ("de", "Guten Morgen"), ("fr", "good MORNING!"), ("ru", "Good evening")]
    kept, dropped = filter_versions(versions(texts, SETTINGS), SETTINGS)
    assert [version.lang for version in kept] == ["en", "de"]
    assert [(drop.reason, drop.lang) for drop in dropped] == [("identical sides", "fr"), ("wrong script", "ru")]


def test_a_record_with_one_version_left_is_dropped_whole() -> None:
    texts = [("en", "Good morning"), ("de", "Good morning")]
    kept, dropped = filter_versions(versions(texts, SETTINGS), SETTINGS)
    assert kept == []
    assert [drop.reason for drop in dropped] == ["identical sides", "no translation left"]


def test_length_ratio_knows_that_han_characters_say_more() -> None:
    english = "The quick brown fox jumps over the lazy dog and runs away into the dark forest."
    assert width("敏捷的棕色狐狸跳过懒狗跑进黑暗的森林里去了") > 60
    assert reasons(("en", english), ("zh-Hans", "敏捷的棕色狐狸跳过懒狗跑进黑暗的森林")) == []
    assert reasons(("en", english), ("de", "Fuchs")) == ["length ratio", "no translation left"]
    assert reasons(("en", "OK"), ("de", "Einverstanden")) == []


def test_unknown_scripts_are_not_judged() -> None:
    assert script_letters("Zyyy") is None
    assert script_letters("Qaaa") is None


def test_arabic_shapes_become_letters() -> None:
    assert clean_text("ﺍﻟﺴﻼﻡ ﻋﻠﻴﻜﻢ") == "السلام عليكم"
    assert clean_text("ﻣﹷﺪرسة ﻛﺘﺎبﹲ") == "مـَدرسة كتابٌ"  # a vowel sign alone stands on a space in Unicode's own form
    assert clean_text("ﷺ") == "صلى الله عليه وسلم"
    assert clean_text("ﬁne ½ ①") == "ﬁne ½ ①"  # only the Arabic ranges are touched
