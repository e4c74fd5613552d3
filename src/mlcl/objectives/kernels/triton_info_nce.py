"""The Triton twin of `blocked_info_nce`: log-sum-exp over the other candidates of each query and each key, on CUDA.

In: scaled queries (N, D), keys (N, D), negatives (M, D), group ids. Out: two vectors (N,), from which `info_nce` makes
its loss. Memory is O((N + M) D) and one chunk of a fixed size; the maths and the tiling are in `triton_scores`.

InfoNCE in tiles is also Inf-CL's subject (arXiv 2410.17243); its sums hold the positive and its two directions are two
passes.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from mlcl.objectives.kernels.precision import gradient_scale
from mlcl.objectives.kernels.triton_scores import Scores, add_gradients, log_sum_exp


def other_candidates(
    queries: Tensor,
    keys: Tensor,
    negatives: Tensor | None,
    dtype: torch.dtype,
    ids: Tensor | None,
    negative_ids: Tensor | None,
    symmetric: bool,
) -> tuple[Tensor, Tensor | None]:
    """Log-sum-exp of each query's and, if `symmetric`, each key's other candidates.

    Args:
        queries: (N, D), divided by the temperature.
        keys: (N, D); key i is the positive of query i.
        negatives: (M, D) further candidates of the queries.
        dtype: Type of the products: bfloat16, float16 or float32. Sums are in float32.
        ids: (N,) group ids, -1 = none.
        negative_ids: (M,) group ids, -1 = none.
        symmetric: Whether the keys are wanted.

    Returns:
        rows (N,) and columns (N,) or None, float32; -inf where there is no other candidate, NaN where an input is not
        finite.

    Raises:
        ValueError: products in another type.
    """
    if dtype not in (torch.bfloat16, torch.float16, torch.float32):
        raise ValueError(f"the Triton kernels multiply in bfloat16, float16 or float32, not in {dtype}")
    with torch.autocast(queries.device.type, enabled=False):
        rows, columns = _LogSumExp.apply(queries, keys, negatives, dtype, symmetric, *_groups(ids, negative_ids))
    return rows, columns if symmetric else None


class _LogSumExp(torch.autograd.Function):
    """See `other_candidates`."""

    @staticmethod
    def forward(
        ctx: Any,
        queries: Tensor,
        keys: Tensor,
        negatives: Tensor | None,
        dtype: torch.dtype,
        symmetric: bool,
        *groups: Tensor | None,
    ) -> tuple[Tensor, Tensor]:
        in_batch, extra = _scores(queries, keys, negatives, dtype, groups)
        rows, columns = log_sum_exp(in_batch, both=symmetric)
        # A logit of -inf is no candidate, but an input of -inf is an error that must show.
        rows += 0 * (queries.sum(1, dtype=torch.float32) + keys.sum(1, dtype=torch.float32))
        if extra is not None and negatives is not None:
            rows = torch.logaddexp(rows, log_sum_exp(extra, both=False)[0]) + 0 * negatives.sum(dtype=torch.float32)
        ctx.save_for_backward(queries, keys, negatives, rows, columns, *groups)
        ctx.dtype = dtype
        return rows, rows.new_empty(0) if columns is None else columns

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, row_weight: Tensor, column_weight: Tensor) -> tuple[Tensor | None, ...]:
        queries, keys, negatives, rows, columns, *groups = ctx.saved_tensors
        in_batch, extra = _scores(queries, keys, negatives, ctx.dtype, tuple(groups))
        scale = gradient_scale(ctx.dtype, row_weight, column_weight)
        row_weight = row_weight / scale
        d_queries, d_keys, d_negatives = (
            matrix.new_zeros(matrix.shape, dtype=torch.float32) if matrix is not None and needed else None
            for matrix, needed in zip((queries, keys, negatives), ctx.needs_input_grad[:3], strict=True)
        )
        with torch.autocast(queries.device.type, enabled=False):
            add_gradients(
                in_batch,
                row_lse=rows,
                row_weight=row_weight,
                column_lse=columns,
                column_weight=None if columns is None else column_weight / scale,
                to_rows=d_queries,
                to_columns=d_keys,
            )
            if extra is not None:
                add_gradients(extra, row_lse=rows, row_weight=row_weight, to_rows=d_queries, to_columns=d_negatives)
        return (
            None if d_queries is None else d_queries.mul_(scale).to(queries.dtype),
            None if d_keys is None else d_keys.mul_(scale).to(keys.dtype),
            None if d_negatives is None else d_negatives.mul_(scale).to(negatives.dtype),
            *[None] * 5,
        )  # fmt: skip


def _scores(
    queries: Tensor,
    keys: Tensor,
    negatives: Tensor | None,
    dtype: torch.dtype,
    groups: tuple[Tensor | None, ...],
) -> tuple[Scores, Scores | None]:
    """The scores within the batch, and those against the negatives if there are any."""
    rows = queries.to(dtype).contiguous()
    target = torch.arange(len(rows), device=rows.device)
    of_rows, of_keys, of_negatives = groups
    in_batch = Scores(rows, keys.to(dtype).contiguous(), target, row_groups=of_rows, column_groups=of_keys)
    if negatives is None or not len(negatives):
        return in_batch, None
    of_rows = None if of_negatives is None else of_rows
    extra = Scores(rows, negatives.to(dtype).contiguous(), row_groups=of_rows, column_groups=of_negatives)
    return in_batch, extra


def _groups(ids: Tensor | None, negative_ids: Tensor | None) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    """Group ids of queries, keys and negatives as small numbers, which differ where there is no group.

    A kernel compares them for each entry: half the width is half the registers, and -1 needs no case of its own.
    """
    if ids is None:
        return None, None, None
    given = ids if negative_ids is None else torch.cat([ids, negative_ids])
    ordered, order = given.sort()
    rank = torch.zeros_like(given, dtype=torch.int32)
    rank[order[1:]] = (ordered[1:] != ordered[:-1]).cumsum(0, dtype=torch.int32)
    columns = rank.where(given >= 0, -2)
    rows = columns[: len(ids)].where(ids >= 0, -1)
    return rows, columns[: len(ids)], None if negative_ids is None else columns[len(ids) :].contiguous()
