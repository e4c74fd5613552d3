"""Vectors on disk: the same as without, each text encoded once, whole after a kill at any moment."""

from __future__ import annotations

import os

import numpy as np
import pytest

from mlcl.core.errors import UserError
from mlcl.stages import _vector_cache
from mlcl.stages._vector_cache import Meter, VectorCache


def embed(texts):
    return np.array([[len(text), hash(text) % 1000, 1.5] for text in texts], dtype=np.float32)


@pytest.fixture
def small_blocks(monkeypatch):
    monkeypatch.setattr(_vector_cache, "_BLOCK", 4)


TEXTS = [f"text {number}\n\u2028 é" for number in range(11)]


def test_vectors_are_those_of_the_encoder_and_encoded_once(tmp_path, small_blocks):
    meter = Meter(embed)
    with VectorCache(meter, tmp_path / "v") as cache:
        np.testing.assert_array_equal(cache(TEXTS[:6]), embed(TEXTS[:6]))
        mixed = [TEXTS[7], TEXTS[2], TEXTS[7], TEXTS[10], TEXTS[0]]
        np.testing.assert_array_equal(cache(mixed), embed(mixed))
        np.testing.assert_array_equal(cache(TEXTS), embed(TEXTS))
        np.testing.assert_array_equal(cache(TEXTS[3:5]), embed(TEXTS[3:5]))
        assert meter.texts == 11
    with VectorCache(meter, tmp_path / "v") as cache:
        np.testing.assert_array_equal(cache(TEXTS[::-1]), embed(TEXTS[::-1]))
    assert meter.texts == 11
    assert meter.seconds > 0


@pytest.mark.parametrize("cut", [("3.f32", 5), ("keys", 1), ("keys", 16), ("3.f32", 12 * 4)])
def test_what_a_kill_left_unfinished_is_made_anew(tmp_path, small_blocks, cut):
    with VectorCache(embed, tmp_path) as cache:
        cache(TEXTS)
    file = tmp_path / cut[0]
    os.truncate(file, file.stat().st_size - cut[1])
    meter = Meter(embed)
    with VectorCache(meter, tmp_path) as cache:
        np.testing.assert_array_equal(cache(TEXTS), embed(TEXTS))
    assert 1 <= meter.texts <= 4


def test_a_stopped_run_keeps_its_blocks_and_goes_on_with_the_same_ones(tmp_path, small_blocks):
    blocks = []

    def stopping(texts):
        if len(blocks) == 2:
            blocks.append(None)
            raise KeyboardInterrupt
        blocks.append(tuple(texts))
        return embed(texts)

    with pytest.raises(KeyboardInterrupt), VectorCache(stopping, tmp_path) as cache:
        cache(TEXTS)
    with VectorCache(stopping, tmp_path) as cache:
        np.testing.assert_array_equal(cache(TEXTS), embed(TEXTS))
    assert [len(block) if block else None for block in blocks] == [4, 4, None, 3]
    assert sum((block for block in blocks if block), ()) == tuple(TEXTS)


def test_only_one_process_at_a_time(tmp_path):
    with VectorCache(embed, tmp_path), pytest.raises(UserError, match="another process is encoding here"):
        VectorCache(embed, tmp_path)
    with VectorCache(embed, tmp_path) as cache:
        assert cache(TEXTS[:1]).shape == (1, 3)


def test_an_encoder_that_gives_too_few_vectors(tmp_path):
    with (
        VectorCache(lambda texts: embed(texts)[1:], tmp_path) as cache,
        pytest.raises(UserError, match="gave 10 vectors"),
    ):
        cache(TEXTS)
