"""The Triton linear cross-entropy against the plain one in float64: values, gradients, bad input, memory."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from interpreted import DEVICE, INTERPRETED, KERNELS_RUN, run_interpreted

pytest.importorskip("triton")
if KERNELS_RUN:
    from mlcl.objectives.kernels.triton_linear_cross_entropy import linear_cross_entropy

HALF = [torch.bfloat16, torch.float16]


def problem(positions, vocabulary, dim, *, biased=True):
    """Hidden states, output embeddings, bias (float64), labels with repeats."""
    generator = torch.Generator().manual_seed(positions * vocabulary + dim)
    hidden = torch.randn(positions, dim, generator=generator, dtype=torch.float64)
    weight = torch.randn(vocabulary, dim, generator=generator, dtype=torch.float64) / dim**0.5
    bias = torch.randn(vocabulary, generator=generator, dtype=torch.float64) if biased else None
    labels = torch.randint(0, max(1, vocabulary // 2), (positions,), generator=generator)
    return [hidden, weight, bias], labels


def plain(hidden, weight, labels, bias):
    return F.cross_entropy(F.linear(hidden, weight, bias).to(torch.promote_types(hidden.dtype, torch.float32)), labels)


def fused(hidden, weight, labels, bias):
    return linear_cross_entropy(hidden, weight, labels, bias, hidden.dtype)


def run(function, tensors, labels, dtype, factor=1.0):
    """`factor` times the loss, and float64 gradients of (hidden, weight, bias) for inputs of the given type."""
    tensors = [None if tensor is None else tensor.to(DEVICE, dtype).detach().requires_grad_() for tensor in tensors]
    hidden, weight, bias = tensors
    loss = function(hidden, weight, labels.to(DEVICE), bias) * factor
    loss.backward()
    return loss.item(), [tensor.grad.double() for tensor in tensors if tensor is not None]


def rounded(tensors, dtype):
    return [None if tensor is None else tensor.to(dtype).double() for tensor in tensors]


def distance(found, expected):
    return ((found - expected).norm() / expected.norm()).item()


class Largest(TorchDispatchMode):
    """Entries of the largest floating-point tensor that any operation made."""

    entries = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        for tensor in result if isinstance(result, tuple | list) else [result]:
            if isinstance(tensor, torch.Tensor) and tensor.is_floating_point():
                self.entries = max(self.entries, tensor.numel())
        return result


@pytest.mark.skipif(INTERPRETED, reason="this is the child")
def test_under_the_interpreter():
    run_interpreted(__file__)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # numpy's, of infinities in the interpreter
class TestKernels:
    __test__ = KERNELS_RUN

    @pytest.mark.parametrize(
        ("positions", "vocabulary", "dim", "biased"),
        [(37, 101, 20, True), (70, 129, 33, False), (5, 300, 48, True), (1, 17, 16, True), (16, 16, 16, False)],
    )
    def test_value_and_gradients_equal_the_definition(self, positions, vocabulary, dim, biased):
        tensors, labels = problem(positions, vocabulary, dim, biased=biased)
        exact_loss, exact = run(plain, rounded(tensors, torch.float32), labels, torch.float64, factor=0.3)
        loss, found = run(fused, tensors, labels, torch.float32, factor=0.3)
        assert loss == pytest.approx(exact_loss, rel=1e-5)
        for ours, theirs in zip(found, exact, strict=True):
            assert distance(ours, theirs) < 1e-5

    @pytest.mark.parametrize("dtype", HALF)
    def test_half_precision_is_as_good_as_the_plain_formula_in_it(self, dtype):
        tensors, labels = problem(48, 200, 64)
        exact_loss, exact = run(plain, rounded(tensors, dtype), labels, torch.float64)
        loss, found = run(fused, tensors, labels, dtype)
        _, alternative = run(plain, tensors, labels, dtype)
        assert loss == pytest.approx(exact_loss, rel=1e-3)
        for ours, other, theirs in zip(found, alternative, exact, strict=True):
            assert distance(ours, theirs) < 1.1 * distance(other, theirs)

    @pytest.mark.parametrize("dtype", [torch.float32, *HALF])
    def test_gradients_of_a_sure_prediction_are_not_rounding(self, dtype):
        (_, weight, _), labels = problem(40, 60, 64)
        weight = F.normalize(weight, dim=-1)
        tensors = rounded([32 * weight[labels], weight, None], dtype)
        exact_loss, exact = run(plain, tensors, labels, torch.float64)
        assert exact_loss < 1e-6  # 1 - p of the label is far below the steps of float32 around 1
        factor = 2.0**20  # as a loss scaler's: the gradients leave in the type of the inputs
        loss, found = run(fused, tensors, labels, dtype, factor=factor)
        tolerance = 1e-4 if dtype == torch.float32 else 0.05
        assert loss == pytest.approx(factor * exact_loss, rel=tolerance)
        for ours, theirs in zip(found, exact, strict=True):
            assert distance(ours, factor * theirs) < tolerance

    def test_float32_weights_under_autocast(self):
        """Products in bfloat16, and yet the gradient of the weights arrives in float32, never rounded to half."""
        tensors, labels = problem(37, 200, 24)
        _, exact = run(plain, tensors, labels, torch.float64)
        hidden, weight, bias = (tensor.to(DEVICE, torch.float32).requires_grad_() for tensor in tensors)
        with torch.autocast(DEVICE, dtype=torch.bfloat16):
            loss = linear_cross_entropy(hidden.bfloat16(), weight, labels.to(DEVICE), bias, torch.bfloat16)
        loss.backward()
        assert loss.dtype == weight.grad.dtype == torch.float32
        assert not torch.equal(weight.grad, weight.grad.bfloat16().float())
        for tensor, theirs in zip((hidden, weight, bias), exact, strict=True):
            assert distance(tensor.grad.double(), theirs) < 1e-2

    def test_one_token_is_certain(self):
        tensors, labels = problem(5, 1, 16)
        loss, gradients = run(fused, tensors, labels, torch.float32)
        assert loss == 0
        assert all((gradient == 0).all() for gradient in gradients)

    def test_no_positions_give_a_zero_with_gradients(self):
        tensors, labels = problem(0, 40, 16)
        loss, gradients = run(fused, tensors, labels, torch.float32)
        assert loss == 0
        assert [gradient.shape for gradient in gradients] == [(0, 16), (40, 16), (40,)]
        assert all((gradient == 0).all() for gradient in gradients)

    def test_a_forbidden_token_has_no_gradient(self):
        tensors, labels = problem(20, 40, 16)
        tensors[2][39] = -torch.inf
        exact_loss, exact = run(plain, tensors, labels, torch.float64)
        loss, found = run(fused, tensors, labels, torch.float32)
        assert loss == pytest.approx(exact_loss, rel=1e-5)
        assert (found[1][39] == 0).all()
        assert distance(found[1], exact[1]) < 1e-5

    @pytest.mark.parametrize("bad", [torch.nan, torch.inf, -torch.inf])
    @pytest.mark.parametrize("place", [0, 1])
    def test_an_input_that_is_not_finite_shows(self, bad, place):
        tensors, labels = problem(20, 40, 16)
        tensors[place][int(labels[3]) if place else 3, 2] = bad
        loss, gradients = run(fused, tensors, labels, torch.float32)
        assert torch.isnan(torch.tensor(loss))
        assert torch.isnan(gradients[0]).any()

    def test_the_same_inputs_give_the_same_bits(self):
        tensors, labels = problem(70, 150, 16)
        (first, once), (second, again) = (run(fused, tensors, labels, torch.bfloat16) for _ in range(2))
        assert first == second
        assert all(torch.equal(left, right) for left, right in zip(once, again, strict=True))

    def test_frozen_weights_get_no_gradient(self):
        tensors, labels = problem(20, 40, 16)
        hidden, weight, bias = (tensor.to(DEVICE, torch.float32) for tensor in tensors)
        hidden.requires_grad_()
        fused(hidden, weight, labels.to(DEVICE), bias).backward()
        _, exact = run(plain, tensors, labels, torch.float64)
        assert weight.grad is None
        assert distance(hidden.grad.double(), exact[0]) < 1e-5

    def test_the_logits_never_exist(self):
        tensors, labels = problem(60, 300, 16)
        with Largest() as largest:
            run(fused, tensors, labels, torch.bfloat16)
        assert largest.entries < 60 * 300 / 3 or not INTERPRETED  # a GPU's chunk is larger than these inputs

    def test_other_types_are_refused(self):
        tensors, labels = problem(4, 8, 16)
        with pytest.raises(ValueError, match="float64"):
            run(fused, tensors, labels, torch.float64)

    @pytest.mark.skipif(INTERPRETED, reason="sizes for a GPU")
    @pytest.mark.parametrize("dim", [384, 768, 1000])
    @pytest.mark.parametrize("dtype", [torch.float32, *HALF])
    def test_sizes_of_a_real_step(self, dim, dtype):
        """Large enough for several chunks and for the choice among tiles."""
        tensors, labels = problem(700, 50_001, dim)
        exact_loss, exact = run(plain, rounded(tensors, dtype), labels, torch.float64)
        loss, found = run(fused, tensors, labels, dtype)
        assert loss == pytest.approx(exact_loss, rel=1e-5 if dtype == torch.float32 else 1e-3)
        for ours, theirs in zip(found, exact, strict=True):
            assert distance(ours, theirs) < (1e-4 if dtype == torch.float32 else 1e-2)
