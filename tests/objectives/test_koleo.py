"""KoLeo against a plain loop, golden numbers and its invariances."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from mlcl.objectives import koleo as module
from mlcl.objectives.koleo import koleo


def unit(rows: int, dim: int, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return F.normalize(torch.randn(rows, dim, generator=generator, dtype=torch.float64), dim=-1)


def slow_koleo(vectors, ids, others, other_ids, eps):
    """The definition, candidate by candidate."""
    total = torch.zeros((), dtype=torch.float64)
    for i, vector in enumerate(vectors):
        distances = [
            (vector - other).pow(2).sum()
            for j, (other, group) in enumerate(zip([*vectors, *others], [*ids, *other_ids], strict=True))
            if j != i and not (group >= 0 and group == ids[i])
        ]
        if distances:
            total = total - 0.5 * torch.log(min(distances) + eps)
    return total / len(vectors)


@given(rows=st.integers(1, 7), extra=st.integers(0, 4), seed=st.integers(0, 2**20), block=st.sampled_from([2, 1024]))
def test_value_and_gradient_equal_the_definition(rows, extra, seed, block):
    generator = torch.Generator().manual_seed(seed)
    ids, other_ids = (torch.randint(-1, 3, (n,), generator=generator) for n in (rows, extra))
    results = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_ROWS", block)
        for function in (koleo, slow_koleo):
            vectors, others = unit(rows, 5, seed).requires_grad_(), unit(extra, 5, seed + 1).requires_grad_()
            if function is koleo:
                loss = koleo(vectors, ids=ids, others=others, other_ids=other_ids, eps=1e-4)
            else:
                loss = slow_koleo(vectors, ids.tolist(), others, other_ids.tolist(), 1e-4)
            (loss + 0 * (vectors.sum() + others.sum())).backward()
            results.append((loss.detach(), vectors.grad, others.grad))
    for fast, slow in zip(*results, strict=True):
        torch.testing.assert_close(fast, slow)


def test_golden_number():
    corners = torch.eye(3)  # each sqrt(2) from the nearest
    torch.testing.assert_close(koleo(corners, eps=0.0), torch.tensor(-0.5 * math.log(2)))
    opposite = torch.tensor([[1.0, 0.0], [-1.0, 0.0]])
    torch.testing.assert_close(koleo(opposite, eps=0.0), torch.tensor(-math.log(2)))


def test_translations_may_be_close_and_duplicates_do_not_explode():
    vectors = torch.eye(3)[[0, 0, 1, 2]].requires_grad_()
    masked = koleo(vectors, ids=torch.tensor([5, 5, -1, -1]))
    torch.testing.assert_close(masked.detach(), torch.tensor(-0.5 * math.log(2 + 1e-6)))
    loss = koleo(F.normalize(vectors + 1e-4 * torch.tensor([[0.0, 1, 0], *[[0.0] * 3] * 3]), dim=-1))
    loss.backward()
    assert loss > 1
    assert vectors.grad.norm() <= 2 / (2 * math.sqrt(1e-6))


def test_spread_vectors_have_less_of_it():
    close = F.normalize(torch.ones(8, 6) + 0.01 * unit(8, 6, 0).float(), dim=-1)
    assert koleo(close) > koleo(unit(8, 6, 0).float()) + 1


@pytest.mark.parametrize("rows", [0, 1])
def test_nothing_to_compare_gives_a_zero_with_a_gradient(rows):
    vectors = unit(rows, 4, 0).requires_grad_()
    loss = koleo(vectors)
    loss.backward()
    assert loss == 0
    assert vectors.grad is not None


def test_nan_is_seen():
    vectors = unit(3, 4, 0)
    vectors[1, 2] = math.nan
    assert koleo(vectors).isnan()


def test_shapes_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match=r"others \(2, 5\) must be \(M, 4\)"):
        koleo(torch.zeros(3, 4), others=torch.zeros(2, 5))
    with pytest.raises(ValueError, match=r"ids \(2,\) must be \(3,\)"):
        koleo(torch.zeros(3, 4), ids=torch.zeros(2, dtype=torch.long))
