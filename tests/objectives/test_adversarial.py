"""A reversed gradient, cross-entropy over what is known, and the worst small step."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from mlcl.objectives.adversarial import known_cross_entropy, reverse_gradient, worst_step


def test_forward_is_the_identity_and_backward_is_reversed():
    x = torch.tensor([1.0, -2.0], requires_grad=True)
    y = reverse_gradient(x, 0.5)
    assert torch.equal(y, x)
    (y * torch.tensor([3.0, 4.0])).sum().backward()
    assert x.grad.tolist() == [-1.5, -2.0]


def test_the_encoder_unlearns_what_the_discriminator_has_learned():
    """Of two values, the first tells the class. A trained discriminator reads it; a step then makes it smaller."""
    torch.manual_seed(0)
    labels = torch.arange(64) % 2
    inputs = torch.stack([labels * 2.0 - 1, torch.randn(64)], dim=1)
    encoder, head = torch.nn.Parameter(torch.ones(2)), torch.nn.Linear(2, 2)
    for _ in range(20):
        gradients = torch.autograd.grad(F.cross_entropy(head(inputs), labels), list(head.parameters()))
        with torch.no_grad():
            for parameter, gradient in zip(head.parameters(), gradients, strict=True):
                parameter -= gradient
    losses = [
        F.cross_entropy(head(reverse_gradient(inputs * encoder)), labels),
        F.cross_entropy(head(inputs * encoder), labels),
    ]
    away, towards = (torch.autograd.grad(loss, encoder)[0] for loss in losses)
    assert away[0] > 0 > towards[0]  # a step of descent, against the gradient
    assert away[0] > 10 * away[1].abs()


@given(seed=st.integers(0, 2**20), rows=st.integers(0, 6))
def test_unknown_rows_do_not_count(seed, rows):
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(rows, 3, generator=generator, dtype=torch.float64).requires_grad_()
    labels = torch.randint(-1, 3, (rows,), generator=generator)
    total, known = known_cross_entropy(logits, labels)
    expected = sum((torch.logsumexp(row, 0) - row[i] for row, i in zip(logits, labels, strict=True) if i >= 0), 0.0)
    assert float(total.detach()) == pytest.approx(float(expected), abs=1e-5)
    assert known == int((labels >= 0).sum())
    total.backward()
    assert logits.grad is not None
    assert not logits.grad[labels < 0].any()


def test_the_worst_step_is_long_as_told_and_uphill():
    weight = torch.tensor([[3.0, 4.0]])
    torch.testing.assert_close(worst_step(weight, 0.5), torch.tensor([[0.3, 0.4]]))
    point, away = torch.randn(6, generator=torch.Generator().manual_seed(0)), torch.randn(6)
    point.requires_grad_()
    (gradient,) = torch.autograd.grad(point.pow(4).sum(), point)
    step = worst_step(gradient, 1e-3)
    other = 1e-3 * away / away.norm()
    assert (point + step).pow(4).sum() >= (point + other).pow(4).sum()


@pytest.mark.parametrize("value", [0.0, math.nan, math.inf])
def test_no_direction_no_step(value):
    assert not worst_step(torch.full((2, 2), value), 1.0).any()


def test_shapes_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="must be"):
        known_cross_entropy(torch.zeros(2, 3), torch.zeros(3, dtype=torch.long))
