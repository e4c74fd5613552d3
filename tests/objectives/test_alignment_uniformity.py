"""Alignment and uniformity against their definitions, golden numbers and bounds."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from mlcl.objectives.alignment_uniformity import alignment, mean_potential, pair_potentials, uniformity


def unit(rows: int, dim: int, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return F.normalize(torch.randn(rows, dim, generator=generator, dtype=torch.float64), dim=-1)


def slow_uniformity(vectors, ids, others, other_ids, t):
    potentials = [
        torch.exp(-t * (vector - other).pow(2).sum())
        for i, vector in enumerate(vectors)
        for j, (other, group) in enumerate(zip([*vectors, *others], [*ids, *other_ids], strict=True))
        if j != i and not (group >= 0 and group == ids[i])
    ]
    return torch.stack(potentials).mean().log() if potentials else 0.0 * vectors.sum()


@given(rows=st.integers(1, 7), extra=st.integers(0, 4), t=st.sampled_from([0.5, 2.0, 8.0]), seed=st.integers(0, 2**20))
def test_uniformity_and_its_gradient_equal_the_definition(rows, extra, t, seed):
    generator = torch.Generator().manual_seed(seed)
    ids, other_ids = (torch.randint(-1, 3, (n,), generator=generator) for n in (rows, extra))
    results = []
    for fast in (True, False):
        vectors, others = unit(rows, 5, seed).requires_grad_(), unit(extra, 5, seed + 1).requires_grad_()
        if fast:
            loss = uniformity(vectors, t=t, ids=ids, others=others, other_ids=other_ids)
        else:
            loss = slow_uniformity(vectors, ids.tolist(), others, other_ids.tolist(), t)
        (loss + 0 * (vectors.sum() + others.sum())).backward()
        results.append((loss.detach(), along_sphere(vectors), along_sphere(others)))
        assert loss <= 1e-9
    torch.testing.assert_close(*results)


def along_sphere(vectors):
    """The gradient without its part along the vectors, which normalisation drops: |x - y|^2 = 2 - 2 x.y there alone."""
    inward = (vectors.grad * vectors.detach()).sum(-1, keepdim=True)
    return vectors.grad - inward * vectors.detach()


def test_golden_numbers():
    opposite = torch.tensor([[1.0, 0.0], [-1.0, 0.0]])
    torch.testing.assert_close(uniformity(opposite), torch.tensor(-8.0))  # -t |x - y|^2 = -2 * 4
    assert uniformity(torch.ones(3, 1)) == 0
    torch.testing.assert_close(alignment(opposite, opposite.flip(0)), torch.tensor(4.0))
    torch.testing.assert_close(alignment(opposite, opposite.flip(0), alpha=1.0), torch.tensor(2.0))
    torch.testing.assert_close(alignment(torch.eye(2), torch.eye(2).flip(0), alpha=3.0), torch.tensor(2**1.5))


@pytest.mark.parametrize("alpha", [0.5, 1.0, 2.0, 3.0])
def test_alignment_of_equal_sides_is_zero_and_has_a_finite_gradient(alpha):
    anchors = unit(3, 4, 0).float().requires_grad_()
    loss = alignment(anchors, anchors.detach().clone(), alpha=alpha)
    loss.backward()
    assert loss < 1e-4
    assert torch.isfinite(anchors.grad).all()


def test_rows_in_two_places_give_the_same_as_together():
    vectors, ids = unit(7, 4, 3), torch.tensor([0, 1, 0, -1, -1, 2, 2])
    parts = [
        pair_potentials(vectors[own], ids=ids[own], others=vectors[other], other_ids=ids[other])
        for own, other in ((slice(0, 3), slice(3, 7)), (slice(3, 7), slice(0, 3)))
    ]
    together = mean_potential(*(torch.cat(part) for part in zip(*parts, strict=True)))
    torch.testing.assert_close(together, uniformity(vectors, ids=ids))


@pytest.mark.parametrize("ids", [[], [4], [3, 3, 3]])
def test_without_any_pair_it_is_a_zero_with_a_gradient(ids):
    vectors = unit(len(ids), 4, 0).requires_grad_()
    loss = uniformity(vectors, ids=torch.tensor(ids, dtype=torch.long))
    loss.backward()
    assert loss == 0
    assert vectors.grad is not None
    assert not vectors.grad.any()


def test_nan_is_seen():
    vectors = unit(3, 4, 0)
    vectors[1, 2] = math.nan
    assert uniformity(vectors).isnan()
    assert alignment(vectors, unit(3, 4, 1)).isnan()


def test_shapes_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="both"):
        alignment(torch.zeros(3, 4), torch.zeros(2, 4))
    with pytest.raises(ValueError, match="must be"):
        uniformity(torch.zeros(3, 4), others=torch.zeros(2, 5))
