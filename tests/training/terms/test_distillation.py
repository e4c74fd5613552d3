"""The term `distillation` against a loop over pairs; its map; teachers that do not fit."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from mlcl.core.errors import UserError
from mlcl.training.terms import Context, FurtherTerms
from mlcl.training.terms.distillation import Settings, Term
from steps import Share, objective_for, tiny

SHARE = Share.draw(0, pairs=9, hard_negatives=2)


def context(dimension=16, teacher=16):
    return Context(dimension, (), {"teacher", "teacher_known"}, {"teacher": teacher, "teacher_known": 1})


@pytest.mark.parametrize("distance", ["cosine", "mse"])
def test_both_sides_of_the_known_pairs(distance, tmp_path):
    model, batch = tiny(), SHARE.batch()
    options = {"info_nce_weight": 0.0, "lm_weight": 0.0, "queue_size": 0}
    objective = objective_for(model, tmp_path, objectives={"distillation": {"distance": distance}}, **options)
    value = objective.terms(model, batch).further["distillation"]
    encoded = batch.online.restore(objective.encode(model, batch.online).embeddings)
    known = batch.columns["teacher_known"].tolist()
    assert 0 < sum(known) < len(known)
    total = 0.0
    for place, teacher in enumerate(batch.columns["teacher"]):
        for side in (encoded[place], encoded[batch.pairs + place]):
            far = 1 - F.cosine_similarity(side, teacher, dim=0) if distance == "cosine" else (side - teacher) @ (
                side - teacher) / 2  # fmt: skip
            total = total + far * known[place] / (2 * batch.pairs)
    torch.testing.assert_close(value, total)


def test_training_brings_the_student_to_the_teacher(tmp_path):
    model, batch = tiny(), SHARE.batch()
    options = {"info_nce_weight": 0.0, "lm_weight": 0.0, "queue_size": 0}
    objective = objective_for(model, tmp_path, objectives={"distillation": 1.0}, **options)
    optimizer = torch.optim.Adam(model.parameters(), 0.01)
    values = []
    for _ in range(30):
        optimizer.zero_grad()
        loss = objective.total(objective.terms(model, batch))
        loss.backward()
        optimizer.step()
        values.append(loss.item())
    assert values[-1] < 0.2 * values[0]


def test_a_map_leads_to_another_dimension():
    torch.manual_seed(0)
    term = Term(Settings(map=True), context(4, 16))
    assert term.map.weight.shape == (16, 4)
    vectors = torch.randn(5, 4)
    torch.testing.assert_close(term.map(vectors).norm(dim=1), vectors.norm(dim=1))
    further = FurtherTerms({"distillation": {"map": True}}, context(4, 16))
    assert [name for name, _ in further.named_parameters()] == ["terms.distillation.map.weight"]


def test_mistakes():
    with pytest.raises(UserError, match=r"16 values, those of the model 4 \(set model.proj_size to 16"):
        FurtherTerms({"distillation": 1.0}, context(4, 16))
    with pytest.raises(UserError, match="needs teacher, teacher_known, which the training data lack"):
        FurtherTerms({"distillation": 1.0}, Context(4))
    with pytest.raises(UserError, match="distance is 'l1', expected cosine or mse"):
        FurtherTerms({"distillation": {"distance": "l1"}}, context())
