"""Exact k-NN against a float64 sort and against faiss."""

from __future__ import annotations

import faiss
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from mlcl.core.errors import UserError
from mlcl.retrieval import knn, neighbours
from mlcl.retrieval.knn import nearest, nearest_both, unit


def _slow(queries: np.ndarray, keys: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    scores = queries @ keys.T
    order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    return np.take_along_axis(scores, order, 1), order


# Small whole numbers: exact in float32, and full of ties
whole = st.integers(-2, 2).map(float)


def _matrix(draw, n: int, d: int) -> np.ndarray:
    return np.array(draw(st.lists(st.lists(whole, min_size=d, max_size=d), min_size=n, max_size=n)), np.float32)


@st.composite
def problems(draw):
    n, m, d = draw(st.integers(1, 12)), draw(st.integers(1, 40)), draw(st.integers(1, 4))
    return (
        _matrix(draw, n, d),
        _matrix(draw, m, d),
        draw(st.integers(1, 6)),
        draw(st.integers(1, 40)),
        draw(st.integers(1, 3)),
    )


@given(problems())
@settings(max_examples=200, deadline=None)
def test_ties_go_to_the_lower_index_whatever_the_blocks(problem):
    x, y, k, block, span = problem
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(knn, "_ROWS", block)
        patch.setattr(knn, "_COLUMNS", block + 1)
        patch.setattr(neighbours, "_SPAN", span)
        one = nearest(x, y, k)
        forward, backward = nearest_both(x, y, k)
        thin = nearest(sparse.csr_matrix(x), sparse.csr_matrix(y), k)
    scores, index = _slow(x, y, k)
    for found in (one, forward, thin):
        np.testing.assert_array_equal(found.index, index)
        np.testing.assert_array_equal(found.scores, scores)
    np.testing.assert_array_equal(backward.index, _slow(y, x, k)[1])


def test_equals_faiss(monkeypatch):
    monkeypatch.setattr(knn, "_ROWS", 70)
    monkeypatch.setattr(knn, "_COLUMNS", 90)
    generator = np.random.default_rng(0)
    x, y = (unit(generator.normal(size=(n, 24))) for n in (150, 220))
    index = faiss.IndexFlatIP(24)
    index.add(y)
    scores, places = index.search(x, 7)
    found = nearest(x, y, 7)
    np.testing.assert_array_equal(found.index, places)
    np.testing.assert_allclose(found.scores, scores, atol=1e-6)


def test_full_blocks_equal_faiss():
    generator = np.random.default_rng(1)
    x, y = (unit(generator.normal(size=(n, 8))) for n in (1100, 8192 + 640))
    index = faiss.IndexFlatIP(8)
    index.add(y)
    scores, places = index.search(x, 4)
    forward, backward = nearest_both(x, y, 4)
    np.testing.assert_allclose(forward.scores, scores, atol=1e-6)
    assert (forward.index == places).mean() > 0.999  # float32 sums differ in the last digit, so a few neighbours swap
    index = faiss.IndexFlatIP(8)
    index.add(x)
    np.testing.assert_allclose(backward.scores, index.search(y, 4)[0], atol=1e-6)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_unit_rows(dtype):
    rows = np.array([[3, 4], [0, 0], [-200, 0], [60000, 60000]], dtype)
    half = np.sqrt(0.5)
    expected = np.array([[0.6, 0.8], [0, 0], [-1, 0], [half, half]], np.float32)
    np.testing.assert_allclose(unit(rows), expected, rtol=1e-6)
    assert unit(rows).dtype == np.float32
    np.testing.assert_allclose(unit(sparse.csr_matrix(rows.astype(np.float32))).toarray(), expected, rtol=1e-6)


def test_bad_input_is_a_clear_error():
    with pytest.raises(UserError, match="vector 1 has values that are not finite"):
        unit(np.array([[1.0], [np.nan]]))
    with pytest.raises(UserError, match="expected"):
        unit(np.zeros(3))
    with pytest.raises(UserError, match="cannot be compared"):
        nearest(np.zeros((2, 3)), np.zeros((2, 4)), 1)
    with pytest.raises(UserError, match="k=0"):
        nearest(np.zeros((2, 3)), np.zeros((2, 3)), 0)
