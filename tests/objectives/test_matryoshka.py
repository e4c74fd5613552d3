"""Matryoshka against InfoNCE on vectors that are cut by hand."""

from __future__ import annotations

from functools import partial

import pytest
import torch
import torch.nn.functional as F

from mlcl.objectives import info_nce
from mlcl.objectives.matryoshka import matryoshka, truncate


def unit(rows: int, dim: int, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return F.normalize(torch.randn(rows, dim, generator=generator, dtype=torch.float64), dim=-1)


def test_it_is_the_weighted_mean_of_the_loss_at_each_size():
    sides = [unit(5, 8, seed).requires_grad_() for seed in (0, 1)]
    loss = partial(info_nce, temperature=0.1)
    got = matryoshka(loss, sides, [2, 8], [3.0, 1.0])
    short, whole = ([side[:, :dim] / side[:, :dim].norm(dim=1, keepdim=True) for side in sides] for dim in (2, 8))
    expected = (3 * loss(*short) + loss(*whole)) / 4
    torch.testing.assert_close(got, expected)
    for fast, slow in zip(torch.autograd.grad(got, sides), torch.autograd.grad(expected, sides), strict=True):
        torch.testing.assert_close(fast, slow)


def test_the_whole_width_alone_is_the_loss_itself():
    sides = [unit(5, 8, seed) for seed in (0, 1)]
    torch.testing.assert_close(matryoshka(info_nce, sides, [8]), info_nce(*sides))


def test_values_after_the_last_size_get_no_gradient():
    sides = [unit(5, 8, seed).requires_grad_() for seed in (0, 1)]
    matryoshka(info_nce, sides, [3, 4]).backward()
    assert sides[0].grad[:, :4].any()
    assert not sides[0].grad[:, 4:].any()


def test_truncated_vectors_are_what_encode_gives():
    import numpy as np

    vectors = unit(4, 6, 0)
    cut = vectors.numpy()[:, :3]
    np.testing.assert_allclose(truncate(vectors, 3).numpy(), cut / np.linalg.norm(cut, axis=1, keepdims=True))


@pytest.mark.parametrize(
    ("dims", "weights", "message"),
    [
        ([], None, "numbers from 1 to 8"),
        ([0], None, "from 1 to 8"),
        ([9], None, "from 1 to 8"),
        ([2], [1.0, 2.0], "must be 1 numbers"),
        ([2], [-1.0], "from 0 on"),
        ([2, 3], [0.0, 0.0], "not all 0"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(dims, weights, message):
    with pytest.raises(ValueError, match=message):
        matryoshka(info_nce, [unit(2, 8, 0), unit(2, 8, 1)], dims, weights)
