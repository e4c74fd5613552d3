from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse

from mlcl.topics.labels import class_tfidf, label, words_of


def test_words_have_letters_and_frequent_ones_are_left_out():
    texts = [f"The {animal} no. {number} runs, 25 %" for number, animal in enumerate(["cat", "dog"] * 30)]
    texts += ["The cat"] * 3
    words = words_of(texts, ["en"] * 60 + ["de"] * 3)
    assert words[0] == []  # cat and dog are frequent here as well
    assert words[-1] == ["the", "cat"]  # too few texts to say
    rare = [f"The animal{number // 2} runs" for number in range(100)]
    assert words_of(rare, ["en"] * 100)[:3] == [["animal0"], ["animal0"], ["animal1"]]


def test_labels_are_found_within_each_language():
    words = [["hund", "laut"], ["hund"], ["auto", "laut"], ["dog"], ["dog", "loud"], ["car", "loud"], ["car"]]
    languages = ["de", "de", "de", "en", "en", "en", "en"]
    topics = np.array([0, 0, 1, 0, 0, 1, 1])
    found = label(words, languages, topics, number=2)
    assert set(found) == {0, 1}
    assert found[0]["de"][0] == "hund"
    assert found[0]["en"][0] == "dog"
    assert found[1] == {"en": ["car", "loud"], "de": ["auto", "laut"]}
    assert list(found[1]) == ["en", "de"]  # more English texts in it


def test_topics_without_words_and_texts_without_topic():
    found = label([["a"], [], ["b"]], ["de", "de", "de"], np.array([0, 1, -1]))
    assert found == {0: {"de": ["a"]}, 1: {}}


def test_weights_equal_those_of_bertopic():
    vectorizers = pytest.importorskip("bertopic.vectorizers")
    counts = np.random.default_rng(0).integers(0, 4, size=(5, 30))
    counts[:, 0] += 1
    counts[0, 1:] += counts[:, 1:].sum(axis=0) == 0
    counts[0, 0] += -counts.sum() % 5  # BERTopic rounds the mean number of words
    expected = vectorizers.ClassTfidfTransformer(reduce_frequent_words=True).fit_transform(sparse.csr_matrix(counts))
    found = class_tfidf(sparse.csr_matrix(counts))
    np.testing.assert_allclose(found.toarray(), expected.toarray())
