"""The queue of negatives against a plain list."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mlcl.objectives import NegativeQueue


@given(size=st.integers(1, 9), batches=st.lists(st.integers(0, 12), max_size=8))
def test_holds_the_newest_keys_with_their_ids(size, batches):
    queue, everything, number = NegativeQueue(size, 2), [], 0
    for count in batches:
        ids = torch.arange(number, number + count)
        queue.enqueue(torch.stack([ids, -ids], dim=1).float(), ids)
        everything += ids.tolist()
        number += count
        newest = everything[-size:]
        assert len(queue) == len(newest)
        assert sorted(queue.ids.tolist()) == newest
        assert queue.vectors[:, 0].tolist() == queue.ids.tolist()
        assert queue.vectors[:, 1].tolist() == (-queue.ids).tolist()


def test_keys_are_detached():
    queue = NegativeQueue(4, 2)
    queue.enqueue(torch.randn(2, 2, requires_grad=True))
    assert not queue.vectors.requires_grad
    assert queue.ids.tolist() == [-1, -1]


def test_state_dict_carries_everything():
    queue, copy = NegativeQueue(5, 3), NegativeQueue(5, 3)
    for _ in range(3):
        queue.enqueue(torch.randn(3, 3), torch.randint(0, 9, (3,)))
    copy.load_state_dict(queue.state_dict())
    keys, ids = torch.randn(2, 3), torch.tensor([1, 2])
    queue.enqueue(keys, ids)
    copy.enqueue(keys, ids)
    assert torch.equal(queue.vectors, copy.vectors)
    assert torch.equal(queue.ids, copy.ids)


def test_bad_sizes_and_ids_are_refused():
    with pytest.raises(ValueError, match="at least 1"):
        NegativeQueue(0, 4)
    with pytest.raises(ValueError, match="must be"):
        NegativeQueue(4, 2).enqueue(torch.zeros(2, 2), torch.zeros(3, dtype=torch.long))
