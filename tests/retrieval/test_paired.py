from __future__ import annotations

import numpy as np
import pytest

from mlcl.core.errors import UserError
from mlcl.retrieval.geometry import alignment, effective_rank, uniformity
from mlcl.retrieval.knn import unit
from mlcl.retrieval.mining import mine
from mlcl.retrieval.paired import retrieve, xsim_errors


def _pairs(n: int = 60, noise: float = 0.9):
    generator = np.random.default_rng(3)
    x = generator.normal(size=(n, 8))
    return unit(x), unit(x + noise * generator.normal(size=(n, 8)))


def test_both_directions_equal_an_argmax_and_the_miner():
    x, y = _pairs()
    there, back = retrieve(x, y)
    np.testing.assert_array_equal(there.cosine, (x @ y.T).argmax(1))
    np.testing.assert_array_equal(back.cosine, (x @ y.T).argmax(0))
    assert 0 < there.hits().mean() < 1
    for found, first, second in ((there, x, y), (back, y, x)):
        source, target, _ = mine(first, second, retrieval="forward")
        np.testing.assert_array_equal(found.margin[source], target)


def test_a_copy_of_the_right_text_is_no_xsim_error():
    x = unit(np.array([[1, 0], [0, 1], [0, 1.0]]))
    there, _ = retrieve(x, x)
    np.testing.assert_array_equal(there.hits(), [True, True, False])  # by position the second copy is missed
    np.testing.assert_array_equal(xsim_errors(there.cosine, ["a", "b", "b"]), [False, False, False])
    np.testing.assert_array_equal(xsim_errors(there.cosine, ["a", "b", "c"]), [False, False, True])


def test_sides_must_have_the_same_length():
    with pytest.raises(UserError, match="aligned row by row"):
        retrieve(np.ones((2, 3)), np.ones((3, 3)))


def test_alignment_and_uniformity_by_definition():
    x, y = _pairs(30)
    assert alignment(x, y) == pytest.approx(
        np.mean([np.sum((a - b) ** 2) for a, b in zip(x, y, strict=True)]), rel=1e-5
    )
    kernel = [np.exp(-2 * np.sum((x[i] - x[j]) ** 2)) for i in range(30) for j in range(30) if i != j]
    assert uniformity(x) == pytest.approx(np.log(np.mean(kernel)), rel=1e-4)
    assert uniformity(np.tile(x[:1], (5, 1))) == pytest.approx(0, abs=1e-5)  # a collapsed space


def test_effective_rank_counts_the_directions_in_use():
    assert effective_rank(np.eye(7)) == pytest.approx(7)
    assert effective_rank(np.ones((50, 8))) == pytest.approx(1)
    assert effective_rank(np.zeros((5, 8))) == 0
    x, _ = _pairs(400)
    assert 7 < effective_rank(x) <= 8
    values = np.array([3.0, 1.0])  # entropy of (3/4, 1/4), by hand
    by_hand = np.exp(-(0.75 * np.log(0.75) + 0.25 * np.log(0.25)))
    assert effective_rank(np.diag(values)) == pytest.approx(by_hand)
