"""The squared error between the sides: golden numbers, and what its scale does."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mlcl.objectives.translation_mse import translation_mse


def normal(rows: int, dim: int, seed: int) -> torch.Tensor:
    return torch.randn(rows, dim, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_golden_numbers():
    anchors, positives = torch.tensor([[1.0, 0.0], [0.0, 2.0]]), torch.tensor([[1.0, 2.0], [0.0, 0.0]])
    torch.testing.assert_close(translation_mse(anchors, positives, relative=False), torch.tensor(2.0))
    torch.testing.assert_close(translation_mse(anchors, positives), torch.tensor(2.0 / 1.25))
    torch.testing.assert_close(translation_mse(anchors, -anchors), torch.tensor(4.0))


@given(seed=st.integers(0, 2**20), scale=st.floats(1e-3, 1e3))
def test_the_relative_error_is_blind_to_scale_and_does_not_shrink(seed, scale):
    anchors, positives = normal(4, 3, seed).requires_grad_(), normal(4, 3, seed + 1).requires_grad_()
    loss = translation_mse(anchors, positives)
    torch.testing.assert_close(translation_mse(scale * anchors, scale * positives), loss)
    loss.backward()
    radial = (anchors.grad * anchors.detach()).sum() + (positives.grad * positives.detach()).sum()
    assert abs(float(radial)) < 1e-9  # no part of the gradient makes all of them shorter
    assert 0 <= loss <= 4


def test_the_published_form_is_torchs():
    anchors, positives = normal(4, 3, 0), normal(4, 3, 1)
    expected = torch.nn.functional.mse_loss(anchors, positives)
    torch.testing.assert_close(translation_mse(anchors, positives, relative=False), expected)


def test_an_empty_batch_is_a_zero_with_a_gradient():
    anchors = torch.zeros(0, 3, requires_grad=True)
    loss = translation_mse(anchors, torch.zeros(0, 3))
    loss.backward()
    assert loss == 0


def test_shapes_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="both"):
        translation_mse(torch.zeros(3, 4), torch.zeros(2, 4))
