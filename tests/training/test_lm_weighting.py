"""Lambda of every kind against its formula, in a step, and over a resumed run."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mlcl.core.errors import UserError
from mlcl.training import dynamics
from mlcl.training.grad_cache import cached_step
from mlcl.training.lm_weighting import GradientWeighting, UncertaintyWeighting, make, scheduled
from mlcl.training.trainer import MLCTrainer
from rows import ROWS, arguments, fresh_model, metrics
from steps import Share, gradients, objective_for, tiny


def terms(info_nce: float, lm: float) -> dict[str, torch.Tensor]:
    return {"info_nce": torch.tensor(info_nce), "lm": torch.tensor(lm)}


@given(st.floats(0, 10), st.floats(0, 10), st.sampled_from(["linear", "cosine"]))
def test_a_schedule_goes_from_start_to_end(start, end, kind):
    along = [scheduled(start, end, progress, kind) for progress in np.linspace(0, 1, 11)]
    assert along[0] == pytest.approx(start)
    assert along[-1] == pytest.approx(end)
    assert along[5] == pytest.approx((start + end) / 2)
    assert (np.diff(along) * np.sign(end - start) >= -1e-12).all()
    assert make(kind, 1.0, start, end).weights(0.3) == {"info_nce": 1.0, "lm": scheduled(start, end, 0.3, kind)}


def test_a_fixed_lambda_stays():
    weighting = make("fixed", 2.0, 0.3, 9.0)
    weighting.observe(terms(1, 2))
    weighting.after_update(0.1)
    assert weighting.weights(0.0) == weighting.weights(1.0) == {"info_nce": 2.0, "lm": 0.3}
    assert weighting.state_dict() == {}


def test_uncertainty_is_the_gradient_of_its_formula():
    weighting = UncertaintyWeighting(1.5, 0.4)
    twin = torch.zeros(2, dtype=torch.float64, requires_grad=True)
    adam, base = torch.optim.Adam([twin]), torch.tensor([1.5, 0.4], dtype=torch.float64)
    for rate, values in ((0.1, (3.0, 7.0)), (0.05, (2.0, 6.0)), (0.2, (0.1, 5.0))):
        for shift in (-0.5, 0.5):  # two micro-batches of one update
            weighting.observe(terms(values[0] + shift, values[1] - shift))
        weighting.after_update(rate)
        adam.param_groups[0]["lr"] = rate
        adam.zero_grad()
        (base * torch.exp(-twin) * torch.tensor(values) + twin / 2).sum().backward()
        adam.step()
    weights = weighting.weights(0.0)
    torch.testing.assert_close(torch.tensor(list(weights.values())), (base * torch.exp(-twin)).detach().float())
    weighting.after_update(0.1)  # an update without a value changes nothing
    assert weighting.weights(0.0) == weights


def test_uncertainty_settles_where_both_weighted_terms_are_a_half():
    weighting = UncertaintyWeighting(1.0, 1.0)
    for _ in range(1000):
        weighting.observe(terms(4.0, 0.2))
        weighting.after_update(0.02)
    assert weighting.weights(0.0) == pytest.approx({"info_nce": 0.125, "lm": 2.5}, rel=1e-3)


def test_gradient_balance_is_a_moving_geometric_mean_of_the_ratios():
    weighting = GradientWeighting(2.0, 0.5, decay=0.75)
    assert weighting.weights(0.0) == {"info_nce": 2.0, "lm": 0.5}
    weighting.observe_gradients({"info_nce": 3.0, "lm": 6.0})
    norm = weighting.weights(0.0)
    assert norm["lm"] * 6.0 == pytest.approx(0.5 * norm["info_nce"] * 3.0)  # half as long as that of InfoNCE
    weighting.observe_gradients({"info_nce": 0.0, "lm": 6.0})
    assert weighting.weights(0.0) == norm
    weighting.observe_gradients({"info_nce": 8.0, "lm": 1.0})
    assert weighting.log_ratio == pytest.approx(0.75 * math.log(0.5) + 0.25 * math.log(8))


@pytest.mark.parametrize("cached", [False, True])
def test_the_step_has_the_lambda_of_its_progress(tmp_path, cached):
    found = []
    for options in ({"lm_balance": "linear", "lm_weight_end": 2.7}, {"lm_weight": 1.2}):
        model = tiny()
        objective = objective_for(model, tmp_path, **options)
        objective.progress = 0.25  # 0.7 + 0.25 * 2
        batch = Share.draw(1, 6, lm=4).batch()
        if cached:
            cached_step(objective, model, batch, 30)
        else:
            objective.total(objective.terms(model, batch)).backward()
        found.append(gradients(model, objective))
    for name, gradient in found[0].items():
        torch.testing.assert_close(gradient, found[1][name], msg=name)


@pytest.mark.parametrize("kind", ["cosine", "uncertainty", "gradient"])
def test_a_resumed_run_has_the_same_lambda_bit_for_bit(tokenizer, tmp_path, monkeypatch, kind):
    monkeypatch.setattr(dynamics, "GRADIENT_STEPS", 2)
    found = []
    for resume in (False, True):
        options = {"lm_balance": kind, "lm_weight": 0.5, "gradient_accumulation_steps": 2, "max_steps": 6, "seed": 3}
        args = arguments(tmp_path, per_device_train_batch_size=4, save_strategy="steps", save_steps=3, **options)
        trainer = MLCTrainer(fresh_model(tokenizer), args, ROWS, processing_class=tokenizer)
        trainer.train(resume_from_checkpoint=str(tmp_path / "checkpoint-3") if resume else None)
        found.append((trainer, [(line["step"], line["lm_weight"]) for line in metrics(tmp_path) if "lm" in line]))
    (steady, lambdas), (resumed, again) = found
    assert lambdas == again
    assert len({value for _, value in lambdas}) > 2, "lambda moves"
    for name, value in steady.model.state_dict().items():
        assert torch.equal(value, resumed.model.state_dict()[name]), name


def test_kinds_that_cannot_be_are_refused(tmp_path):
    with pytest.raises(UserError, match="lm_balance is sometimes, it must be one of fixed"):
        arguments(tmp_path, lm_balance="sometimes")
    with pytest.raises(UserError, match="lm_balance gradient needs both terms"):
        arguments(tmp_path, lm_balance="gradient", lm_weight=0.0)
    assert arguments(tmp_path, lm_balance="linear", lm_weight=0.0, lm_weight_end=1.0).uses_lm
