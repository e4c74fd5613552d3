"""Transplanted vocabularies: what counts as the same token, and what the others are made of, against slow twins."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from mlcl.core.errors import UserError
from mlcl.text.spelling import Spelling, byte_tokens, same_role, spellings
from mlcl.text.transplanting import METHODS, _sparsest, shared_tokens, sparsemax, transplant

NAMES = {"pad_token": "<pad>", "unk_token": "<unk>", "cls_token": "<s>", "sep_token": "</s>", "mask_token": "<mask>"}


def word_piece(words, **names):
    """A vocabulary in BERT's notation, in lower case."""
    specials = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    vocab = {token: number for number, token in enumerate([*specials, *words])}
    tokenizer = Tokenizer(models.WordPiece(vocab, unk_token="[UNK]"))
    tokenizer.normalizer, tokenizer.pre_tokenizer = normalizers.BertNormalizer(), pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]",
        mask_token="[MASK]", **names,
    )  # fmt: skip


def unigram(pieces):
    """A vocabulary in sentencepiece's notation, with two bytes."""
    start = ["<s>", "<pad>", "</s>", "<unk>", "<mask>", "<0x41>", "<0xE3>"]
    tokenizer = Tokenizer(models.Unigram([(piece, -1.0) for piece in [*start, *pieces]], unk_id=3))
    tokenizer.pre_tokenizer, tokenizer.decoder = pre_tokenizers.Metaspace(), decoders.Metaspace()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", **NAMES)


def byte_level(texts):
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer, tokenizer.decoder = pre_tokenizers.ByteLevel(), decoders.ByteLevel()
    from tokenizers import trainers

    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=300, initial_alphabet=alphabet, special_tokens=["<s>", "<pad>", "</s>"], show_progress=False
    )
    tokenizer.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="<pad>", bos_token="<s>", eos_token="</s>")


WORDS = "cat dog house water red tree run blue sun moon star sky".split()
OLD = word_piece([*WORDS, "##s", "##ing", "s", "水", ",", "un", "##do"])
NEW = unigram(
    [*("\u2581" + word for word in WORDS), "\u2581Cat", "s", "ing", "\u2581s", "水", ",", "\u2581Katze", "\u2581undo",
     "\u2581cats", "ペ"]
)  # fmt: skip


def at(tokenizer, token):
    return tokenizer.get_vocab()[token]


def test_spellings_of_three_notations():
    assert spellings(OLD)[at(OLD, "##ing")] == Spelling(False, "ing")
    assert spellings(OLD)[at(OLD, "cat")] == Spelling(True, "cat")
    assert spellings(NEW)[at(NEW, "\u2581cat")] == Spelling(True, "cat")
    assert spellings(NEW)[at(NEW, "ing")] == Spelling(False, "ing")
    bytes_ = byte_level(["the cat, the cät"] * 20)
    spelt = set(spellings(bytes_).values())
    assert {Spelling(True, "the"), Spelling(False, "e")} <= spelt
    assert not any("\ufffd" in spelling.text for spelling in spelt)
    for tokenizer in (OLD, NEW):
        assert not set(tokenizer.all_special_ids) & spellings(tokenizer).keys()


def test_what_is_shared():
    shared = shared_tokens(OLD, NEW)
    expected = {f"\u2581{word}": word for word in WORDS}
    expected |= {"\u2581Cat": "cat", "s": "##s", "\u2581s": "s", "ing": "##ing", "水": "水", ",": ","}
    expected |= {"<s>": "[CLS]", "</s>": "[SEP]", "<pad>": "[PAD]", "<unk>": "[UNK]", "<mask>": "[MASK]"}
    assert shared == {at(NEW, new): at(OLD, old) for new, old in expected.items()}


def test_either_side_may_know_lower_case_only():
    cased = unigram(["\u2581Berlin", "\u2581the", "\u2581The"])
    lower = word_piece(["berlin", "the"])
    assert shared_tokens(lower, cased)[at(cased, "\u2581Berlin")] == at(lower, "berlin")
    back = shared_tokens(cased, lower)
    assert back[at(lower, "berlin")] == at(cased, "\u2581Berlin")
    assert back[at(lower, "the")] == at(cased, "\u2581the")


def test_roles_of_special_tokens_and_bytes():
    other = unigram(["\u2581x"])
    assert same_role(other, NEW) == {number: number for number in range(7)}
    back = same_role(NEW, OLD)
    assert back[at(OLD, "[CLS]")] == at(NEW, "<s>")
    assert at(OLD, "cat") not in back


def test_bytes_and_pieces_of_letters_are_shared():
    """Half a letter spells nothing, and is the same in two byte-level vocabularies, or as a byte of another one."""
    one, two = byte_level(["ペン ペン the cat"] * 20), byte_level(["the dog ペン ペン"] * 20)
    shared = shared_tokens(one, two)
    letters = pre_tokenizers.ByteLevel.alphabet()
    assert {at(two, letter): at(one, letter) for letter in letters}.items() <= shared.items()
    pieces = [token for token in one.get_vocab() if len(token) > 1 and at(one, token) not in spellings(one)]
    both = [token for token in pieces if token in two.get_vocab() and token[0] != "<"]
    assert both
    assert all(shared[at(two, token)] == at(one, token) for token in both)
    for text in ("é", "水", "\n", "A~"):
        named = [byte_tokens(one)[byte] for byte in text.encode()]
        assert one.backend_tokenizer.decode(named, skip_special_tokens=False) == text
    assert sorted(byte_tokens(one)) == [*range(256)]
    assert byte_tokens(NEW) == {0x41: 5, 0xE3: 6}
    assert shared_tokens(one, NEW)[6] == byte_tokens(one)[0xE3]
    assert shared_tokens(NEW, one)[byte_tokens(one)[0xE3]] == 6


