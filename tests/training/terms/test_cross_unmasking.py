"""The term `cross_unmasking` against a loop over sentences; its head, its matrix, its gradient to the embeddings."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from backbones import checkpoint
from mlcl.core.errors import UserError
from mlcl.model.config import MLCConfig
from mlcl.model.model import MLCModel
from mlcl.training.optimizer import row_sparse
from mlcl.training.sources import TextSource
from mlcl.training.terms import Context, FurtherTerms
from mlcl.training.terms.cross_unmasking import Settings, Term
from mlcl.training.trainer import MLCTrainer
from rows import ROWS, arguments, fresh_model
from steps import SPECIAL, VOCABULARY, Share, objective_for, tiny

ALONE = {"info_nce_weight": 0.0, "lm_weight": 0.0, "queue_size": 0}


def framed(seed: int, pairs: int, **others: int) -> Share:
    """Sentences with an opening and a closing special token, with some tokens twice."""
    share = Share.draw(seed, pairs, **others)
    for side in (share.anchors, share.positives):
        side[:] = [np.array([0, *ids, ids[0], 2]) for ids in side]
    return share


def by_the_formula(objective, model, batch, share):
    """A softmax over all logits, one sentence and one word after the other, in float64."""
    term, other_way = objective.further.terms["cross_unmasking"].double(), [*share.positives, *share.anchors]
    vectors = batch.online.restore(objective.encode(model, batch.online).embeddings).double()
    weight, losses = model.get_input_embeddings().weight.double(), []
    for vector, other in zip(vectors, other_way, strict=False):
        words = set(other.tolist()) - set(SPECIAL)
        if words:
            logs = F.log_softmax(weight @ term.head(vector[None])[0] + term.head.bias, dim=0)
            losses.append(-torch.stack([logs[word] for word in words]).mean())
    term.float()
    return torch.stack(losses).mean()


def test_each_side_predicts_the_words_of_the_other(tmp_path):
    model, share = tiny(), framed(0, 6, hard_negatives=2, lm=3)
    share.positives[2] = np.array([0, 2])  # no word: nothing is asked of its anchor
    batch = share.batch(with_keys=False)
    objective = objective_for(model, tmp_path, objectives={"cross_unmasking": 1.0}, **(ALONE | {"lm_weight": 0.7}))
    value = objective.terms(model, batch).further["cross_unmasking"]
    torch.testing.assert_close(value.double(), by_the_formula(objective, model, batch, share), rtol=1e-5, atol=1e-6)


def test_repeated_tokens_and_the_order_of_pairs_change_nothing(tmp_path):
    model, share = tiny(), framed(1, 5)
    objective = objective_for(model, tmp_path, objectives={"cross_unmasking": 1.0}, **ALONE)
    term = objective.further.terms["cross_unmasking"]

    def value(share, vectors):
        batch = share.batch(with_keys=False)
        return term(objective._view(batch, vectors, objective.counts(batch)))

    vectors = torch.randn(10, 16)
    expected = value(share, vectors)
    order = torch.tensor([3, 0, 4, 1, 2])
    sides = [[side[i] for i in order.tolist()] for side in (share.anchors, share.positives)]
    moved = Share(*sides, ids=[share.ids[i] for i in order.tolist()])
    torch.testing.assert_close(value(moved, torch.cat([vectors[:5][order], vectors[5:][order]])), expected)
    twice = Share([np.repeat(ids, 2) for ids in share.anchors], share.positives, ids=share.ids)
    torch.testing.assert_close(value(twice, vectors), expected)


def test_training_with_it_alone_lowers_it_and_moves_all_embeddings(tmp_path):
    model, batch = tiny(), framed(2, 6).batch(with_keys=False)
    objective = objective_for(model, tmp_path, objectives={"cross_unmasking": 1.0}, **ALONE)
    optimizer, values = torch.optim.Adam(model.parameters(), 0.01), []
    before = model.get_input_embeddings().weight.detach().clone()
    for _ in range(40):
        optimizer.zero_grad()
        loss = objective.total(objective.terms(model, batch))
        loss.backward()
        optimizer.step()
        objective.further.step(0.01)
        values.append(loss.item())
    assert values[-1] < 0.75 * values[0]
    assert bool((model.get_input_embeddings().weight != before).any(1)[5:].all())


@pytest.mark.parametrize("train_embeddings", [True, False])
def test_embeddings_that_do_not_learn_from_it_keep_row_sparse_gradients(train_embeddings, tmp_path):
    model, batch = tiny(), framed(3, 3).batch(with_keys=False)
    objectives = {"cross_unmasking": {"weight": 1.0, "train_embeddings": train_embeddings}}
    objective = objective_for(model, tmp_path, objectives=objectives, **ALONE)
    embedding = model.get_input_embeddings()
    with row_sparse(embedding):
        objective.total(objective.terms(model, batch)).backward()
    assert embedding.weight.grad.is_sparse == (not train_embeddings)
    rows = embedding.weight.grad.to_dense().abs().sum(1).nonzero()[:, 0]
    seen = batch.online.input_ids.unique()
    assert torch.equal(rows, torch.arange(len(embedding.weight)) if train_embeddings else seen[seen != 1])
    assert model.projection.weight.grad.abs().sum() > 0


def test_autocast_changes_it_little_and_keeps_sums_in_float32(tmp_path):
    values = []
    for autocast in (False, True):
        model, batch = tiny(), framed(4, 5).batch(with_keys=False)
        precision = {"autocast": lambda: torch.autocast("cpu", torch.bfloat16)} if autocast else {}
        objective = objective_for(model, tmp_path, objectives={"cross_unmasking": 1.0}, **precision, **ALONE)
        values.append(objective.terms(model, batch).further["cross_unmasking"])
        values[-1].backward()
        assert model.get_input_embeddings().weight.grad.dtype == torch.float32
    assert values[1].dtype == torch.float32
    torch.testing.assert_close(values[1], values[0], rtol=0.02, atol=0)


class TestHead:
    def context(self, model, special_ids=SPECIAL):
        return Context(model.dimension, model=model, special_ids=special_ids)

    def test_starts_as_the_lm_head_and_is_not_shared_with_it(self):
        model = MLCModel(MLCConfig(backbone={**tiny().config.backbone}))
        with torch.no_grad():
            model.lm_head.bias.normal_()
        head = Term(Settings(), self.context(model)).head
        vectors = torch.randn(3, 32)
        torch.testing.assert_close(head(vectors), model.lm_head(vectors))
        assert torch.equal(head.bias, model.lm_head.bias)
        before = copy.deepcopy(model.state_dict())
        for parameter in head.parameters():
            parameter.data += 1
        assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())

    def test_a_projection_gets_a_linear_map_back(self):
        model = tiny()  # proj_size 16 over 32
        term = FurtherTerms({"cross_unmasking": 1.0}, self.context(model)).terms["cross_unmasking"]
        assert term.head.layers[0].weight.shape == (32, 16)
        vectors = torch.randn(3, 16)
        torch.testing.assert_close(term.head.layers[0](vectors).norm(dim=1), vectors.norm(dim=1))
        assert not any(name.endswith(("embeddings.weight", "special_ids")) for name in term.state_dict())

    @pytest.mark.parametrize(
        ("kind", "changes"),
        [
            ("electra", {"embedding_size": 16}),  # the matrix is narrower than the token states
            ("llama", {}),  # a matrix of its own
            ("qwen2", {}),
            ("t5", {}),
            ("mbart", {}),
        ],
    )
    def test_works_for_every_kind_of_head(self, kind, changes, tmp_path):
        model = MLCModel(MLCConfig(model_name=str(checkpoint(kind, tmp_path, vocab_size=VOCABULARY, **changes))))
        term = Term(Settings(), self.context(model))
        sides = torch.randn(4, model.dimension, requires_grad=True)
        batch = framed(5, 2).batch(with_keys=False)
        objective = objective_for(tiny(), tmp_path, **ALONE, objectives={"koleo": 1.0})
        value = term(objective._view(batch, sides, objective.counts(batch)))
        value.backward()
        tied = model.lm_head.weight is None
        assert torch.isfinite(value)
        assert sides.grad.abs().sum() > 0
        assert (model.output_matrix.grad is not None) == tied
        assert all(parameter.grad is not None for parameter in term.parameters())

    def test_without_a_tokenizer_it_is_refused(self):
        with pytest.raises(UserError, match="cross_unmasking needs a tokenizer, to know which tokens are special"):
            FurtherTerms({"cross_unmasking": 1.0}, self.context(tiny(), None))
        assert FurtherTerms({"cross_unmasking": 1.0}, Context(16))  # before there is a model


def test_a_wrong_type_is_named():
    with pytest.raises(UserError, match="objectives.cross_unmasking.train_embeddings is 'no', expected bool"):
        FurtherTerms({"cross_unmasking": {"train_embeddings": "no"}}, Context(16))


def test_parameters_of_a_term_and_a_loss_scale_exclude_each_other(tokenizer, tmp_path):
    """fp16 overflows on purpose; an infinite gradient would stay in the term's own Adam for ever."""
    args = arguments(tmp_path, objectives={"cross_unmasking": 0.5, "koleo": 0.1})
    args.fp16 = True
    with pytest.raises(UserError, match="cannot be used with fp16 and its loss scale: cross_unmasking"):
        MLCTrainer(fresh_model(tokenizer), args, ROWS, processing_class=tokenizer)


def test_rows_of_text_train_with_it_and_special_tokens_are_the_tokenizer_s(tokenizer, tmp_path):
    args = arguments(tmp_path, max_steps=2, lm_weight=0.0, objectives={"cross_unmasking": 0.5})
    trainer = MLCTrainer(fresh_model(tokenizer), args, ROWS, processing_class=tokenizer)
    assert isinstance(trainer.source, TextSource)
    term = trainer.joint_objective.further.terms["cross_unmasking"]
    assert term.special_ids.tolist() == sorted(tokenizer.all_special_ids)
    trainer.train()
    logged = [line["cross_unmasking"] for line in trainer.state.log_history if "cross_unmasking" in line]
    assert len(logged) == 2
    assert all(np.isfinite(logged))
