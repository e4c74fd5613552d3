"""The masked-LM loss against cross-entropy over the whole sequence."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from mlcl.objectives import masked_lm_loss


def test_equals_cross_entropy_with_ignored_positions():
    torch.manual_seed(0)
    hidden, weight = torch.randn(10, 8, dtype=torch.float64), torch.randn(20, 8, dtype=torch.float64)
    bias = torch.randn(20, dtype=torch.float64)
    labels = torch.tensor([3, -100, 5, -100, -100, 19, 0, -100, 1, 2])
    gradients = []
    for loss_of in (
        lambda h, w: masked_lm_loss(h, w, labels, bias),
        lambda h, w: F.cross_entropy(h @ w.T + bias, labels, ignore_index=-100),
    ):
        h, w = hidden.clone().requires_grad_(), weight.clone().requires_grad_()
        loss = loss_of(h, w)
        loss.backward()
        gradients.append((loss.detach(), h.grad, w.grad))
    for ours, reference in zip(*gradients, strict=True):
        torch.testing.assert_close(ours, reference)


def test_nothing_masked_is_zero_with_a_gradient():
    hidden, weight = torch.randn(3, 4, requires_grad=True), torch.randn(5, 4, requires_grad=True)
    loss = masked_lm_loss(hidden, weight, torch.full((3,), -100))
    loss.backward()
    assert loss.item() == 0
    assert weight.grad is not None
    assert not weight.grad.any()


def test_a_uniform_model_pays_the_log_of_the_vocabulary():
    loss = masked_lm_loss(torch.zeros(4, 3), torch.randn(11, 3), torch.tensor([0, 1, 2, 3]))
    assert loss.item() == pytest.approx(torch.log(torch.tensor(11.0)).item())


def test_shapes_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="must be"):
        masked_lm_loss(torch.zeros(4, 3), torch.zeros(5, 2), torch.zeros(4, dtype=torch.long))
