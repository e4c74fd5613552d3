"""The context loss against its definition, sentence by sentence."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from mlcl.objectives.context import context_loss


def unit(rows: int, dim: int, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return F.normalize(torch.randn(rows, dim, generator=generator, dtype=torch.float64), dim=-1)


def slow_context(queries, keys, documents, ids, others, other_documents, other_ids, temperature):
    candidates, groups = [*keys, *others], [*ids, *other_ids]
    labels = [*documents, *other_documents]
    total = 0.0 * queries.sum()
    for i, query in enumerate(queries):
        fine = [j for j in range(len(candidates)) if j != i and not (ids[i] >= 0 and groups[j] == ids[i])]
        context = [j for j in fine if documents[i] >= 0 and labels[j] == documents[i]]
        if context:
            logits = {j: query @ candidates[j] / temperature for j in fine}
            every = torch.logsumexp(torch.stack(list(logits.values())), 0)
            total = total + torch.stack([every - logits[j] for j in context]).mean()
    return total / len(queries)


@given(
    rows=st.integers(1, 7),
    extra=st.integers(0, 4),
    temperature=st.sampled_from([0.05, 1.0]),
    seed=st.integers(0, 2**20),
)
def test_value_and_gradient_equal_the_definition(rows, extra, temperature, seed):
    generator = torch.Generator().manual_seed(seed)
    ids, other_ids = (torch.randint(-1, 4, (n,), generator=generator) for n in (rows, extra))
    documents, other_documents = (torch.randint(-1, 2, (n,), generator=generator) for n in (rows, extra))
    results = []
    for fast in (True, False):
        q, k, o = (unit(n, 5, seed + i).requires_grad_() for i, n in enumerate((rows, rows, extra)))
        if fast:
            loss = context_loss(
                q, k, documents, temperature=temperature, ids=ids, others=o, other_documents=other_documents,
                other_ids=other_ids,
            )  # fmt: skip
        else:
            numbers = (documents.tolist(), ids.tolist(), o, other_documents.tolist(), other_ids.tolist())
            loss = slow_context(q, k, *numbers, temperature)
        (loss + 0 * (q.sum() + k.sum() + o.sum())).backward()
        results.append((loss.detach(), q.grad, k.grad, o.grad))
    torch.testing.assert_close(*results)


def test_golden_number():
    vectors = torch.eye(4)
    loss = context_loss(vectors, vectors, torch.tensor([7, 7, 8, 8]), temperature=1.0)
    torch.testing.assert_close(loss, torch.tensor(math.log(3)))  # three candidates, all alike
    alone = context_loss(vectors, vectors, torch.tensor([1, 2, 3, -1]), temperature=1.0)
    assert alone == 0


def test_translations_are_neither_context_nor_candidates():
    vectors = torch.eye(3)
    ids = torch.tensor([4, 4, 5])
    loss = context_loss(vectors, vectors, torch.tensor([1, 1, 1]), temperature=1.0, ids=ids)
    torch.testing.assert_close(loss, torch.tensor(math.log(2) / 3))  # one candidate for two, two for the third


def test_an_empty_batch_is_a_zero_with_a_gradient():
    queries = torch.zeros(0, 4, requires_grad=True)
    loss = context_loss(queries, torch.zeros(0, 4), torch.zeros(0, dtype=torch.long))
    loss.backward()
    assert loss == 0


def test_shapes_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="must be"):
        context_loss(torch.zeros(2, 4), torch.zeros(2, 4), torch.zeros(3, dtype=torch.long))
