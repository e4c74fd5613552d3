"""KoLeo against its definition, and what it does to vectors."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from mlcl.objectives.koleo import koleo


def slow(vectors: torch.Tensor, ids: list[int]) -> torch.Tensor:
    """Minus the mean log distance to the nearest vector of another group, one by one."""
    logs = []
    for i, vector in enumerate(vectors):
        others = [j for j in range(len(vectors)) if j != i and (ids[i] < 0 or ids[j] != ids[i])]
        if others:
            logs.append(torch.stack([(vector - vectors[j]).norm() for j in others]).min().add(1e-6).log())
    return -torch.stack(logs).mean() if logs else vectors.sum() * 0


@given(st.integers(0, 10_000), st.lists(st.integers(-1, 2), min_size=2, max_size=8))
def test_it_is_its_definition_in_value_and_gradient(seed, ids):
    chance = torch.Generator().manual_seed(seed)
    one = F.normalize(torch.randn(len(ids), 5, generator=chance, dtype=torch.float64), dim=1).requires_grad_()
    other = one.detach().clone().requires_grad_()
    fast, expected = koleo(one, torch.tensor(ids)), slow(other, ids)
    torch.testing.assert_close(fast, expected)
    fast.backward()
    expected.backward()
    torch.testing.assert_close(one.grad, other.grad)


def test_golden_number():
    vectors = torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]])  # each is sqrt(2) from its nearest
    assert math.isclose(koleo(vectors).item(), -math.log(math.sqrt(2)), rel_tol=1e-5)


def test_descending_it_spreads_vectors():
    chance = torch.Generator().manual_seed(0)
    vectors = (torch.randn(32, 8, generator=chance) * 0.05 + 1).requires_grad_()  # one narrow cone
    before = F.normalize(vectors, dim=1).mean(0).norm().item()
    optimizer = torch.optim.Adam([vectors], lr=0.05)
    for _ in range(500):
        optimizer.zero_grad()
        koleo(F.normalize(vectors, dim=1)).backward()
        optimizer.step()
    assert F.normalize(vectors, dim=1).mean(0).norm().item() < 0.25 < 0.9 < before
