"""The step in one process where there is little or nothing to do."""

from __future__ import annotations

import pytest
import torch

from mlcl.core.errors import UserError
from mlcl.training.grad_cache import cached_step
from mlcl.training.sharding import check_shardable
from steps import TERMS, Share, gradients, objective_for, tiny

PLAIN = {"queue_size": 0, "learnable_temperature": False}


@pytest.mark.parametrize("tokens", [None, 10])
@pytest.mark.parametrize(
    ("share", "info_nce", "lm"),
    [
        (Share.draw(0, pairs=1), 0.0, 0.0),  # one pair has nothing to be told apart from
        (Share.draw(0, pairs=1, hard_negatives=1), None, 0.0),
        (Share.draw(0, pairs=3), None, 0.0),
        (Share.draw(0, pairs=0, lm=2), 0.0, None),
        (Share(), 0.0, 0.0),
    ],
    ids=["one pair", "one pair and a hard negative", "no masked tokens", "no pairs", "nothing"],
)
def test_terms_without_content_are_zeros_with_gradients(tmp_path, share, info_nce, lm, tokens):
    model = tiny()
    objective = objective_for(model, tmp_path, **PLAIN)
    if tokens is None:
        terms = objective.terms(model, share.batch())
        objective.total(terms).backward()
    else:
        terms = cached_step(objective, model, share.batch(), tokens)
    for term, expected in ((terms.info_nce, info_nce), (terms.lm, lm)):
        assert torch.isfinite(term)
        assert (term.item() == 0) == (expected == 0)
    found = gradients(model, objective)
    assert found.keys() == dict(model.named_parameters()).keys()
    assert all(bool(torch.isfinite(gradient).all()) for gradient in found.values())
    assert any(bool(gradient.any()) for gradient in found.values()) == (info_nce is None or lm is None)


def test_an_empty_queue_changes_nothing(tmp_path):
    losses = []
    for size in (0, 8):
        model = tiny()
        objective = objective_for(model, tmp_path, **{**PLAIN, "queue_size": size})
        if objective.queue is not None:
            objective.queue.filled.zero_()
        losses.append(objective.terms(model, Share.draw(1, pairs=4).batch()).info_nce)
    torch.testing.assert_close(*losses)


def test_keys_are_queued_with_their_groups_and_fillers_are_not(tmp_path):
    model = tiny()
    objective = objective_for(model, tmp_path)
    for share in (Share.draw(2, pairs=3), Share(), Share.draw(3, pairs=2)):
        objective.total(objective.terms(model, share.batch())).backward()
    objective.after_update(model, 1e-3)
    assert len(objective.queue) == 9 + 5
    assert objective.queue.ids[9:].tolist() == Share.draw(2, pairs=3).ids + Share.draw(3, pairs=2).ids
    torch.testing.assert_close(objective.queue.vectors.norm(dim=1), torch.ones(14))


def test_without_a_graph_no_queue_is_used_and_no_key_kept(tmp_path):
    model = tiny()
    objective = objective_for(model, tmp_path)
    with torch.no_grad():
        scored = objective.terms(model, Share.draw(4, pairs=4).batch()).info_nce
    objective.after_update(model, 1e-3)
    assert len(objective.queue) == 9
    plain = objective_for(model, tmp_path, queue_size=0)
    torch.testing.assert_close(scored, plain.terms(model, Share.draw(4, pairs=4).batch()).info_nce.detach())


@pytest.mark.parametrize("term", TERMS)
def test_the_decoder_of_a_seq2seq_model_is_not_trained_under_fsdp(term):
    model = tiny(term=term)
    check_shardable(model, uses_lm=False)
    if term not in ("spans", "infilling"):
        check_shardable(model, uses_lm=True)
        return
    with pytest.raises(UserError, match=r"cannot be trained under FSDP \(use DDP"):
        check_shardable(model, uses_lm=True)