def auxiliary():
    """Every word of its own direction; Katze is between cat and dog, nearer to cat; undo never occurs."""
    vectors = np.zeros((len(NEW), 16), dtype=np.float32)
    for place, word in enumerate(WORDS):
        vectors[at(NEW, "\u2581" + word), place] = 1
    vectors[at(NEW, "\u2581Katze"), :2] = 0.8, 0.6
    vectors[at(NEW, "\u2581cats"), 0] = 1
    return vectors


def test_focus_mixes_similar_shared_tokens():
    mixture = transplant(OLD, NEW, "focus", auxiliary())
    rows = np.random.default_rng(0).normal(size=(len(OLD), 8)).astype(np.float32)
    made = mixture.apply(torch.from_numpy(rows)).numpy()
    np.testing.assert_array_equal(mixture.apply(torch.from_numpy(rows[:, 0])).numpy()[:5], made[:5, 0])  # a bias
    assert made.shape == (len(NEW), 8)
    # sparsemax of (0.8, 0.6, 0, ...): threshold 0.2
    expected = 0.6 * rows[at(OLD, "cat")] + 0.4 * rows[at(OLD, "dog")]
    np.testing.assert_allclose(made[at(NEW, "\u2581Katze")], expected, rtol=1e-5)
    np.testing.assert_array_equal(made[at(NEW, "\u2581cats")], rows[at(OLD, "cat")])
    np.testing.assert_array_equal(made[at(NEW, "\u2581Cat")], rows[at(OLD, "cat")])
    # without a vector: from its pieces; what cannot be spelt is drawn
    pieces = (rows[at(OLD, "un")] + rows[at(OLD, "##do")]) / 2
    np.testing.assert_allclose(made[at(NEW, "\u2581undo")], pieces, rtol=1e-6)
    assert mixture.origin[at(NEW, "ペ")] == "random"
    assert mixture.counts() == {"shared": 23, "focus": 2, "mean": 1, "random": 3}


@pytest.mark.parametrize("method", METHODS)
def test_shared_tokens_are_copied_by_every_method(method):
    mixture = transplant(OLD, NEW, method, auxiliary())
    rows = torch.from_numpy(np.random.default_rng(1).normal(size=(len(OLD), 4)).astype(np.float32))
    made = mixture.apply(rows, seed=3)
    for new, old in shared_tokens(OLD, NEW).items():
        torch.testing.assert_close(made[new], rows[old], rtol=0, atol=0)
    weights = np.bincount(mixture.new, mixture.weight, minlength=len(NEW))
    np.testing.assert_allclose(weights[mixture.origin != "random"], 1, atol=1e-6)
    assert (weights[mixture.origin == "random"] == 0).all()
    torch.testing.assert_close(made, mixture.apply(rows, seed=3), rtol=0, atol=0)
    drawn = torch.from_numpy(mixture.origin == "random")
    assert bool((made[drawn] != mixture.apply(rows, seed=4)[drawn]).all())
    assert bool(torch.isfinite(made).all())


def test_pieces_inside_a_word_are_pieces_inside_a_word():
    old, new = word_piece(["ing", "##ing", "s", "##s"]), unigram(["ings", "\u2581ings"])
    mixture = transplant(old, new, "mean")
    for token, first in (("ings", "##ing"), ("\u2581ings", "ing")):
        made_of = mixture.old[mixture.new == at(new, token)].tolist()
        assert made_of == [at(old, first), at(old, "##s")]


def test_padding_that_a_tokenizer_was_saved_with_does_no_harm():
    old, new = word_piece(["ing", "##ing", "s", "##s"]), unigram(["\u2581ings"])
    old.backend_tokenizer.enable_padding(length=8, pad_id=0, pad_token="[PAD]")
    old.backend_tokenizer.enable_truncation(1)
    mixture = transplant(old, new, "mean")
    assert mixture.old[mixture.new == at(new, "\u2581ings")].tolist() == [at(old, "ing"), at(old, "##s")]


def test_mistakes():
    with pytest.raises(UserError, match="unknown method 'fokus'"):
        transplant(OLD, NEW, "fokus")
    with pytest.raises(UserError, match="has the vocabulary of the old one"):
        transplant(OLD, word_piece([*WORDS, "##s", "##ing", "s", "水", ",", "un", "##do"]), "mean")
    with pytest.raises(UserError, match="share 0 tokens"):
        transplant(OLD, NEW, "focus", np.zeros((len(NEW), 4), dtype=np.float32))
    with pytest.raises(UserError, match="no fast tokenizer"):
        spellings(object())


def project(row):
    """Euclidean projection of a vector onto the simplex, by bisection: the slow twin of sparsemax."""
    low, high = row.min() - 1, row.max()
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (middle, high) if np.maximum(row - middle, 0).sum() > 1 else (low, middle)
    return np.maximum(row - high, 0)


@given(arrays(np.float64, (3, 7), elements=st.floats(-1, 1)))
def test_sparsemax_is_the_projection_onto_the_simplex(scores):
    descending = -np.sort(-scores, axis=1)
    np.testing.assert_allclose(sparsemax(descending), [project(row) for row in descending], atol=1e-9)


@pytest.mark.parametrize("spread", [0.0, 0.001, 1.0])
def test_the_highest_similarities_are_enough(spread):
    """Also where more than the first 256 are in the support."""
    similarity = np.random.default_rng(0).uniform(0, 1, (5, 1500)) * spread
    place, weight = _sparsest(similarity)
    full = np.zeros_like(similarity)
    np.put_along_axis(full, place, weight, axis=1)
    np.testing.assert_allclose(full, [project(row) for row in similarity], atol=1e-9)
