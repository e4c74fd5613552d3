"""FGM: a step uphill of the right length, undone to the last bit; the second look adds its gradients alone."""

from __future__ import annotations

import pytest
import torch

from mlcl.core.errors import UserError
from mlcl.training.arguments import MLCTrainingArguments
from mlcl.training.grad_cache import cached_step
from mlcl.training.perturbation import perturbed
from steps import Share, gradients, objective_for, tiny

SHARE = Share.draw(0, pairs=5, lm=2)


def weight_with_gradient(sparse: bool) -> torch.nn.Parameter:
    weight = torch.nn.Parameter(torch.arange(12.0).reshape(4, 3))
    gradient = torch.zeros(4, 3)
    gradient[1], gradient[3] = torch.tensor([3.0, 0.0, 0.0]), torch.tensor([0.0, -4.0, 0.0])
    weight.grad = gradient.to_sparse(1) if sparse else gradient
    return weight


@pytest.mark.parametrize("sparse", [False, True])
def test_touched_rows_go_uphill_and_come_back(sparse):
    weight = weight_with_gradient(sparse)
    before = weight.detach().clone()
    length = before[[1, 3]].norm()
    with perturbed(weight, 0.1):
        step = weight.detach() - before
        expected = torch.zeros(4, 3)
        expected[1, 0], expected[3, 1] = 0.06 * length, -0.08 * length
        torch.testing.assert_close(step, expected)
    assert torch.equal(weight.detach(), before)


def test_an_error_inside_leaves_the_weights_as_they_were():
    weight = weight_with_gradient(False)
    before = weight.detach().clone()
    with pytest.raises(RuntimeError, match="boom"), perturbed(weight, 0.1):
        raise RuntimeError("boom")
    assert torch.equal(weight.detach(), before)


def test_without_a_gradient_nothing_moves():
    weight = torch.nn.Parameter(torch.ones(2, 2))
    with perturbed(weight, 0.5):
        assert torch.equal(weight.detach(), torch.ones(2, 2))


@pytest.mark.parametrize("tokens", [None, 20], ids=["plain", "cached"])
def test_the_second_look_adds_the_gradients_from_there(tokens, tmp_path):
    def look(model, objective):
        if tokens is None:
            objective.total(objective.terms(model, SHARE.batch())).backward()
        else:
            cached_step(objective, model, SHARE.batch(), tokens)

    model = tiny()
    objective = objective_for(model, tmp_path, learnable_temperature=False)
    look(model, objective)
    first = gradients(model, objective)
    with perturbed(model.get_input_embeddings().weight, 0.3):
        other = tiny()
        other.load_state_dict(model.state_dict())
        objective.keeps_keys = False
        look(model, objective)
    assert len(objective.new_keys) == 1
    alone = objective_for(other, tmp_path, learnable_temperature=False)
    alone.queue.load_state_dict(objective.queue.state_dict())
    look(other, alone)
    second = gradients(other, alone)
    assert any(not torch.allclose(first[name], second[name]) for name in first)
    for name, gradient in gradients(model, objective).items():
        torch.testing.assert_close(gradient, first[name] + second[name], rtol=1e-4, atol=1e-6)


def test_accumulated_gradients_are_refused(tmp_path):
    with pytest.raises(UserError, match="fgm_radius needs gradient_accumulation_steps 1"):
        MLCTrainingArguments(str(tmp_path), fgm_radius=0.1, gradient_accumulation_steps=2)
