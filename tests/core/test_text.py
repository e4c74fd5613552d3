from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlcl.core.text import is_held_out, key_hash, normalise_key


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Don't  STOP!", "dont stop"),
        ("ﬁne Ｗｉｄｅ", "fine wide"),
        ("Straße", "STRASSE"),
        ("「これは」、テスト。", "これはテスト"),
        ("cafe\u0301", "café"),
        ("می\u200cخواهم", "میخواهم"),
        ("𐬹avest\U00010b39", "avest"),  # punctuation above U+FFFF
    ],
)
def test_equal_texts_have_one_key(one: str, other: str) -> None:
    assert normalise_key(one) == normalise_key(other)


@pytest.mark.parametrize(("one", "other"), [("की", "का"), ("resume", "résumé"), ("5 + 3", "5 − 3"), ("ж", "ш")])
def test_vowel_signs_accents_and_symbols_tell_texts_apart(one: str, other: str) -> None:
    assert normalise_key(one) != normalise_key(other)


@given(st.text())
def test_a_key_is_its_own_key(text: str) -> None:
    key = normalise_key(text)
    assert normalise_key(key) == key


def test_hash_is_the_same_on_every_machine() -> None:
    assert key_hash("hello") == 9022087748821825191


def test_held_out_share_and_stability() -> None:
    texts = [f"message number {n}" for n in range(20_000)]
    held_out = [text for text in texts if is_held_out(text, 10)]
    assert len(held_out) / len(texts) == pytest.approx(0.1, abs=0.01)
    assert all(is_held_out(text.upper() + " !", 10) for text in held_out)
    assert {text for text in texts if is_held_out(text, 10, salt="other")} != set(held_out)
