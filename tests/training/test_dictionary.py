"""Dictionaries: words of a token stream, translations that a word-for-word corpus gives away, code-switching."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlcl.training import dictionary as module
from mlcl.training.dictionary import APART, INSIDE, SPACE, START, induce, token_kinds, words_of
from mlcl.training.token_store import TokenStore

EN = "the cat dog house sees runs old new red blue tree water".split()  # as in conftest.tiny_corpus
DE = "die katze hund haus sieht rennt alt neu rot blau baum wasser".split()
KINDS = np.array([APART, START, START, INSIDE, INSIDE, SPACE], dtype=np.int8)


def text(tokenizer, ids):
    """What the pieces spell; the tiny tokenizer has no decoder."""
    pieces = tokenizer.convert_ids_to_tokens(ids, skip_special_tokens=True)
    return "".join(pieces).replace("▁", " ").strip()


@pytest.fixture(scope="module")
def dictionary(store, tokenizer):
    return induce(store, token_kinds(tokenizer), held_out=np.empty(0, np.int64))


def slow_words(ids: list[int]) -> list[list[int]]:
    words, open_ = [], False
    for token in ids:
        if KINDS[token] in (START, SPACE):
            words.append([token])
            open_ = True
        elif KINDS[token] == APART:
            open_ = False
        elif open_:
            words[-1].append(token)
    return [word for word in words if len(word) > 1 or KINDS[word[0]] == START]


@given(ids=st.lists(st.integers(0, 5), max_size=20))
def test_words_are_runs_from_one_beginning_to_the_next(ids):
    words = words_of(np.array(ids, dtype=np.int64), KINDS)
    expected = slow_words(ids)
    assert [ids[start:stop] for start, stop in zip(words.start, words.stop, strict=True)] == expected
    for i, first in enumerate(expected):
        for j, second in enumerate(expected):
            assert (words.hash[i] == words.hash[j]) == (first == second)


@pytest.mark.parametrize(
    ("pieces", "kinds"),
    [
        ("<s> ▁the re ▁ , ▁, 猫 <unk>", [APART, START, INSIDE, SPACE, APART, APART, START, APART]),
        ("<s> the ##re ! ##! 猫 a <unk>", [APART, START, INSIDE, APART, APART, START, START, APART]),
        ("<s> Ġthe re Ġ ã Ġ, Ã <unk>", [APART, START, INSIDE, SPACE, INSIDE, APART, INSIDE, APART]),
    ],
    ids=["SentencePiece", "WordPiece", "byte-level"],
)
def test_kinds_of_tokens_by_how_the_vocabulary_marks_words(pieces, kinds):
    pieces = pieces.split()

    class Tokenizer:
        all_special_ids = (0, 7)

        def __len__(self):
            return len(pieces)

        def convert_ids_to_tokens(self, ids):
            return [pieces[i] for i in ids]

    assert token_kinds(Tokenizer()).tolist() == kinds


def test_a_word_for_word_corpus_gives_its_dictionary_away(store, tokenizer, dictionary):
    en, de = store.languages.index("en"), store.languages.index("de")
    tried = 0
    for word, translation in zip(EN, DE, strict=True):
        if tokenizer.unk_token_id in tokenizer(f"{word} {translation}")["input_ids"]:
            continue  # the tiny vocabulary lacks some letters
        words, tried = words_of(np.array(tokenizer(word)["input_ids"]), dictionary.kinds), tried + 1
        key = module._key(words.hash, en)[0]
        low, high = (np.searchsorted(dictionary.keys, key, side) for side in ("left", "right"))
        found = [text(tokenizer, dictionary.words[i]) for i in range(low, high) if dictionary.pairs[i, 1] == de]
        assert found == [translation]
    assert tried > 3


def test_held_out_groups_are_not_looked_at(store, tokenizer):
    everything = np.unique(store.group)
    assert not len(induce(store, token_kinds(tokenizer), held_out=everything))


def test_words_that_are_their_own_translation_are_left_out():
    names, words = [10, 11], [(1, 21), (2, 22), (3, 23)]  # a name is the same in both languages
    sentences, groups = [], []
    for group in range(36):
        for side in (0, 1):
            sentences.append([0, names[group % 2], words[group % 3][side], 0])
            groups.append(group)
    store = TokenStore(
        tokens=np.array(sentences, np.uint32).ravel(),
        offsets=np.arange(0, 4 * len(sentences) + 1, 4),
        language=np.tile(np.array([0, 1], np.uint16), 36),
        group=np.array(groups),
        parallel=len(sentences),
        languages=["en", "de"],
        origin=np.zeros(len(sentences), np.uint16),
        origins=["made-up"],
    )
    found = induce(store, np.array([APART, *[START] * 29], np.int8), held_out=np.empty(0, np.int64))
    assert sorted(int(word[0]) for word in found.words) == [1, 2, 3, 21, 22, 23]
    ids, count = found.switch(np.array(sentences[0]), 0, 1.0, np.random.default_rng(0), 60)
    assert (ids.tolist(), count) == ([0, 10, 21, 0], 1)


def test_few_words_are_replaced_and_nothing_else_changes(store, tokenizer, dictionary):
    en = store.languages.index("en")
    ids = np.array(tokenizer("the old cat sees water")["input_ids"])
    seen = set()
    for seed in range(40):
        switched, count = dictionary.switch(ids, en, 0.3, np.random.default_rng(seed), 60)
        words = text(tokenizer, switched).split()
        assert 1 <= count == sum(a != b for a, b in zip("the old cat sees water".split(), words, strict=True))
        assert (switched[0], switched[-1]) == (ids[0], ids[-1])
        seen.add(words[0])
    assert {"the", "die"} <= seen
    again = [dictionary.switch(ids, en, 0.3, np.random.default_rng(7), 60)[0].tolist() for _ in range(2)]
    assert again[0] == again[1]


def test_a_sentence_without_known_words_stays_and_the_length_is_kept(store, tokenizer, dictionary):
    en = store.languages.index("en")
    unknown = np.array(tokenizer("password")["input_ids"])
    assert dictionary.switch(unknown, en, 1.0, np.random.default_rng(0), 60) == (pytest.approx(unknown), 0)
    ids = np.array(tokenizer("the old cat sees water")["input_ids"])
    for seed in range(10):
        assert len(dictionary.switch(ids, en, 1.0, np.random.default_rng(seed), len(ids))[0]) <= len(ids)


def test_counting_by_table_and_by_sorting_agree(monkeypatch):
    values = np.random.default_rng(0).integers(0, 50, size=300)
    by_table = module._counted(values)
    monkeypatch.setattr(module, "_TABLE", 0)
    for fast, slow in zip(by_table, module._counted(values), strict=True):
        np.testing.assert_array_equal(fast, slow)
