"""InfoNCE against a plain loop, golden numbers and its invariances."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from mlcl.objectives import info_nce


def slow_info_nce(queries, keys, negatives, temperature, symmetric, margin, ids, negative_ids):
    """The definition, candidate by candidate."""

    def direction(sources, targets, extra, extra_ids):
        total = 0.0
        for i, source in enumerate(sources):
            positive = (source @ targets[i] - margin) / temperature
            candidates = [positive]
            for j, target in enumerate(targets):
                if j != i and not (ids[i] >= 0 and ids[i] == ids[j]):
                    candidates.append(source @ target / temperature)
            for j, target in enumerate(extra):
                if not (ids[i] >= 0 and ids[i] == extra_ids[j]):
                    candidates.append(source @ target / temperature)
            total = total + torch.logsumexp(torch.stack(candidates), 0) - positive
        return total / len(sources)

    loss = direction(queries, keys, negatives, negative_ids)
    return (loss + direction(keys, queries, [], [])) / 2 if symmetric else loss


def unit(rows: int, dim: int, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return F.normalize(torch.randn(rows, dim, generator=generator, dtype=torch.float64), dim=-1)


@given(
    rows=st.integers(1, 7),
    extra=st.integers(0, 5),
    symmetric=st.booleans(),
    margin=st.sampled_from([0.0, 0.3]),
    temperature=st.sampled_from([0.01, 0.05, 1.0]),
    seed=st.integers(0, 2**20),
)
def test_value_and_gradient_equal_the_definition(rows, extra, symmetric, margin, temperature, seed):
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(-1, 3, (rows,), generator=generator)
    negative_ids = torch.randint(-1, 3, (extra,), generator=generator)
    queries, keys, negatives = unit(rows, 6, seed), unit(rows, 6, seed + 1), unit(extra, 6, seed + 2)
    results = []
    for function in (info_nce, None):
        q, k, n = (tensor.clone().requires_grad_() for tensor in (queries, keys, negatives))
        if function is None:
            loss = slow_info_nce(q, k, n, temperature, symmetric, margin, ids, negative_ids)
        else:
            loss = info_nce(
                q,
                k,
                negatives=n if extra else None,
                temperature=temperature,
                symmetric=symmetric,
                margin=margin,
                ids=ids,
                negative_ids=negative_ids if extra else None,
            )
        loss.backward()
        results.append((loss.detach(), q.grad, k.grad))
    for fast, slow in zip(*results, strict=True):
        torch.testing.assert_close(fast, slow, rtol=1e-9, atol=1e-9)


def test_golden_number_of_the_textbook_formula():
    queries = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    loss = info_nce(queries, queries, temperature=1.0, symmetric=False)
    assert loss.item() == pytest.approx(math.log(1 + math.exp(-1)), rel=1e-6)


def test_translations_in_the_queue_are_no_negatives():
    queries, keys = unit(2, 4, 0).float(), unit(2, 4, 1).float()
    plain = info_nce(queries, keys, ids=torch.tensor([7, 8]), symmetric=False)
    masked = info_nce(
        queries, keys, negatives=queries, ids=torch.tensor([7, 8]), negative_ids=torch.tensor([7, 8]), symmetric=False
    )
    unmasked = info_nce(queries, keys, negatives=queries, ids=torch.tensor([7, 8]), symmetric=False)
    assert unmasked > masked > plain  # each query still sees the other query


def test_no_group_is_never_masked():
    queries, keys = unit(3, 4, 0).float(), unit(3, 4, 1).float()
    torch.testing.assert_close(info_nce(queries, keys, ids=torch.full((3,), -1)), info_nce(queries, keys))


def test_temperature_can_be_learned():
    temperature = torch.tensor(0.1, requires_grad=True)
    info_nce(unit(4, 8, 0), unit(4, 8, 1), temperature=temperature).backward()
    assert temperature.grad is not None
    assert temperature.grad.abs() > 0


@given(seed=st.integers(0, 2**20))
def test_order_of_the_batch_does_not_matter(seed):
    queries, keys, ids = unit(6, 5, seed), unit(6, 5, seed + 1), torch.tensor([0, 0, 1, 2, -1, -1])
    order = torch.randperm(6, generator=torch.Generator().manual_seed(seed))
    torch.testing.assert_close(info_nce(queries, keys, ids=ids), info_nce(queries[order], keys[order], ids=ids[order]))


@pytest.mark.parametrize(
    "arguments",
    [
        {"keys": torch.zeros(3, 4)},
        {"negatives": torch.zeros(3, 5)},
        {"ids": torch.zeros(3, dtype=torch.long)},
        {"negative_ids": torch.zeros(3, dtype=torch.long)},
    ],
)
def test_shapes_that_do_not_fit_are_refused(arguments):
    with pytest.raises(ValueError, match="must be"):
        info_nce(torch.zeros(2, 4), **{"keys": torch.zeros(2, 4), **arguments})
