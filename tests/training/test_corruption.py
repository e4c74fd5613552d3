"""Inputs of the LM terms: nothing is lost, and what is hidden can be put back."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from mlcl.training.corruption import Infilling, NextToken, SpanCorruption

SPECIAL = (0, 1, 2, 3, 4)
SENTINELS = tuple(range(900, 910))
SENTENCES = st.lists(st.integers(5, 800), min_size=0, max_size=40).map(lambda ids: np.array([0, *ids, 2]))


@given(SENTENCES, st.integers(0, 1000), st.floats(0.05, 0.9))
def test_spans_put_back_in_place_of_their_sentinels_give_the_sentence(ids, seed, probability):
    example = SpanCorruption(SPECIAL, SENTINELS, 2, probability).corrupt(ids, np.random.default_rng(seed))
    if len(ids) < 4:  # nothing could be hidden and something kept
        assert len(example.labels) == 0
        assert np.array_equal(example.inputs, ids)
        return
    assert example.labels[-1] == 2
    spans, current = {}, None
    for label in example.labels[:-1].tolist():
        if label in SENTINELS:
            current = spans.setdefault(label, [])
        else:
            current.append(label)
    assert all(spans.values())
    restored = [token for number in example.inputs.tolist() for token in spans.get(number, [number])]
    assert restored == ids.tolist()
    assert sorted(spans) == [number for number in example.inputs.tolist() if number in SENTINELS]
    assert len(example.inputs) <= len(ids)
    assert (example.places == 0).all()


@given(st.integers(0, 100))
def test_the_share_of_hidden_tokens_and_the_length_of_spans_are_those_of_t5(seed):
    ids = np.array([*range(100, 300), 2])
    example = SpanCorruption(SPECIAL, tuple(range(900, 1000)), 2, 0.15).corrupt(ids, np.random.default_rng(seed))
    hidden = [label for label in example.labels.tolist() if label < 900 and label != 2]
    assert len(hidden) == 30
    assert sum(label >= 900 for label in example.labels.tolist()) == 10


@given(SENTENCES, st.integers(0, 1000), st.floats(0.05, 0.9))
def test_infilling_hides_spans_and_asks_for_the_whole_sentence(ids, seed, probability):
    example = Infilling(SPECIAL, 4, probability).corrupt(ids, np.random.default_rng(seed))
    if len(ids) == 2:
        assert len(example.labels) == 0
        return
    assert np.array_equal(example.labels, ids)
    kept = [number for number in example.inputs.tolist() if number != 4]
    rest = iter(ids.tolist())
    assert all(number in rest for number in kept)  # in the order of the sentence
    free = len(ids) - 2
    assert 1 <= len(ids) - len(kept) <= max(1, round(free * probability))
    assert [ids[0], ids[-1]] == [example.inputs[0], example.inputs[-1]]
    assert not any(a == b == 4 for a, b in zip(example.inputs, example.inputs[1:], strict=False))


@given(SENTENCES)
def test_each_token_predicts_the_next(ids):
    inputs, places, labels = NextToken(SPECIAL).corrupt(ids, np.random.default_rng(0))
    assert np.array_equal(inputs, ids)
    assert np.array_equal(labels, ids[places + 1])
    assert len(labels) == len(ids) - 1
