"""Measurements beside the step: against slow twins, and without a trace in the run."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from mlcl.retrieval.geometry import alignment, effective_rank, uniformity
from mlcl.training.dynamics import Dynamics, QueueProbe, shared_parameters, space, term_gradients
from mlcl.training.grad_cache import cached_step
from mlcl.training.retrieval_dev import DevPairs
from mlcl.training.trainer import MLCTrainer
from rows import ROWS, arguments, fresh_model, metrics
from steps import Share, objective_for, tiny


@pytest.mark.parametrize("cached", [False, True])
def test_gradients_of_the_terms_equal_autograd_and_leave_no_trace(tmp_path, cached):
    model = tiny()
    objective = objective_for(model, tmp_path)
    batch = Share.draw(1, 6, lm=4).batch()
    objective.total(objective.terms(model, batch)).backward()
    before = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    slope, keys, random = objective.temperature.log.grad.clone(), len(objective.new_keys), torch.get_rng_state()

    def backward():
        if cached:
            cached_step(objective, model, batch, 30)
        else:
            objective.total(objective.terms(model, batch)).backward()

    found = term_gradients(objective, model, backward, ["info_nce", "lm"])
    assert torch.equal(random, torch.get_rng_state())
    assert len(objective.new_keys) == keys
    assert torch.equal(objective.temperature.log.grad, slope)
    for name, parameter in model.named_parameters():
        assert parameter.grad is None or torch.equal(parameter.grad, before[name])

    twins = []
    parameters = shared_parameters(model)
    for name in ("info_nce", "lm"):
        term = getattr(objective.terms(model, batch), name)
        rows = torch.autograd.grad(term, parameters, allow_unused=True)
        twins.append(
            torch.cat(
                [torch.zeros(p.numel()) if g is None else g.flatten() for p, g in zip(parameters, rows, strict=True)]
            )
        )
    assert found["gradient_norm_info_nce"] == pytest.approx(float(twins[0].norm()), rel=1e-4)
    assert found["gradient_norm_lm"] == pytest.approx(float(twins[1].norm()), rel=1e-4)
    assert found["gradient_cosine"] == pytest.approx(float(F.cosine_similarity(*twins, dim=0)), abs=1e-4)
    embeddings = model.get_input_embeddings().weight
    assert all(parameter is not embeddings for parameter in parameters)


def test_the_space_of_the_dev_pairs():
    model = tiny(dropout=0.3)
    share = Share.draw(2, 12)
    found = space(model, DevPairs(share.anchors, share.positives), torch.device("cpu"))
    assert model.training
    model.eval()
    sides = [
        F.normalize(torch.cat([model(torch.from_numpy(ids)[None]).embeddings for ids in side]), dim=-1).detach().numpy()
        for side in (share.anchors, share.positives)
    ]
    assert found["alignment"] == pytest.approx(alignment(*sides), rel=1e-4)
    assert found["uniformity"] == pytest.approx(uniformity(sides[0]), rel=1e-4)
    assert found["effective_rank"] == pytest.approx(effective_rank(sides[0]), rel=1e-3)
    assert found["dev_dimension"] == 12


def test_old_keys_age_as_the_encoder_moves(tmp_path):
    model = tiny()
    objective = objective_for(model, tmp_path)
    probe = QueueProbe(size=20)
    assert probe.cosine(objective.momentum.encoder, objective, 0, torch.device("cpu")) is None
    for seed, enqueued in ((1, 0), (2, 8)):
        objective.terms(model, Share.draw(seed, 8).batch())
        probe.remember(*objective.latest_keys, enqueued)

    def cosine(enqueued):
        return probe.cosine(objective.momentum.encoder, objective, enqueued, torch.device("cpu"))

    assert cosine(16) == pytest.approx(1.0, abs=1e-5)  # keys of the same sentences by the same weights
    kept = copy.deepcopy(probe.state_dict())
    with torch.no_grad():
        for parameter in objective.momentum.encoder.parameters():
            parameter += 0.3 * torch.randn_like(parameter)
    assert cosine(16) < 0.9
    assert len(probe.remembered) == 2
    assert cosine(21) < 0.9
    assert len(probe.remembered) == 1, "the first keys have left the queue"
    resumed = QueueProbe(size=20)
    resumed.load_state_dict(kept)
    assert len(resumed.remembered) == 2


def test_sides_are_counted_by_language(tmp_path):
    measured = Dynamics(objective_for(tiny(), tmp_path), None, torch.device("cpu"), ["de", "fr", "sw"])
    measured.count(torch.tensor([[0, 1], [0, -1]]))
    measured.count(torch.empty(0, 2, dtype=torch.long))
    assert measured.take() == {}  # counts come with a measurement
    measured._measured = {"alignment": 0.5}
    assert measured.take() == {"alignment": 0.5, "pairs_by_language": {"de": 2, "fr": 1}}
    measured._measured = {"alignment": 0.4}
    assert measured.take() == {"alignment": 0.4}


def test_a_run_that_is_measured_equals_one_that_is_not(tokenizer, tmp_path):
    runs, logged = [], []
    for name, steps in (("plain", 0), ("measured", 2)):
        model = fresh_model(tokenizer)
        args = arguments(
            tmp_path / name, max_steps=6, queue_size=40, momentum=0.9, gradient_accumulation_steps=2,
            per_device_train_batch_size=4, dynamics_steps=steps, learnable_temperature=True,
        )  # fmt: skip
        trainer = MLCTrainer(model, args, ROWS, eval_dataset=ROWS, processing_class=tokenizer)
        trainer.train()
        runs.append(model.state_dict())
        logged.append([line for line in metrics(tmp_path / name) if "info_nce" in line])
    for name, value in runs[0].items():
        assert torch.equal(value, runs[1][name]), name
    keys = {
        "gradient_norm_info_nce",
        "gradient_norm_lm",
        "gradient_cosine",
        "alignment",
        "uniformity",
        "effective_rank",
    }
    assert not keys & set(logged[0][0])
    for place, line in enumerate(logged[1]):
        assert (keys <= set(line)) == (place % 2 == 0)
    assert "queue_cosine" not in logged[1][0]
    assert 0.5 < logged[1][2]["queue_cosine"] <= 1.0
    assert all(0 <= line["data_wait_fraction"] <= 1 for line in logged[0])
    assert np.isfinite([line["loss"] for line in logged[1]]).all()
