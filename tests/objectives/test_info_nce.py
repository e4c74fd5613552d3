"""InfoNCE against a plain loop, golden numbers and its invariances."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mlcl.objectives import info_nce
from mlcl.objectives.kernels import blocked_info_nce
from tensor_sizes import Largest


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


@pytest.fixture(params=["one tile", "many tiles"], autouse=True)
def tiles(request, monkeypatch):
    """Every test also with tiles that are smaller than its matrices and do not divide them."""
    if request.param == "many tiles":
        monkeypatch.setattr(blocked_info_nce, "_ROWS", 2)
        monkeypatch.setattr(blocked_info_nce, "_COLUMNS", 3)


def bfloat16_info_nce(queries, keys, temperature):
    """The usual way under autocast: the whole matrix, its products in bfloat16."""
    logits = (queries.bfloat16() @ keys.bfloat16().T).float() / temperature
    target = torch.arange(len(queries))
    return (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2


def exact_info_nce(queries, keys, temperature):
    """The same in float64 with the positive set apart: 1 - p loses its digits near convergence even in float64."""
    logits = queries @ keys.T / temperature
    others = logits.masked_fill(torch.eye(len(queries), dtype=torch.bool), -torch.inf)
    gaps = [others.logsumexp(dim) - logits.diagonal() for dim in (0, 1)]
    return sum(torch.logaddexp(gap, torch.zeros_like(gap)).mean() for gap in gaps) / 2


def gradients(loss_of, *tensors):
    leaves = [tensor.clone().requires_grad_() for tensor in tensors]
    loss_of(*leaves).backward()
    return [leaf.grad for leaf in leaves]


def relative_error(ours, exact):
    pairs = list(zip(ours, exact, strict=True))
    return max(float((a.double() - b).norm() / b.norm()) for a, b in pairs)


def unit(rows: int, dim: int, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return F.normalize(torch.randn(rows, dim, generator=generator, dtype=torch.float64), dim=-1)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rows=st.integers(1, 7),
    extra=st.integers(0, 5),
    symmetric=st.booleans(),
    margin=st.sampled_from([0.0, 0.3]),
    temperature=st.sampled_from([0.001, 0.01, 0.05, 1.0]),
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


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
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


@pytest.mark.parametrize("temperature", [0.05, 0.01])
@pytest.mark.parametrize("noise", [3.0, 0.3, 0.02], ids=["random", "trained", "converged"])
def test_bfloat16_gradients_are_no_worse_than_those_of_the_whole_matrix(temperature, noise):
    keys = unit(40, 64, 0)
    queries = F.normalize(keys + noise * unit(40, 64, 1), dim=-1)
    exact = gradients(lambda q, k: exact_info_nce(q, k, temperature), queries, keys)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        ours = gradients(lambda q, k: info_nce(q, k, temperature=temperature), queries.float(), keys.float())
    plain = gradients(lambda q, k: bfloat16_info_nce(q, k, temperature), queries.float(), keys.float())
    assert relative_error(ours, exact) <= max(1.05 * relative_error(plain, exact), 2**-8)


@pytest.mark.parametrize("temperature", [0.05, 0.01])
def test_float32_is_as_accurate_as_float32_can_be(temperature):
    keys = unit(40, 64, 0)
    queries = F.normalize(keys + 0.3 * unit(40, 64, 1), dim=-1)
    exact = gradients(lambda q, k: exact_info_nce(q, k, temperature), queries, keys)
    ours = gradients(lambda q, k: info_nce(q, k, temperature=temperature), queries.float(), keys.float())
    assert relative_error(ours, exact) < 2e-5


def test_logits_beyond_the_exponents_of_float32():
    queries, keys = 30 * unit(5, 4, 0).float(), 30 * unit(5, 4, 1).float()  # logits up to 900 in size
    negatives = 30 * unit(4, 4, 2).float()

    def plain(q, k):
        logits = torch.cat([q @ k.T, q @ negatives.to(q).T], 1)
        return F.cross_entropy(logits, torch.arange(5)) / 2 + F.cross_entropy((q @ k.T).T, torch.arange(5)) / 2

    def ours(q, k):
        return info_nce(q, k, negatives=negatives.to(q), temperature=1.0)

    torch.testing.assert_close(ours(queries, keys), plain(queries, keys))
    for fast, slow in zip(gradients(ours, queries, keys), gradients(plain, queries, keys), strict=True):
        torch.testing.assert_close(fast, slow, rtol=1e-4, atol=1e-4)


def test_hard_negatives_get_gradients_and_a_queue_does_not():
    queries, keys, negatives = unit(4, 6, 0), unit(4, 6, 1), unit(5, 6, 2)
    (gradient,) = gradients(lambda n: info_nce(queries, keys, negatives=n, symmetric=False), negatives)
    (slow,) = gradients(lambda n: slow_info_nce(queries, keys, n, 0.05, False, 0.0, [-1] * 4, [-1] * 5), negatives)
    torch.testing.assert_close(gradient, slow)


def test_one_pair_alone_costs_nothing():
    (gradient,) = gradients(lambda q: info_nce(q, unit(1, 4, 1)), unit(1, 4, 0))
    assert info_nce(unit(1, 4, 0), unit(1, 4, 1)) == 0
    assert not gradient.any()


def test_no_pair_gives_a_zero_with_a_gradient():
    queries = torch.zeros(0, 4, requires_grad=True)
    loss = info_nce(queries, torch.zeros(0, 4), negatives=unit(3, 4, 0).float(), ids=torch.zeros(0, dtype=torch.long))
    loss.backward()
    assert loss == 0
    assert queries.grad is not None


def test_all_candidates_of_one_group_leave_nothing_to_learn():
    ids = torch.full((5,), 3)
    options = {"ids": ids, "negatives": unit(3, 4, 2), "negative_ids": torch.full((3,), 3)}
    (gradient,) = gradients(lambda q: info_nce(q, unit(5, 4, 1), **options), unit(5, 4, 0))
    assert info_nce(unit(5, 4, 0), unit(5, 4, 1), **options) == 0
    assert not gradient.any()


def test_an_empty_queue_is_no_queue():
    queries, keys = unit(4, 6, 0), unit(4, 6, 1)
    empty = info_nce(queries, keys, negatives=queries[:0], ids=torch.arange(4), negative_ids=torch.arange(0))
    torch.testing.assert_close(empty, info_nce(queries, keys))


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_value_that_is_not_finite_gives_nan(value):
    queries = unit(4, 6, 0).float()
    queries[2, 3] = value
    assert info_nce(queries, unit(4, 6, 1).float()).isnan()


def test_mixed_types_are_computed_in_the_wider_one():
    queries, keys = unit(4, 6, 0).float(), unit(4, 6, 1).bfloat16()
    torch.testing.assert_close(info_nce(queries, keys), info_nce(queries, keys.float()))
    ours = gradients(lambda q, k: info_nce(q, k, negatives=unit(3, 6, 2)), queries, keys)
    assert [gradient.dtype for gradient in ours] == [torch.float32, torch.bfloat16]


def test_the_big_matrix_is_never_made(monkeypatch):
    monkeypatch.undo()  # tiles of the real size

    queries, keys = (unit(1500, 8, seed).float().requires_grad_() for seed in (0, 1))
    with Largest() as largest:
        info_nce(queries, keys, negatives=unit(2000, 8, 2).float(), ids=torch.arange(1500) % 700).backward()
    assert largest.elements <= 1024 * 1024


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(angular=st.sampled_from([0.0, 0.1, 0.5]), margin=st.sampled_from([0.0, 0.2]), seed=st.integers(0, 2**20))
def test_an_angular_margin_turns_the_positive_away(angular, margin, seed):
    queries, keys = unit(5, 6, seed), unit(5, 6, seed + 1)

    def slow(q, k):
        similarity = q @ k.T
        cosine = similarity.diagonal()
        turned = torch.cos(torch.acos(cosine) + angular)
        turned = torch.where(torch.acos(cosine) + angular < math.pi, turned, cosine - angular * math.sin(angular))
        logits = (similarity - torch.diag(cosine) + torch.diag(turned - margin)) / 0.1
        return F.cross_entropy(logits, torch.arange(5))

    def ours(q, k):
        return info_nce(q, k, temperature=0.1, margin=margin, angular_margin=angular, symmetric=False)

    torch.testing.assert_close(ours(queries, keys), slow(queries, keys))
    for fast, exact in zip(gradients(ours, queries, keys), gradients(slow, queries, keys), strict=True):
        torch.testing.assert_close(fast, exact)


def test_an_angular_margin_has_a_finite_gradient_where_the_sides_agree():
    keys = unit(4, 6, 0)
    for gradient in gradients(lambda q, k: info_nce(q, k, angular_margin=0.5), keys.clone(), keys):
        assert torch.isfinite(gradient).all()
