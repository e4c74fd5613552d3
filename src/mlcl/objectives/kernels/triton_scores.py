"""Log-sum-exps and gradients of a score matrix that is never held whole, by Triton kernels on CUDA.

In: rows (N, D), candidates (M, D) and, for each row, the index of its positive. Out: for each row (and each candidate)
the log-sum-exp of its other scores; later, given the gradients of those, the gradients of both sides.

The maths. With l_ij = rows_i . candidates_j + bias_j and O_i the candidates of row i that are neither its positive t_i
nor of its group,

    row_lse_i = log sum_{j in O_i} exp l_ij          column_lse_j = log sum_{i: j in O_i} exp l_ij

    G_ij = row_weight_i exp(l_ij - row_lse_i) + column_weight_j exp(l_ij - column_lse_j),    G_it = positive_i
    gradient of the rows = G @ candidates            gradient of the candidates = G^T @ rows

Why the positive stays out of the sums: a loss needs 1 - p of it, which near convergence is all rounding if it is a
difference from 1, and exact if it is `others / (others + positive)`.

The tiling. Forward: a program holds the online log-sum-exp of one block of rows and walks a strip of candidates; each
tile also leaves the log-sum-exps of its columns, so that one pass of products serves both directions. Parts are written
out and combined in a fixed order: no atomics, equal inputs give equal bits. Backward: G is made anew, one chunk of at
most `SIZES.chunk` entries at a time whatever N and M, and two ordinary matrix products with float32 sums consume it.
Why not one fused kernel for each side: its (rows, D) sums must stay in registers, which ends at about D = 256, and it
makes G twice; a chunk costs 3 products where the pair costs 4, and the bytes of G hide behind them from D = 256 on.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
import triton
from torch import Tensor

from mlcl.objectives.kernels.triton_kernels import gradient_kernel, log_sum_exp_kernel

_LN_2 = math.log(2)  # the kernels count in units of log 2

INTERPRETED = not isinstance(gradient_kernel, triton.JITFunction)


@dataclass(frozen=True)
class Sizes:
    """How the work is cut into launches. How a launch is cut into tiles is said by `_tiles`."""

    chunk: int
    """Entries of G that exist at a time (2**26: 128 MiB in half precision)."""
    chunk_rows: int
    """Rows of a chunk, at most."""
    chunk_columns: int
    """Candidates of a chunk, at most."""
    column_parts: int
    """Column log-sum-exps that wait to be combined, about; bounds the rows of one launch of the forward."""
    programs: int
    """Programs that a launch of the forward aims at: some waves on the largest GPUs."""
    strip: int
    """A strip of candidates is a multiple of this: the widest tile."""


# The interpreter's are small, so that the tests' few rows are cut into several chunks, strips and blocks.
SIZES = Sizes(1024, 32, 48, 128, 6, 16) if INTERPRETED else Sizes(2**26, 8192, 32768, 2**24, 1024, 256)


def _tile(columns: int, depth: int, warps: int, stages: int, registers: int | None = None) -> triton.Config:
    tile = {"BLOCK_COLUMNS": columns, "BLOCK_DEPTH": depth}
    return triton.Config(tile, num_warps=warps, num_stages=stages, maxnreg=registers)


# For tensor cores, chosen among by trying. Shared memory is stages * (128 + columns) * depth * 2 bytes: 96, 96, 144 and
# 72 KiB of a Hopper's 227. With the limits on registers two (three) programs share a multiprocessor and one multiplies
# while the other takes exponentials, for some spilling outside the loop of products; the first spills nothing, the
# third reads the rows half as often.
_TILES = [_tile(128, 64, 8, 3), _tile(128, 64, 8, 3, 128), _tile(256, 64, 8, 3), _tile(64, 64, 4, 3, 168)]
_MEASURED = {
    kernel: kernel if INTERPRETED else triton.autotune(_TILES, key=["D"])(kernel)
    for kernel in (log_sum_exp_kernel, gradient_kernel)
}


@dataclass(frozen=True)
class Scores:
    """What defines the logits of N rows against M candidates; all tensors contiguous and on one device."""

    rows: Tensor
    """(N, D) in bfloat16, float16 or float32."""
    columns: Tensor
    """(M, D) candidates in the same type."""
    target: Tensor | None = None
    """(N,) int64: the positive of each row, which takes no part in the sums."""
    bias: Tensor | None = None
    """(M,) float32."""
    row_groups: Tensor | None = None
    """(N,) int32: a candidate of the same number takes no part either."""
    column_groups: Tensor | None = None
    """(M,) int32, given exactly when row_groups are."""
    first_column: int = 0
    """What `target` calls the first of these candidates."""

    def block(self, rows: slice, columns: slice) -> Scores:
        """The scores of some rows against some candidates."""

        def cut(tensor: Tensor | None, part: slice) -> Tensor | None:
            return None if tensor is None else tensor[part]

        return replace(
            self,
            rows=self.rows[rows],
            columns=self.columns[columns],
            target=cut(self.target, rows),
            bias=cut(self.bias, columns),
            row_groups=cut(self.row_groups, rows),
            column_groups=cut(self.column_groups, columns),
            first_column=self.first_column + columns.start,
        )

    def pointers(self) -> tuple[Tensor | None, ...]:
        """What both kernels take first."""
        return self.rows, self.columns, self.target, self.bias, self.row_groups, self.column_groups


def log_sum_exp(scores: Scores, *, both: bool) -> tuple[Tensor, Tensor | None]:
    """Log-sum-exp of each row's and, if `both`, each candidate's other scores.

    Returns:
        (N,) and (M,) or None, float32; -inf where there is no other score.
    """
    row_count, column_count = len(scores.rows), len(scores.columns)
    by_row = scores.rows.new_full((row_count,), -torch.inf, dtype=torch.float32)
    by_column = scores.rows.new_full((column_count,), -torch.inf, dtype=torch.float32) if both else None
    if not row_count or not column_count:
        return by_row, by_column
    block = _block_rows(scores)
    step = block * max(2, min(64, SIZES.column_parts // column_count)) if both else row_count
    for rows in slices(row_count, step):
        part = scores.block(rows, slice(0, column_count))
        row_blocks = triton.cdiv(len(part.rows), block)
        strip = SIZES.strip * triton.cdiv(column_count, SIZES.strip * max(1, SIZES.programs // row_blocks))
        strip = min(strip, max(1, 2**30 // (scores.rows.shape[1] * SIZES.strip)) * SIZES.strip)  # 32-bit offsets
        strips = triton.cdiv(column_count, strip)
        row_parts = by_row.new_empty((strips, len(part.rows)))
        column_parts = by_row.new_empty((row_blocks, column_count)) if both else None
        kernel, options = _tiles(log_sum_exp_kernel, part)
        kernel[(row_blocks, strips)](
            *part.pointers(), row_parts, column_parts, len(part.rows), column_count, part.first_column, strip, **options
        )
        by_row[rows] = torch.logsumexp(row_parts.mul_(_LN_2), dim=0)
        if by_column is not None and column_parts is not None:
            by_column = torch.logaddexp(by_column, torch.logsumexp(column_parts.mul_(_LN_2), dim=0))
    return by_row, by_column


def add_gradients(
    scores: Scores,
    *,
    row_lse: Tensor,
    row_weight: Tensor,
    column_lse: Tensor | None = None,
    column_weight: Tensor | None = None,
    positive: Tensor | None = None,
    to_rows: Tensor | None = None,
    to_columns: Tensor | None = None,
    to_bias: Tensor | None = None,
) -> None:
    """Add G @ candidates, G^T @ rows and the column sums of G to what is given; see the top of the file.

    G is rounded to the type of the rows: divide the weights by `gradient_scale`, multiply the results by it.

    Args:
        scores: What `row_lse` and `column_lse` come from.
        row_lse: (N,) float32.
        row_weight: (N,) float32.
        column_lse: (M,) float32, for the second direction.
        column_weight: (M,) float32, for the second direction.
        positive: (N,) float32; without it G is 0 at the positives.
        to_rows: (N, D) float32.
        to_columns: (M, D) float32.
        to_bias: (M,) float32.
    """
    wanted = [result for result in (to_rows, to_columns, to_bias) if result is not None]
    if not wanted or not len(scores.rows) or not len(scores.columns):
        return
    rows_at_once = min(len(scores.rows), SIZES.chunk_rows)
    columns_at_once = min(SIZES.chunk_columns, max(SIZES.chunk // rows_at_once, SIZES.strip))
    row_lse, column_lse = _divisor(row_lse), None if column_lse is None else _divisor(column_lse)
    for rows in slices(len(scores.rows), rows_at_once):
        for columns in slices(len(scores.columns), columns_at_once):
            part = scores.block(rows, columns)
            gradient, sums = _gradient(
                part,
                row_lse[rows],
                row_weight[rows],
                None if column_lse is None else column_lse[columns],
                None if column_weight is None else column_weight[columns],
                None if positive is None else positive[rows],
                to_bias is not None,
            )
            if to_rows is not None:
                _add_product(to_rows[rows], gradient, part.columns)
            if to_columns is not None:
                _add_product(to_columns[columns], gradient.T, part.rows)
            if to_bias is not None and sums is not None:
                to_bias[columns] += sums


def slices(length: int, step: int) -> Iterator[slice]:
    """Consecutive pieces of `range(length)`."""
    for start in range(0, length, step):
        yield slice(start, min(start + step, length))


def _gradient(
    scores: Scores,
    row_lse: Tensor,
    row_weight: Tensor,
    column_lse: Tensor | None,
    column_weight: Tensor | None,
    positive: Tensor | None,
    with_sums: bool,
) -> tuple[Tensor, Tensor | None]:
    """One chunk of G (N, M), a view, and its column sums (M,)."""
    row_count, column_count = len(scores.rows), len(scores.columns)
    row_blocks = triton.cdiv(row_count, _block_rows(scores))
    stride = 64 * triton.cdiv(column_count, 64)  # the matrix products want aligned rows, whatever M is
    # The interpreter truncates to bfloat16 where the hardware rounds: there `_add_product` rounds.
    gradient = scores.rows.new_empty((row_count, stride), dtype=torch.float32 if INTERPRETED else None)
    sums = row_weight.new_empty((row_blocks, column_count)) if with_sums else None
    kernel, options = _tiles(gradient_kernel, scores)

    def grid(chosen: dict[str, Any]) -> tuple[int, int]:
        return row_blocks, triton.cdiv(column_count, chosen["BLOCK_COLUMNS"])

    kernel[grid](
        *scores.pointers(), row_lse, row_weight, column_lse, column_weight, positive, gradient, sums,
        row_count, column_count, scores.first_column, stride, **options,
    )  # fmt: skip
    return gradient[:, :column_count], None if sums is None else sums.sum(dim=0)


def _divisor(lse: Tensor) -> Tensor:
    """In units of log 2; that of no candidate becomes finite, so that its terms are exp(-inf), not exp(-inf - -inf)."""
    return lse.where(lse != -torch.inf, 0) / _LN_2


def _block_rows(scores: Scores) -> int:
    """Rows of a tile: one number for each type, because the shapes of the parts follow from it."""
    return 16 if INTERPRETED else 64 if scores.rows.dtype == torch.float32 else 128


def _tiles(kernel: Any, scores: Scores) -> tuple[Any, dict[str, Any]]:
    """The kernel to launch, with or without a choice among tiles, and its compile-time arguments."""
    options: dict[str, Any] = {
        "D": scores.rows.shape[1],
        "WIDEN": INTERPRETED,
        "BLOCK_ROWS": _block_rows(scores),
    }
    if INTERPRETED:
        return kernel, {**options, "BLOCK_COLUMNS": 16, "BLOCK_DEPTH": 16}
    if scores.rows.dtype == torch.float32:  # no tensor cores, which have no products of that precision
        return kernel, {**options, "BLOCK_COLUMNS": 64, "BLOCK_DEPTH": 32, "num_warps": 4, "num_stages": 3}
    if len(scores.rows) * len(scores.columns) < 2**22:  # too small to choose for the large calls that follow
        return kernel, {**options, **_TILES[0].kwargs, "num_warps": 8, "num_stages": 3}
    return _MEASURED[kernel], options


def _add_product(total: Tensor, left: Tensor, right: Tensor) -> None:
    """Add to `total` (N, D) float32: left (N, M) @ right (M, D): products in their type, sums in float32."""
    if right.dtype == torch.float32:
        total.addmm_(left, right)
    elif total.is_cuda:
        torch.addmm(total, left, right, out_dtype=torch.float32, out=total)
    else:  # the interpreter's tensors: torch has no such product on a CPU
        total.addmm_(left.to(right.dtype).float(), right.float())
