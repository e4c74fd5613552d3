"""Fertility: tokens per word, per character, and the share of bytes, by hand."""

from __future__ import annotations

from mlcl.text.fertility import fertility
from mlcl.text.tokenizer import train_on


def test_by_hand():
    tokenizer = train_on([["ab cd", "ab", "cd"] * 50], vocab_size=700)
    # The trainer seeds only with strings that stand in two different words, so here all pieces are characters.
    assert tokenizer.tokenize("ab cd") == ["▁", "a", "b", "▁", "c", "d"]
    rows = fertility(tokenizer, {"de": ["ab cd", "ab"], "ja": ["Ⲁ"], "fr": ["", " "], "sw": []})
    assert rows["de"] == {
        "sentences": 2,
        "tokens_per_word": 3.0,
        "tokens_per_character": round(9 / 7, 4),
        "tokens_per_sentence": 4.5,
        "byte_share": 0.0,
    }
    assert rows["ja"]["tokens_per_word"] is None  # no spaces, so no words to count
    assert rows["ja"]["tokens_per_character"] == 4.0
    assert rows["ja"]["byte_share"] == 0.75
    assert set(rows) == {"de", "ja"}


def test_only_so_many_sentences_are_measured():
    tokenizer = train_on([["ab cd", "ab", "cd"] * 50], vocab_size=700)
    assert fertility(tokenizer, {"de": ["ab"] * 50}, limit=7)["de"]["sentences"] == 7
