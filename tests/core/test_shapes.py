"""Sizes rounded up to few values."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from mlcl.core.shapes import round_up


@given(size=st.integers(0, 1 << 24), steps=st.sampled_from([1, 4, 8, 16]))
def test_rounds_up_by_little(size, steps):
    rounded = round_up(size, steps)
    assert size <= rounded <= size + size / steps
    assert round_up(rounded, steps) == rounded


def test_few_values_between_powers_of_two():
    assert [round_up(size, 4) for size in (0, 1, 7, 9, 15, 16, 17, 33)] == [0, 1, 7, 10, 16, 16, 20, 40]
    assert len({round_up(size, 16) for size in range(8192, 16384)}) == 17
