"""Trimmed tokenizers of all kinds: texts in kept tokens are cut as before, numbers are dense, specials are right."""

from __future__ import annotations

import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

from mlcl.core.errors import UserError
from mlcl.text.trimming import tokens_in_scripts, trim, used_tokens

KEPT = ["The page was deleted.", "Enter your password", "the password was deleted"]
OTHERS = ["Страница была удалена пользователем", "ページを削除しました。", "sayfa silindi, tekrar deneyin"]
SPECIAL = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]


def make(kind):
    common = {"special_tokens": SPECIAL, "show_progress": False}
    if kind == "Unigram":
        tokenizer = Tokenizer(models.Unigram())
        tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
        trainer = trainers.UnigramTrainer(vocab_size=150, unk_token="<unk>", **common)
    elif kind == "WordPiece":
        tokenizer = Tokenizer(models.WordPiece(unk_token="<unk>"))
        tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        trainer = trainers.WordPieceTrainer(vocab_size=150, **common)
    elif kind == "byte-level":
        tokenizer = Tokenizer(models.BPE())
        tokenizer.pre_tokenizer, tokenizer.decoder = pre_tokenizers.ByteLevel(), decoders.ByteLevel()
        alphabet = pre_tokenizers.ByteLevel.alphabet()
        trainer = trainers.BpeTrainer(vocab_size=400, initial_alphabet=alphabet, **common)
    else:
        tokenizer = Tokenizer(models.BPE(unk_token="<unk>"))
        tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
        trainer = trainers.BpeTrainer(vocab_size=200, **common)
    tokenizer.train_from_iterator((KEPT + OTHERS) * 10, trainer)
    if kind == "WordPiece":
        tokenizer.post_processor = processors.BertProcessing(("</s>", 2), ("<s>", 0))
    else:
        tokenizer.post_processor = processors.TemplateProcessing(
            single="<s> $A </s>", pair="<s> $A </s> </s> $B </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
        )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<s>", cls_token="<s>", pad_token="<pad>", eos_token="</s>",
        sep_token="</s>", unk_token="<unk>", mask_token="<mask>", model_max_length=64,
    )  # fmt: skip


KINDS = ["Unigram", "WordPiece", "BPE", "byte-level"]


@pytest.mark.parametrize("kind", KINDS)
def test_texts_in_kept_tokens_are_cut_as_before(kind, tmp_path):
    tokenizer = make(kind)
    smaller, old = trim(tokenizer, used_tokens(tokenizer, KEPT))
    assert old == sorted(old)
    assert len(old) == len(smaller) < len(tokenizer)
    assert sorted(smaller.get_vocab().values()) == list(range(len(old)))
    smaller.save_pretrained(tmp_path)
    for one in (smaller, PreTrainedTokenizerFast.from_pretrained(tmp_path)):
        for text in KEPT:
            assert [old[number] for number in one(text)["input_ids"]] == tokenizer(text)["input_ids"]
        both = one(KEPT[0], KEPT[1])["input_ids"]
        assert [old[number] for number in both] == tokenizer(KEPT[0], KEPT[1])["input_ids"]
        assert one.mask_token_id == old.index(tokenizer.mask_token_id)
        assert (one.pad_token_id, one.model_max_length) == (tokenizer.pad_token_id, 64)
    # Other words in the same letters can be spelt as far as they could be before
    assert (smaller.unk_token_id in smaller("swept parade")["input_ids"]) == (
        tokenizer.unk_token_id in tokenizer("swept parade")["input_ids"]
    )


@pytest.mark.parametrize("kind", ["Unigram", "WordPiece", "BPE"])
def test_scripts(kind):
    tokenizer = make(kind)
    smaller, old = trim(tokenizer, tokens_in_scripts(tokenizer, ["en", "tr"]))
    for text in [*KEPT, OTHERS[2]]:
        assert [old[number] for number in smaller(text)["input_ids"]] == tokenizer(text)["input_ids"]
    letters = "".join(smaller.get_vocab())
    assert not any("а" <= letter <= "я" or "ぁ" <= letter <= "ん" for letter in letters)
    with_japanese, _ = trim(tokenizer, tokens_in_scripts(tokenizer, ["ja"]))
    assert "削" in "".join(with_japanese.get_vocab())


def test_a_byte_level_vocabulary_has_no_scripts():
    with pytest.raises(UserError, match="give --texts"):
        tokens_in_scripts(make("byte-level"), ["en"])


def test_counts():
    tokenizer = make("Unigram")
    counts = used_tokens(tokenizer, KEPT * 3)
    assert counts[tokenizer.cls_token_id] == 9
    assert sum(counts.values()) == 3 * sum(len(tokenizer(text)["input_ids"]) for text in KEPT)


def test_what_cannot_be_trimmed():
    with pytest.raises(UserError, match="give a fast tokenizer"):
        trim(object(), [1])
    words = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(models.WordLevel({"a": 0, "<unk>": 1}, "<unk>")))
    with pytest.raises(UserError, match="a WordLevel tokenizer"):
        trim(words, [0])
