"""Batches: what is masked, and where everything lies after packing."""

from __future__ import annotations

import numpy as np
import pytest

from mlcl.training.batching import make_batch
from mlcl.training.corruption import Masking

MASKING = Masking(mask_token_id=4, vocab_size=1000, special_ids=(0, 1, 2, 3, 4), probability=0.15)


def sequences(*lengths: int, start: int = 10) -> list[np.ndarray]:
    return [np.array([0, *range(start + 40 * i, start + 40 * i + n), 2]) for i, n in enumerate(lengths)]


def test_masks_follow_bert():
    rng, ids = np.random.default_rng(0), np.array([0, *range(100, 9000), 2])
    masked, labels = MASKING.apply(ids, rng)
    chosen = labels != -100
    assert chosen.mean() == pytest.approx(0.15, abs=0.02)
    assert np.array_equal(labels[chosen], ids[chosen])
    assert np.array_equal(masked[~chosen], ids[~chosen])
    assert (masked[chosen] == 4).mean() == pytest.approx(0.8, abs=0.05)
    assert (masked[chosen] == ids[chosen]).mean() == pytest.approx(0.1, abs=0.05)
    assert not chosen[[0, -1]].any()


def test_a_short_sentence_has_one_masked_token_and_an_empty_one_none():
    for seed in range(20):
        _, labels = MASKING.apply(np.array([0, 50, 2]), np.random.default_rng(seed))
        assert (labels != -100).tolist() == [False, True, False]
    _, labels = MASKING.apply(np.array([0, 2]), np.random.default_rng(0))
    assert (labels == -100).all()


def test_labels_lie_on_the_tokens_they_belong_to():
    anchors, positives, lm = sequences(3, 9), sequences(4, 2, start=200), sequences(12, 5, start=400)
    batch = make_batch(
        anchors, positives, lm=lm, masking=MASKING, rng=np.random.default_rng(1), ids=np.array([5, 6]), with_keys=True
    )
    stream = batch.online.input_ids.numpy()
    labels = np.full(len(stream), -100)
    labels[batch.masked.numpy()] = batch.labels.numpy()
    assert (batch.masked.diff() > 0).all()
    bounds = np.cumsum(batch.online.lengths.numpy())
    starts = bounds - batch.online.lengths.numpy()
    originals = [*anchors, *positives, *lm]
    for place, original in enumerate(batch.online.order.tolist()):
        tokens, targets = (array[starts[place] : bounds[place]] for array in (stream, labels))
        restored = np.where(targets == -100, tokens, targets)
        assert np.array_equal(restored, originals[original])
        assert (targets == -100).all() == (original < 4)
    assert batch.ids.tolist() == [5, 6]
    assert batch.pairs == 2
    assert batch.tokens == len(stream)
    assert sorted(batch.keys.lengths.tolist()) == [4, 6]


def test_a_pair_is_concatenated_without_its_second_opening_token():
    assert MASKING.join(np.array([0, 7, 2]), np.array([0, 8, 9, 2])).tolist() == [0, 7, 2, 8, 9, 2]
    assert MASKING.join(np.array([7, 2]), np.array([8, 9, 2])).tolist() == [7, 2, 8, 9, 2]  # there is none


def test_a_batch_without_a_sentence_is_one_filler_token():
    batch = make_batch([], [], with_keys=True)
    assert batch.online.lengths.tolist() == batch.keys.lengths.tolist() == [1]
    assert (batch.pairs, batch.hard_negatives, len(batch.ids), batch.masked) == (0, 0, 0, None)
