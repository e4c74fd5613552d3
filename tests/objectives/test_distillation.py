"""Distances to a teacher: golden numbers, the slow twin, and where both distances agree."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from mlcl.objectives.distillation import distillation


def test_golden_numbers():
    student, teacher = torch.tensor([[3.0, 4.0], [1.0, 0.0]]), torch.tensor([[3.0, 4.0], [0.0, 2.0]])
    torch.testing.assert_close(distillation(student, teacher), torch.tensor([0.0, 1.0]))
    torch.testing.assert_close(distillation(student, teacher, "mse"), torch.tensor([0.0, 2.5]))


def test_it_is_the_mean_squared_error_of_the_paper_up_to_a_factor():
    torch.manual_seed(0)
    student, teacher = torch.randn(5, 8, requires_grad=True), torch.randn(5, 8)
    ours = distillation(student, teacher, "mse").mean() * 2 / 8
    torch.testing.assert_close(ours, F.mse_loss(student, teacher))


@pytest.mark.parametrize("distance", ["cosine", "mse"])
def test_value_and_gradient_against_a_loop(distance):
    torch.manual_seed(0)
    student, teacher = torch.randn(6, 4, dtype=torch.float64, requires_grad=True), torch.randn(6, 4).double()
    rows = []
    for one, other in zip(student, teacher, strict=True):
        if distance == "mse":
            rows.append(sum((a - b) ** 2 for a, b in zip(one, other, strict=True)) / 2)
        else:
            rows.append(1 - (one @ other) / (one.norm() * other.norm()))
    slow = torch.stack(rows)
    fast = distillation(student, teacher, distance)
    torch.testing.assert_close(fast, slow)
    gradients = [torch.autograd.grad(value.sum(), student)[0] for value in (fast, slow)]
    torch.testing.assert_close(*gradients)


def test_for_unit_vectors_both_are_one_number():
    torch.manual_seed(0)
    student, teacher = (F.normalize(torch.randn(9, 5), dim=-1) for _ in range(2))
    torch.testing.assert_close(distillation(student, teacher), distillation(student, teacher, "mse"))


def test_shapes_must_be_alike():
    with pytest.raises(ValueError, match=r"\(2, 3\) and teacher \(2, 4\)"):
        distillation(torch.zeros(2, 3), torch.zeros(2, 4))
