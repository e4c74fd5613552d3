"""Documents are found by their contents, whatever boilerplate they share; lengths count."""

from __future__ import annotations

import numpy as np
import pytest

from mlcl.retrieval.documents import document_vectors, match_documents


def collection(sizes, seed, boilerplate=2):
    """Unit vectors of documents that all start with the same sentences."""
    chance = np.random.default_rng(7)
    same = chance.normal(size=(boilerplate, 32))
    own = [np.random.default_rng(100 + n).normal(size=(size, 32)) for n, size in enumerate(sizes)]
    rows = np.concatenate([part for one in own for part in (same, one)])
    rows += 0.5 * np.random.default_rng(seed).normal(size=rows.shape)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True), [size + boilerplate for size in sizes]


def test_shuffled_documents_find_their_partners():
    sizes = [3, 5, 4, 8, 2, 6]
    x, x_sizes = collection(sizes, 1)
    y, y_sizes = collection(sizes, 2)
    order = [3, 0, 5, 1, 4, 2]
    parts = np.split(y, np.cumsum(y_sizes)[:-1])
    found = match_documents(x, np.concatenate([parts[n] for n in order]), x_sizes, [y_sizes[n] for n in order])
    assert sorted((a, order[b]) for a, b, _ in found) == [(n, n) for n in range(6)]
    assert [score for *_, score in found] == sorted((score for *_, score in found), reverse=True)


def test_documents_of_very_different_length_are_no_pair():
    x, x_sizes = collection([4, 40], 1)
    found = match_documents(x, x[:6], x_sizes, [6])
    assert [(a, b) for a, b, _ in found] == [(0, 0)]
    assert match_documents(x[6:], x[:6], [42], [6]) == []


def test_vectors_are_means_of_length_one():
    vectors = document_vectors(np.eye(4), [1, 3])
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)
    assert vectors[0] @ vectors[1] < 0
    with pytest.raises(ValueError, match="documents of 3 sentences, but 4 vectors"):
        document_vectors(np.eye(4), [1, 2])
