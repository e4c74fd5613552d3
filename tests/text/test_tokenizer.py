"""The tokenizer: nothing becomes <unk>, decoding gives the normalised text back, the same corpus gives the same ids."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlcl.core.errors import UserError
from mlcl.text.tokenizer import BYTE_TOKENS, SPECIAL_TOKENS, normaliser, train_on, train_tokenizer

SENTENCES = {
    "en": [f"The {noun} was {verb}." for noun in ("page", "file", "user", "message") for verb in ("deleted", "moved")],
    "de": [
        f"Die {noun} wurde {verb}." for noun in ("Seite", "Datei", "Nachricht") for verb in ("gelöscht", "verschoben")
    ],
    "ja": ["ページを削除しました。", "ファイルを移動しました。", "パスワードを入力してください。"],
    "fa": ["می‌خواهم", "صفحه حذف شد."],
}


class Memory:
    """A corpus of monolingual rows."""

    def __init__(self, texts: dict[str, list[str]]) -> None:
        self.texts = texts

    def pair_batches(self, columns: list[str] | None = None) -> Iterator[pa.RecordBatch]:
        return iter(())

    def mono_batches(self, columns: list[str] | None = None) -> Iterator[pa.RecordBatch]:
        for tag, texts in self.texts.items():
            yield pa.record_batch({"lang": [tag] * len(texts), "text": texts})


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer(Memory(SENTENCES), vocab_size=700)


@given(st.text(max_size=60))
@settings(max_examples=300, deadline=None)
def test_any_text_comes_back_normalised_and_without_unk(tokenizer, text):
    ids = tokenizer(text)["input_ids"]
    assert ids[0] == 0
    assert ids[-1] == 2
    assert not set(ids[1:-1]) & set(range(len(SPECIAL_TOKENS)))
    assert tokenizer.decode(ids, skip_special_tokens=True) == normaliser().normalize_str(text)


@pytest.mark.parametrize(
    "text", ["ᚠᛇᚻ ⲀⲂ", "👩🏽‍💻 ❤️", "<mask> <s> <unk> </s>", "<0x41><0xE2>", "\U0010ffff", "꙰", "\x00a\x07"]
)
def test_unseen_scripts_emoji_and_spelled_tokens(tokenizer, text):
    ids = tokenizer(text)["input_ids"][1:-1]
    assert not set(ids) & set(range(len(SPECIAL_TOKENS)))
    assert tokenizer.decode(ids) == normaliser().normalize_str(text)


def test_a_spelled_byte_token_is_characters(tokenizer):
    assert "<0x41>" not in tokenizer.tokenize("<0x41>")
    assert tokenizer.tokenize("Ⲁ") == ["▁", "<0xE2>", "<0xB2>", "<0x80>"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Ａｂｃ ﬁ", "Abc fi"),  # compatibility forms
        ("u\u0308ber", "über"),  # composed
        ("  a\u00a0\t b\u200bc\n", "a b c"),  # white space of every kind
        ("so\u00adft \u200ebidi\u202a \ufeff", "soft bidi"),  # invisible
        ("می\u200cخواهم", "می\u200cخواهم"),  # the non-joiner stays
        ("ශ\u0dca\u200dරී", "ශ\u0dca\u200dරී"),  # and the joiner
        ("A\u2581b", "A b"),
        ("Straße İ", "Straße İ"),  # case stays
    ],
)
def test_normalisation(text, expected):
    assert normaliser().normalize_str(text) == expected


@given(st.text(max_size=40))
@settings(max_examples=200, deadline=None)
def test_normalisation_twice_changes_nothing(text):
    once = normaliser().normalize_str(text)
    assert normaliser().normalize_str(once) == once


def test_layout_of_the_vocabulary(tokenizer):
    tokens = tokenizer.convert_ids_to_tokens(list(range(261)))
    assert tuple(tokens) == SPECIAL_TOKENS + BYTE_TOKENS
    assert len(tokenizer) <= 700
    a, b = tokenizer("page")["input_ids"][1:-1], tokenizer("Seite")["input_ids"][1:-1]
    assert tokenizer("page", "Seite")["input_ids"] == [0, *a, 2, 2, *b, 2]
    assert (tokenizer.mask_token_id, tokenizer.pad_token_id, tokenizer.unk_token_id) == (4, 1, 3)


def test_punctuation_stands_alone(tokenizer):
    assert tokenizer.tokenize("deleted.") == [*tokenizer.tokenize("deleted"), "."]


def test_the_same_corpus_gives_the_same_tokenizer(tokenizer, tmp_path):
    again = train_tokenizer(Memory(SENTENCES), vocab_size=700)
    assert json.loads(again.backend_tokenizer.to_str()) == json.loads(tokenizer.backend_tokenizer.to_str())


def test_saved_folder_loads_with_auto_tokenizer(tokenizer, tmp_path):
    from transformers import AutoTokenizer

    tokenizer.save_pretrained(tmp_path)
    loaded = AutoTokenizer.from_pretrained(tmp_path)
    assert loaded.model_max_length == 512
    for text in ("The page <mask> was deleted 👩🏽‍💻.", "ページ"):
        assert loaded(text)["input_ids"] == tokenizer(text)["input_ids"]


def test_a_rare_character_costs_bytes_and_no_place_in_the_vocabulary():
    texts = ["the page was deleted and the file was moved"] * 3000 + ["a 龘 character"]
    trained = train_on([texts], vocab_size=700)
    assert "龘" not in trained.get_vocab()
    assert trained.decode(trained("龘")["input_ids"], skip_special_tokens=True) == "龘"


def test_mistakes():
    with pytest.raises(UserError, match="at least 600"):
        train_tokenizer(Memory(SENTENCES), vocab_size=300)
    with pytest.raises(UserError, match="no text"):
        train_tokenizer(Memory({}), vocab_size=700)


@pytest.mark.real_data
def test_real_text_in_many_scripts(data_root):
    texts = {}
    for tag in ("ara", "ell", "hin", "jpn", "kat", "tam", "ukr", "zho", "vie", "fin"):
        with gzip.open(data_root / "mono" / f"mono.{tag}.txt.gz", "rt", encoding="utf-8", newline="\n") as lines:
            texts[tag] = [line.rstrip("\n") for line, _ in zip(lines, range(700), strict=False)]
    seen = {tag: rows[:400] for tag, rows in texts.items()}
    trained = train_tokenizer(Memory(seen), vocab_size=4000, alpha=0.5)
    assert len(trained) == 4000
    normalise = normaliser().normalize_str
    for tag, rows in texts.items():
        for text, ids in zip(rows[400:], trained(rows[400:])["input_ids"], strict=True):
            assert 3 not in ids, (tag, text)
            assert trained.decode(ids, skip_special_tokens=True) == normalise(text)
