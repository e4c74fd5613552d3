"""The masked-LM loss against cross-entropy over all logits."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mlcl.objectives import masked_lm_loss
from mlcl.objectives.kernels import blocked_linear_cross_entropy
from tensor_sizes import Largest


@pytest.fixture(params=["one tile", "many tiles"], autouse=True)
def tiles(request, monkeypatch):
    """Every test also with tiles that do not divide the vocabulary."""
    if request.param == "many tiles":
        monkeypatch.setattr(blocked_linear_cross_entropy, "_ROWS", (3, 3))


def plain_loss(hidden, weight, labels, bias=None):
    logits = hidden @ weight.T
    return F.cross_entropy(logits if bias is None else logits + bias, labels, ignore_index=-100)


def value_and_gradients(loss_of, *tensors):
    leaves = [tensor.clone().requires_grad_() for tensor in tensors]
    loss = loss_of(*leaves)
    loss.backward()
    return [loss.detach(), *(leaf.grad for leaf in leaves)]


def problem(tokens, width, entries, seed=0, scale=1.0):
    generator = torch.Generator().manual_seed(seed)
    draw = lambda *shape: scale * torch.randn(*shape, generator=generator, dtype=torch.float64)  # noqa: E731
    labels = torch.randint(0, entries, (tokens,), generator=generator)
    return draw(tokens, width), draw(entries, width), labels, draw(entries)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    tokens=st.integers(1, 9),
    width=st.integers(1, 7),
    entries=st.integers(1, 11),
    scale=st.sampled_from([0.1, 1.0, 20.0]),  # 20: logits of thousands
    with_bias=st.booleans(),
    lam=st.sampled_from([1.0, 0.1]),
    seed=st.integers(0, 2**20),
)
def test_value_and_gradients_equal_those_of_all_logits(tokens, width, entries, scale, with_bias, lam, seed):
    hidden, weight, labels, bias = problem(tokens, width, entries, seed, scale)
    labels[seed % tokens] = labels[seed % tokens] if seed % 3 or tokens == 1 else -100
    tensors = (hidden, weight, bias) if with_bias else (hidden, weight)
    ours, plain = (
        value_and_gradients(lambda h, w, *b, loss=loss: lam * loss(h, w, labels, *b), *tensors)
        for loss in (masked_lm_loss, plain_loss)
    )
    for fast, slow in zip(ours, plain, strict=True):
        torch.testing.assert_close(fast, slow, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("frozen", [{1}, {2}, {1, 2}], ids=["embeddings", "bias", "both"])
def test_frozen_parts_get_no_gradient_and_the_others_the_same(frozen):
    hidden, weight, labels, bias = problem(9, 5, 11)
    expected = value_and_gradients(lambda h, w, b: masked_lm_loss(h, w, labels, b), hidden, weight, bias)[1:]
    leaves = [tensor.clone().requires_grad_(place not in frozen) for place, tensor in enumerate((hidden, weight, bias))]
    masked_lm_loss(leaves[0], leaves[1], labels, leaves[2]).backward()
    for place, (leaf, gradient) in enumerate(zip(leaves, expected, strict=True)):
        if place in frozen:
            assert leaf.grad is None
        else:
            torch.testing.assert_close(leaf.grad, gradient)


@pytest.mark.parametrize("scale", [0.3, 1.0, 4.0])
def test_bfloat16_gradients_are_no_worse_than_those_of_all_logits(scale):
    hidden, weight, labels, bias = problem(24, 32, 50, scale=scale)
    exact = value_and_gradients(lambda h, w, b: plain_loss(h, w, labels, b), hidden, weight, bias)
    single = [tensor.float() for tensor in (hidden, weight, bias)]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        ours = value_and_gradients(lambda h, w, b: masked_lm_loss(h, w, labels, b), *single)
        plain = value_and_gradients(lambda h, w, b: F.cross_entropy(F.linear(h, w, b).float(), labels), *single)

    def error(found):
        return max(float((a.double() - b).norm() / b.norm()) for a, b in zip(found, exact, strict=True))

    assert error(ours) <= max(1.05 * error(plain), 2**-7)


def test_float32_is_as_accurate_as_float32_can_be():
    hidden, weight, labels, bias = problem(24, 32, 50)
    exact = value_and_gradients(lambda h, w, b: plain_loss(h, w, labels, b), hidden, weight, bias)
    single = [tensor.float() for tensor in (hidden, weight, bias)]
    for ours, reference in zip(
        value_and_gradients(lambda h, w, b: masked_lm_loss(h, w, labels, b), *single), exact, strict=True
    ):
        torch.testing.assert_close(ours.double(), reference, rtol=1e-4, atol=1e-6)


def test_a_label_that_is_no_token_is_refused():
    hidden, weight, _, _ = problem(3, 4, 5)
    with pytest.raises(ValueError, match="the vocabulary has 5"):
        masked_lm_loss(hidden, weight, torch.tensor([0, 5, 1]))


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_value_that_is_not_finite_gives_nan(value):
    hidden, weight, labels, _ = problem(3, 4, 5)
    hidden[1, 2] = value
    assert masked_lm_loss(hidden, weight, labels).isnan()


def test_the_logits_are_never_made(monkeypatch):
    monkeypatch.undo()  # tiles of the real size

    hidden, weight, labels, bias = (tensor.requires_grad_(i != 2) for i, tensor in enumerate(problem(600, 8, 5000)))
    with Largest() as largest:
        masked_lm_loss(hidden, weight, labels, bias).backward()
    assert largest.elements <= 2**19


def test_equals_cross_entropy_with_ignored_positions():
    torch.manual_seed(0)
    hidden, weight = torch.randn(10, 8, dtype=torch.float64), torch.randn(20, 8, dtype=torch.float64)
    bias = torch.randn(20, dtype=torch.float64)
    labels = torch.tensor([3, -100, 5, -100, -100, 19, 0, -100, 1, 2])
    gradients = []
    for loss_of in (
        lambda h, w: masked_lm_loss(h, w, labels, bias),
        lambda h, w: F.cross_entropy(h @ w.T + bias, labels, ignore_index=-100),
    ):
        h, w = hidden.clone().requires_grad_(), weight.clone().requires_grad_()
        loss = loss_of(h, w)
        loss.backward()
        gradients.append((loss.detach(), h.grad, w.grad))
    for ours, reference in zip(*gradients, strict=True):
        torch.testing.assert_close(ours, reference)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_nothing_masked_is_zero_with_a_gradient(dtype):
    hidden, weight = (torch.randn(rows, 4, dtype=dtype, requires_grad=True) for rows in (3, 5))
    loss = masked_lm_loss(hidden, weight, torch.full((3,), -100))
    loss.backward()
    assert loss.item() == 0
    assert loss.dtype == dtype
    assert weight.grad is not None
    assert not weight.grad.any()


def test_a_uniform_model_pays_the_log_of_the_vocabulary():
    loss = masked_lm_loss(torch.zeros(4, 3), torch.randn(11, 3), torch.tensor([0, 1, 2, 3]))
    assert loss.item() == pytest.approx(torch.log(torch.tensor(11.0)).item())


def test_shapes_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="must be"):
        masked_lm_loss(torch.zeros(4, 3), torch.zeros(5, 2), torch.zeros(4, dtype=torch.long))
