"""Sentence alignment: planted merges and gaps are found, the band finds what the whole search finds, edges."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlcl.retrieval import alignment
from mlcl.retrieval.alignment import align, runs

D = 48


def embed(texts, noise=0.0, seed=0):
    """A bag of words: the sum of a fixed vector per word, plus noise."""
    chance = np.random.default_rng(seed)
    words = {word: np.random.default_rng(int(word)).normal(size=D) for text in texts for word in text.split()}
    rows = np.array([sum(words[word] for word in text.split()) for text in texts])
    rows = rows + noise * np.linalg.norm(rows, axis=1, keepdims=True) * chance.normal(size=rows.shape) / np.sqrt(D)
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def sentences(count, first=0):
    """Each of five words that no other sentence has."""
    return [" ".join(str(5 * n + word) for word in range(5)) for n in range(first, first + count)]


def beads(source, target, noise=0.0, most=3, **options):
    x, y = embed(runs(source, most), noise, 1), embed(runs(target, most), noise, 2)
    return align(x, y, len(source), len(target), most=most, **options)


def spans(found):
    return [(bead.source, bead.target) for bead in found]


def test_runs():
    assert runs(["a", "b", "c"], 2) == ["a", "b", "c", "a b", "b c"]
    assert runs(["a"], 3) == ["a"]
    assert runs([], 3) == []


def test_equal_documents_are_one_to_one():
    text = sentences(20)
    assert spans(beads(text, text, noise=0.3)) == [((n, n + 1), (n, n + 1)) for n in range(20)]


def test_merges_and_gaps_are_found():
    text = sentences(12)
    source = [*text[:3], f"{text[3]} {text[4]}", *text[5:12]]  # two became one
    target = [*text[:7], *text[8:10], *sentences(1, first=900), *text[10:]]  # one is missing, one is new
    found = spans(beads(source, target, noise=0.2))
    assert ((3, 4), (3, 5)) in found
    assert ((6, 7), (7, 7)) in found
    assert ((9, 9), (9, 10)) in found
    assert ((10, 11), (11, 12)) in found


def test_costs_are_low_for_translations_only():
    text = sentences(10)
    costs = {bead.source: bead.cost for bead in beads(text, [*text[:9], *sentences(1, first=700)], gap=5.0)}
    assert max(costs[n, n + 1] for n in range(9)) < 0.01
    assert costs[9, 10] > 0.5


def damaged(count, seed):
    """Documents with merges and gaps on both sides, and their true beads."""
    chance = np.random.default_rng(seed)
    text = sentences(count)
    source, target, truth = [], [], []
    for kind, part in zip(chance.choice(5, count, p=[0.7, 0.1, 0.1, 0.05, 0.05]), text, strict=True):
        words = part.split()
        halves = [" ".join(words[:2]), " ".join(words[2:])]
        left = {0: [part], 1: halves, 2: [part], 3: [part], 4: []}[int(kind)]
        right = {0: [part], 1: [part], 2: halves, 3: [], 4: [part]}[int(kind)]
        start = len(source), len(target)
        source += left
        target += right
        truth.append(((start[0], len(source)), (start[1], len(target))))
    return source, target, truth


def test_long_documents_in_a_band(monkeypatch):
    source, target, truth = damaged(400, 0)
    found = spans(beads(source, target, noise=0.2))
    translated = {bead for bead in truth if all(first < last for first, last in bead)}  # gaps side by side may swap
    assert len(set(found) & translated) > 0.95 * len(translated)
    monkeypatch.setattr(alignment, "_WHOLE", 10**6)
    assert spans(beads(source, target, noise=0.2)) == found


@given(st.integers(0, 9), st.integers(0, 9), st.integers(1, 4), st.integers(0, 3))
def test_beads_cover_both_sides_in_order(n, m, most, seed):
    chance = np.random.default_rng(seed)
    x, y = (chance.normal(size=(len(runs(["1"] * count, most)), 8)) for count in (n, m))
    x, y = (rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (x, y))
    found = align(x, y, n, m, most=most)
    for side, count in (("source", n), ("target", m)):
        ends = [getattr(bead, side) for bead in found]
        assert all(a[1] == b[0] for a, b in itertools.pairwise(ends)) or not (n and m)
        assert sum(last - first for first, last in ends) == count
    assert all(np.isfinite(bead.cost) for bead in found)


def test_the_path_is_the_cheapest(monkeypatch):
    """Against plain recursion over all paths."""
    chance = np.random.default_rng(3)
    n, m, most, gap = 4, 5, 2, 0.4
    x, y = (chance.normal(size=(2 * count - 1, 6)) for count in (n, m))
    x, y = ((rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32) for rows in (x, y))
    found = align(x, y, n, m, most=most, gap=gap)
    costs = alignment._Costs(alignment._by_length(x, n, most), alignment._by_length(y, m, most))

    def cheapest(i, j):
        if (i, j) == (0, 0):
            return 0.0
        options = []
        for a, b in ((1, 0), (0, 1), (1, 1), (1, 2), (2, 1)):
            if i >= a and j >= b:
                cost = gap if not (a and b) else float(costs.of(np.array([i - a]), np.array([j - b]), a, b)[0])
                options.append(cheapest(i - a, j - b) + cost)
        return min(options)

    assert sum(bead.cost for bead in found) == pytest.approx(cheapest(n, m), rel=1e-5)


def test_wrong_numbers_of_vectors():
    with pytest.raises(ValueError, match="3 sentences have 5 runs of up to 2"):
        align(np.ones((4, 2)), np.ones((5, 2)), 3, 3, most=2)
