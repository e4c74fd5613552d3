"""Gradient caching against the plain step: equal gradients, whatever else is in the step."""

from __future__ import annotations

from contextlib import contextmanager, nullcontext

import pytest
import torch

from mlcl.training.forward import encode
from mlcl.training.grad_cache import cached_step, cut
from mlcl.training.step import lm_share
from steps import Share, gradients, objective_for, tiny

SHARE = Share.draw(0, pairs=7, hard_negatives=3, lm=4)


def close(mine: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> None:
    assert mine.keys() == other.keys()
    for name in mine:
        label = lambda text, name=name: f"{name}: {text}"  # noqa: E731
        torch.testing.assert_close(mine[name], other[name], rtol=1e-4, atol=2e-6, msg=label)
    assert sum(float(gradient.abs().sum()) for gradient in mine.values()) > 1


@pytest.mark.parametrize("tokens", [1, 20, 10_000])
@pytest.mark.parametrize(
    "options", [{}, {"queue_size": 0, "symmetric": False}, {"info_nce_weight": 0.0}, {"lm_weight": 0.0}], ids=str
)
def test_gradient_is_that_of_the_plain_step(tmp_path, tokens, options):
    plain, cached = tiny(), tiny()
    batch = SHARE.batch()
    objective = objective_for(plain, tmp_path, **options)
    terms = objective.terms(plain, batch)
    objective.total(terms).backward()
    expected = gradients(plain, objective)

    objective = objective_for(cached, tmp_path, **options)
    found = cached_step(objective, cached, batch, tokens)
    close(gradients(cached, objective), expected)
    for name in ("info_nce", "lm"):
        assert (getattr(found, name) is None) == (getattr(terms, name) is None)
        if getattr(found, name) is not None:
            torch.testing.assert_close(getattr(found, name), getattr(terms, name).detach())


@pytest.mark.parametrize("autocast", [False, True])
def test_with_dropout_it_is_that_of_the_same_chunks_in_one_graph(tmp_path, autocast):
    """The slow twin keeps the graphs of all chunks; the same seed then draws the same dropout."""
    plain, cached = tiny(dropout=0.3), tiny(dropout=0.3)
    batch, tokens = SHARE.batch(), 25
    precision = lambda: torch.autocast("cpu", torch.bfloat16) if autocast else nullcontext()  # noqa: E731

    objective = objective_for(plain, tmp_path)
    contrastive, lm = cut(batch, tokens)
    assert min(len(contrastive), len(lm)) > 1
    torch.manual_seed(1)
    with precision():
        embeddings = torch.cat([encode(plain, chunk.packed).embeddings for chunk in contrastive])
        rows = torch.cat([chunk.rows for chunk in contrastive])
        counts = objective.counts(batch)
        lm_sums = [encode(plain, chunk.packed, chunk.masked, chunk.labels).lm_sum for chunk in lm]
        nce = objective.contrast(batch, torch.empty_like(embeddings).index_copy(0, rows, embeddings), counts)
        (1.5 * nce + 0.7 * lm_share(sum(lm_sums), counts)).backward()
    expected = gradients(plain, objective)

    objective = objective_for(cached, tmp_path)
    torch.manual_seed(1)
    with precision():
        cached_step(objective, cached, batch, tokens)
    mine = gradients(cached, objective)
    if not autocast:
        close(mine, expected)
    for name, gradient in mine.items():  # bf16 rounds sums of chunks in another order
        atol = 0.02 * float(expected[name].abs().max() + 1e-3)
        torch.testing.assert_close(gradient, expected[name], rtol=0.05, atol=atol)
    torch.manual_seed(2)
    again = objective_for(cached, tmp_path)
    cached.zero_grad()
    with precision():
        cached_step(again, cached, batch, tokens)
    assert not torch.allclose(gradients(cached, again)["projection.weight"], expected["projection.weight"], rtol=0.05)


def test_random_numbers_go_on_after_the_step_as_if_each_chunk_had_been_encoded_once(tmp_path):
    model, batch = tiny(dropout=0.3), SHARE.batch()
    objective = objective_for(model, tmp_path, lm_weight=0.0, queue_size=0)
    torch.manual_seed(5)
    with torch.no_grad():
        for chunk in cut(batch, 25)[0]:
            encode(model, chunk.packed)
    expected = torch.rand(3)
    torch.manual_seed(5)
    cached_step(objective, model, batch, 25)
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_the_last_chunk_is_encoded_once_and_the_others_together_unless_they_draw(tmp_path, dropout):
    model, batch, seen = tiny(dropout=dropout), SHARE.batch(), []
    contrastive, lm = cut(batch, 13)
    assert len(contrastive) > 6
    model.register_forward_pre_hook(lambda *_: seen.append(torch.is_grad_enabled()))
    cached_step(objective_for(model, tmp_path, queue_size=0), model, batch, 13)
    others = len(contrastive) - 1
    assert seen.count(False) == (others if dropout else 1 + -(-(others - 1) // 4))
    assert seen.count(True) == len(contrastive) + len(lm)


def test_micro_batches_add_up_and_the_queue_gets_all_keys(tmp_path):
    shares = [Share.draw(seed, pairs=4, lm=2) for seed in (1, 2)]
    results = []
    for tokens in (None, 15):
        model = tiny()
        objective = objective_for(model, tmp_path)
        for share in shares:
            if tokens is None:
                (objective.total(objective.terms(model, share.batch())) / 2).backward()
            else:
                cached_step(objective, model, share.batch(), tokens, scale=0.5)
        results.append(gradients(model, objective))
        assert len(objective.queue) == 9
        objective.after_update(model, 1e-3)
        assert len(objective.queue) == 17
        results.append({"keys": objective.queue.vectors.clone(), "temperature": objective.temperature().detach()})
    close(results[2], results[0])
    close(results[3], results[1])


def test_only_the_last_chunk_synchronises(tmp_path):
    model, inside, seen = tiny(), [], []

    @contextmanager
    def no_sync():
        inside.append(True)
        yield
        inside.pop()

    def backward(loss: torch.Tensor) -> None:
        seen.append(bool(inside))
        loss.backward()

    cached_step(objective_for(model, tmp_path), model, SHARE.batch(), 30, backward=backward, no_sync=no_sync)
    assert len(seen) > 4
    assert seen == [True] * (len(seen) - 1) + [False]


@pytest.mark.parametrize("tokens", [1, 13, 40, 1000])
def test_chunks_are_whole_sentences_within_the_bound_and_keep_the_labels(tokens):
    batch = SHARE.batch()
    contrastive, lm = cut(batch, tokens)
    assert sorted(torch.cat([chunk.rows for chunk in contrastive]).tolist()) == list(range(17))
    assert sorted(torch.cat([chunk.rows for chunk in lm]).tolist()) == list(range(17, 21))
    sentences = [*SHARE.anchors, *SHARE.positives, *SHARE.hard_negatives, *SHARE.lm]
    for chunk in contrastive + lm:
        assert len(chunk.rows) == 1 or int(chunk.packed.lengths.sum()) <= tokens
        stream = chunk.packed.input_ids.clone()
        stream[chunk.masked] = chunk.labels
        assert stream.tolist() == [token for row in chunk.rows.tolist() for token in sentences[row].tolist()]
    assert sum(len(chunk.masked) for chunk in lm) == len(batch.masked)
    assert sum(len(chunk.masked) for chunk in contrastive) == 0


@pytest.mark.parametrize("weight", [1.5, 0.0])
def test_labels_on_contrastive_sentences_count_as_well(tmp_path, weight):
    """A collator of the user's may predict tokens of anchors."""
    batch = SHARE.batch()
    batch.masked = torch.arange(0, len(batch.online.input_ids), 4)
    batch.labels = batch.online.input_ids[batch.masked]
    plain, cached = tiny(), tiny()
    objective = objective_for(plain, tmp_path, info_nce_weight=weight)
    objective.total(objective.terms(plain, batch)).backward()
    expected = gradients(plain, objective)
    objective = objective_for(cached, tmp_path, info_nce_weight=weight)
    cached_step(objective, cached, batch, 20)
    close(gradients(cached, objective), expected)
