"""Margin mining against a plain float64 twin, and what must not change it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlcl.core.errors import UserError
from mlcl.retrieval.mining import mine

MARGINS = ("ratio", "distance", "absolute")
RETRIEVALS = ("forward", "backward", "intersect", "max")


def _oracle(x, y, k, margin, retrieval):
    """Artetxe & Schwenk (2019), one pair at a time."""
    x, y = (v.astype(np.float64) / np.linalg.norm(v.astype(np.float64), axis=1, keepdims=True) for v in (x, y))
    cosine = x @ y.T
    near_x = [sorted(range(len(y)), key=lambda j: -cosine[i, j])[:k] for i in range(len(x))]
    near_y = [sorted(range(len(x)), key=lambda i: -cosine[i, j])[:k] for j in range(len(y))]

    def score(i, j):
        mean = (np.mean([cosine[i, n] for n in near_x[i]]) + np.mean([cosine[n, j] for n in near_y[j]])) / 2
        ratio = cosine[i, j] / max(mean, 1e-6)
        return {"ratio": ratio, "distance": cosine[i, j] - mean, "absolute": cosine[i, j]}[margin]

    forward = {(i, max(near_x[i], key=lambda j: score(i, j))) for i in range(len(x))}
    backward = {(max(near_y[j], key=lambda i: score(i, j)), j) for j in range(len(y))}
    pairs = {"forward": forward, "backward": backward, "intersect": forward & backward, "max": forward | backward}
    ordered = sorted(pairs[retrieval], key=lambda pair: (-score(*pair), pair))
    if retrieval == "max":
        kept, used_x, used_y = [], set(), set()
        for i, j in ordered:
            if i not in used_x and j not in used_y:
                kept.append((i, j))
                used_x.add(i)
                used_y.add(j)
        ordered = kept
    return ordered, [score(*pair) for pair in ordered]


def _vectors(seed: int, n: int, m: int, d: int = 6, shift: float = 0.5):
    generator = np.random.default_rng(seed)
    return (generator.normal(size=(rows, d)).astype(np.float32) + np.float32(shift) for rows in (n, m))


@pytest.mark.parametrize("margin", MARGINS)
@pytest.mark.parametrize("retrieval", RETRIEVALS)
@given(seed=st.integers(0, 10_000), n=st.integers(1, 15), m=st.integers(1, 15), k=st.integers(1, 6))
@settings(max_examples=25, deadline=None)
def test_equals_the_slow_twin(margin, retrieval, seed, n, m, k):
    x, y = _vectors(seed, n, m)
    source, target, score = mine(x, y, k=k, margin=margin, retrieval=retrieval)
    pairs, scores = _oracle(x, y, k, margin, retrieval)
    assert list(zip(source.tolist(), target.tolist(), strict=True)) == pairs
    np.testing.assert_allclose(score, scores, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("margin", MARGINS)
@given(seed=st.integers(0, 10_000), retrieval=st.sampled_from(RETRIEVALS))
@settings(max_examples=30, deadline=None)
def test_lengths_and_order_of_the_rows_do_not_matter(margin, seed, retrieval):
    x, y = _vectors(seed, 12, 14)
    generator = np.random.default_rng(seed + 1)
    shuffle_x, shuffle_y = generator.permutation(12), generator.permutation(14)
    lengths = generator.uniform(0.1, 50, size=(12, 1)).astype(np.float32)
    plain = mine(x, y, margin=margin, retrieval=retrieval)
    source, target, score = mine((x * lengths)[shuffle_x], y[shuffle_y] * 3, margin=margin, retrieval=retrieval)
    found = set(zip(shuffle_x[source].tolist(), shuffle_y[target].tolist(), strict=True))
    assert found == set(zip(plain[0].tolist(), plain[1].tolist(), strict=True))
    np.testing.assert_allclose(score, plain[2], rtol=1e-4, atol=1e-5)


def test_margin_sees_through_a_hub():
    # Target 0 has the cosine 0.5 with every source; source i and its own target i + 1 have 0.48.
    x = np.eye(4, 8, dtype=np.float32)
    hub = np.array([[0.5] * 4 + [0] * 4])
    own = np.concatenate([0.48 * np.eye(4), np.sqrt(1 - 0.48**2) * np.eye(4)], axis=1)
    y = np.concatenate([hub, own]).astype(np.float32)
    assert mine(x, y, margin="absolute", retrieval="forward", k=2)[1].tolist() == [0, 0, 0, 0]
    for margin in ("ratio", "distance"):
        source, target, _ = mine(x, y, margin=margin, retrieval="forward", k=2)
        assert (target - source).tolist() == [1, 1, 1, 1]


def test_empty_sides_and_bad_options():
    assert [len(part) for part in mine(np.zeros((0, 3)), np.ones((2, 3)))] == [0, 0, 0]
    with pytest.raises(UserError, match="unknown margin"):
        mine(np.ones((2, 3)), np.ones((2, 3)), margin="rato")
    with pytest.raises(UserError, match="unknown retrieval"):
        mine(np.ones((2, 3)), np.ones((2, 3)), retrieval="both")
