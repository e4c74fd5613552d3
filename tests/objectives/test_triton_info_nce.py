"""The Triton log-sum-exps of InfoNCE against the definition in float64: values, gradients, bad input, memory."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from interpreted import DEVICE, INTERPRETED, KERNELS_RUN, run_interpreted

pytest.importorskip("triton")
if KERNELS_RUN:
    from mlcl.objectives.kernels.triton_info_nce import other_candidates

HALF = [torch.bfloat16, torch.float16]


def unit(rows, dim, seed):
    generator = torch.Generator().manual_seed(seed)
    return F.normalize(torch.randn(rows, dim, generator=generator, dtype=torch.float64), dim=-1)


def group_ids(rows, seed):
    """Some groups shared, some none; ids that only 64 bits hold."""
    ids = torch.randint(-1, max(2, rows // 2), (rows,), generator=torch.Generator().manual_seed(seed))
    return torch.where(ids >= 0, ids + 2**40, -1)


def softplus(x):
    return torch.logaddexp(x, torch.zeros_like(x))


def fused(queries, keys, negatives, temperature, dtype, ids=None, negative_ids=None, symmetric=True, margin=0.0):
    """The loss as `info_nce` makes it from the log-sum-exps."""
    scaled = queries.float() / temperature
    positive = (scaled * keys.float()).sum(-1) - margin / temperature
    rows, columns = other_candidates(scaled, keys, negatives, dtype, ids, negative_ids, symmetric)
    loss = softplus(rows - positive).mean()
    return loss if columns is None else (loss + softplus(columns - positive).mean()) / 2


def plain(queries, keys, negatives, temperature, ids=None, negative_ids=None, symmetric=True, margin=0.0):
    """The definition, with both matrices; logits in float32 at least."""

    def logits_of(candidates):
        products = queries @ candidates.T
        return products / temperature if products.dtype == torch.float64 else products.float() / temperature

    def same(left, right):
        return (left[:, None] == right[None, :]) & (left[:, None] >= 0)

    target = torch.arange(len(queries), device=queries.device)
    logits = logits_of(keys) - margin / temperature * torch.eye(len(queries), device=queries.device)
    if ids is not None:
        logits = logits.masked_fill(same(ids, ids).fill_diagonal_(False), -torch.inf)
    columns = logits
    if negatives is not None:
        extra = logits_of(negatives)
        if ids is not None and negative_ids is not None:
            extra = extra.masked_fill(same(ids, negative_ids), -torch.inf)
        columns = torch.cat([logits, extra], dim=1)
    loss = F.cross_entropy(columns, target)
    return (loss + F.cross_entropy(logits.T, target)) / 2 if symmetric else loss


def run(function, tensors, temperature, dtype, **options):
    """Loss and float64 gradients of (queries, keys, negatives, temperature) for inputs of the given type."""
    tensors = [None if tensor is None else tensor.to(DEVICE, dtype).detach().requires_grad_() for tensor in tensors]
    exact = torch.float64 if dtype == torch.float64 else torch.float32
    temperature = torch.tensor(temperature, dtype=exact, device=DEVICE, requires_grad=True)
    options = {name: value.to(DEVICE) if isinstance(value, torch.Tensor) else value for name, value in options.items()}
    loss = function(*tensors, temperature, **options)
    loss.backward()
    given = [tensor for tensor in (*tensors, temperature) if tensor is not None]
    return loss.item(), [tensor.grad.double() for tensor in given]


def fused_in(dtype):
    """`fused` with products in the given type."""
    return lambda *tensors, **options: fused(*tensors, dtype=dtype, **options)


def plain_in(dtype):
    """`plain` with products in the given type."""

    def cast(*tensors, **options):
        *matrices, temperature = tensors
        return plain(*(None if matrix is None else matrix.to(dtype) for matrix in matrices), temperature, **options)

    return cast


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
        ("rows", "extra", "dim", "symmetric", "margin", "temperature", "masked"),
        [
            (37, 21, 20, True, 0.0, 0.05, True),
            (70, 100, 33, False, 0.3, 0.05, True),
            (70, 0, 16, True, 0.3, 1.0, False),
            (32, 48, 48, True, 0.0, 0.01, False),
            (5, 101, 40, True, 0.1, 0.05, True),
            (1, 5, 8, True, 0.0, 0.05, False),
        ],
    )
    def test_value_and_gradients_equal_the_definition(self, rows, extra, dim, symmetric, margin, temperature, masked):
        tensors = [unit(rows, dim, 0), unit(rows, dim, 1), unit(extra, dim, 2) if extra else None]
        options = {"symmetric": symmetric, "margin": margin}
        if masked:
            options |= {"ids": group_ids(rows, 3), "negative_ids": group_ids(extra, 4)}
        exact_loss, exact = run(plain, [t if t is None else t.float().double() for t in tensors], temperature,
                                torch.float64, **options)  # fmt: skip
        loss, found = run(fused_in(torch.float32), tensors, temperature, torch.float32, **options)
        assert loss == pytest.approx(exact_loss, rel=1e-5)
        for ours, theirs in zip(found, exact, strict=True):
            assert distance(ours, theirs) < 1e-5

    @pytest.mark.parametrize("dtype", HALF)
    @pytest.mark.parametrize("temperature", [0.01, 0.05, 1.0])
    def test_half_precision_is_as_good_as_the_plain_formula_in_it(self, dtype, temperature):
        tensors = [unit(60, 48, seed) for seed in range(3)]
        exact_loss, exact = run(plain, tensors, temperature, torch.float64)
        loss, found = run(fused_in(dtype), tensors, temperature, torch.float32)
        _, alternative = run(plain_in(dtype), tensors, temperature, torch.float32)
        assert loss == pytest.approx(exact_loss, rel=2e-3)
        for ours, other, theirs in zip(found[:3], alternative, exact, strict=False):
            assert distance(ours, theirs) < 1.1 * distance(other, theirs)
        assert distance(found[3], exact[3]) < 5e-3  # one number: which of the two is nearer is chance

    @pytest.mark.parametrize("dtype", [torch.float32, *HALF])
    def test_gradients_near_convergence_are_not_rounding(self, dtype):
        queries = unit(48, 64, 0)
        keys = F.normalize(queries + 0.02 * unit(48, 64, 1), dim=-1)
        exact_loss, exact = run(plain, [queries, keys, None], 0.03, torch.float64)
        assert exact_loss < 1e-7  # 1 - p of the positive is far below the steps of float32 around 1
        loss, found = run(fused_in(dtype), [queries, keys, None], 0.03, torch.float32)
        tolerance = 1e-4 if dtype == torch.float32 else 0.1
        assert loss == pytest.approx(exact_loss, rel=tolerance)
        for ours, theirs in zip(found, exact, strict=True):
            assert distance(ours, theirs) < tolerance

    @pytest.mark.parametrize("symmetric", [True, False])
    def test_logits_that_span_more_than_float32(self, symmetric):
        """Queries of very different lengths: the shared exponential would underflow, each direction's own does not."""
        queries, keys = unit(40, 16, 0), unit(40, 16, 1)
        queries = (queries * torch.logspace(-1, 1.3, 40, dtype=torch.float64)[:, None]).float().double()
        keys = keys.float().double()
        exact_loss, exact = run(plain, [queries, keys, None], 0.03, torch.float64, symmetric=symmetric)
        loss, found = run(fused_in(torch.float32), [queries, keys, None], 0.03, torch.float32, symmetric=symmetric)
        assert loss == pytest.approx(exact_loss, rel=1e-5)
        for ours, theirs in zip(found, exact, strict=True):
            assert distance(ours, theirs) < 1e-4

    def test_a_tiny_incoming_gradient_survives_float16(self):
        tensors = [unit(20, 16, seed).half().to(DEVICE).requires_grad_() for seed in (0, 1)]
        fused(*tensors, None, 0.05, torch.float16).mul(1e-4).mul(1e4).backward()
        _, exact = run(plain, [t.detach().double() for t in tensors] + [None], 0.05, torch.float64)
        assert distance(tensors[1].grad.double(), exact[1]) < 5e-3

    def test_where_all_candidates_are_masked_loss_and_gradient_are_zero(self):
        ids = torch.zeros(20, dtype=torch.long)
        loss, gradients = run(
            fused_in(torch.float32), [unit(20, 16, 0), unit(20, 16, 1), unit(30, 16, 2)], 0.05, torch.float32,
            ids=ids, negative_ids=torch.zeros(30, dtype=torch.long),
        )  # fmt: skip
        assert loss == 0
        assert all((gradient == 0).all() for gradient in gradients)

    @pytest.mark.parametrize("extra", [None, 0])
    def test_one_pair_without_negatives_is_zero(self, extra):
        negatives = None if extra is None else unit(0, 16, 2)
        loss, gradients = run(fused_in(torch.float32), [unit(1, 16, 0), unit(1, 16, 1), negatives], 0.05, torch.float32)
        assert loss == 0
        assert all((gradient == 0).all() for gradient in gradients)

    def test_no_pairs_have_no_log_sum_exp(self):
        empty = torch.zeros(0, 16, device=DEVICE, requires_grad=True)
        rows, columns = other_candidates(empty, empty, None, torch.float32, None, None, True)
        assert rows.shape == columns.shape == (0,)
        (rows.sum() + columns.sum()).backward()
        assert empty.grad.shape == (0, 16)

    @pytest.mark.parametrize("bad", [torch.nan, torch.inf, -torch.inf])
    @pytest.mark.parametrize("place", [0, 1, 2])
    @pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
    def test_an_input_that_is_not_finite_shows(self, bad, place, dtype):
        tensors = [unit(20, 16, 0), unit(20, 16, 1), unit(5, 16, 2)]
        tensors[place][3, 2] = bad
        loss, gradients = run(fused_in(dtype), tensors, 0.05, torch.float32)
        assert torch.isnan(torch.tensor(loss))
        assert torch.isnan(gradients[0]).any()

    def test_the_same_inputs_give_the_same_bits(self):
        tensors = [unit(70, 16, 0), unit(70, 16, 1), unit(50, 16, 2)]
        (first, once), (second, again) = (run(fused_in(torch.bfloat16), tensors, 0.05, torch.float32) for _ in range(2))
        assert first == second
        assert all(torch.equal(left, right) for left, right in zip(once, again, strict=True))

    def test_gradients_have_the_type_and_need_of_the_inputs(self):
        queries, keys, queue = (unit(20, 16, seed).to(DEVICE) for seed in range(3))
        queries, keys, queue = queries.float().requires_grad_(), keys.bfloat16().requires_grad_(), queue.half()
        with torch.autocast(DEVICE, dtype=torch.bfloat16):
            loss = fused(queries, keys, queue, 0.05, torch.bfloat16)
        loss.backward()
        assert loss.dtype == queries.grad.dtype == torch.float32
        assert keys.grad.dtype == torch.bfloat16
        assert queue.grad is None

    def test_the_matrix_never_exists(self):
        tensors = [unit(120, 16, 0), unit(120, 16, 1), unit(90, 16, 2)]
        with Largest() as largest:
            run(fused_in(torch.bfloat16), tensors, 0.05, torch.float32)
        assert largest.entries < 120 * 90 / 4 or not INTERPRETED  # a GPU's chunk is larger than these inputs

    def test_other_types_are_refused(self):
        queries = unit(4, 16, 0).to(DEVICE)
        with pytest.raises(ValueError, match="float64"):
            other_candidates(queries, queries, None, torch.float64, None, None, True)

    @pytest.mark.skipif(INTERPRETED, reason="sizes for a GPU")
    @pytest.mark.parametrize("dim", [384, 768, 1000])
    @pytest.mark.parametrize("dtype", [torch.float32, *HALF])
    def test_sizes_of_a_real_step(self, dim, dtype):
        """Large enough for several chunks and for the choice among tiles."""
        rows, extra = 8500, 5001
        tensors = [unit(rows, dim, 0), unit(rows, dim, 1), unit(extra, dim, 2)]
        options = {"ids": group_ids(rows, 3), "negative_ids": group_ids(extra, 4)}
        exact_loss, exact = run(plain, tensors, 0.05, torch.float64, **options)
        loss, found = run(fused_in(dtype), tensors, 0.05, torch.float32, **options)
        assert loss == pytest.approx(exact_loss, rel=1e-5 if dtype == torch.float32 else 1e-3)
        for ours, theirs in zip(found, exact, strict=True):
            assert distance(ours, theirs) < (1e-4 if dtype == torch.float32 else 1e-2)
