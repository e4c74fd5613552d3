"""The Triton kernels of `triton_scores`, which has the maths: tiles of logits, their log-sum-exps, their gradients.

In: pointers to contiguous matrices, and counts. Out: what each kernel says. A program owns one block of rows. Logits
count in units of log 2, because exp2 and log2 are what the hardware has. A pointer may be None: then what needs it is
compiled away.

At D = 384 a tile's products take as long as two exponentials of its entries and a handful of comparisons. So the usual
tile has one exponential for both directions and no comparison but that of the groups; what a tile at the edge, with a
positive, or with logits that span more than float32's exponents needs besides is behind a branch that all threads take
together.
"""

from __future__ import annotations

import math

import triton
import triton.language as tl

LOG2_E = tl.constexpr(math.log2(math.e))
SMALL = tl.constexpr(2.0**-90)  # sums below may lack terms: float32 ends at 2**-126
RANGE = tl.constexpr(60.0)  # 2**60 times a term that float32 lost is still below 2**-66


@triton.jit
def tile_logits(
    rows_ptr: tl.tensor,  # (N, D)
    columns_ptr: tl.tensor,  # (M, D), moved to the candidate `origin`
    target_ptr: tl.tensor,  # (N,) or None
    bias_ptr: tl.tensor,  # (M,) or None
    row_group_ptr: tl.tensor,  # (N,) int32 or None
    column_group_ptr: tl.tensor,  # (M,) int32 or None
    first_row: tl.tensor,  # of the tile
    first_column: tl.tensor,
    origin: tl.tensor,
    row_count: tl.tensor,
    column_count: tl.tensor,
    target_start: tl.tensor,  # what target_ptr calls candidate 0
    D: tl.constexpr,
    WIDEN: tl.constexpr,
    BLOCK_ROWS: tl.constexpr,
    BLOCK_COLUMNS: tl.constexpr,
    BLOCK_DEPTH: tl.constexpr,
) -> tl.tensor:
    """(BLOCK_ROWS, BLOCK_COLUMNS) logits in units of log 2; -inf where j is not in O_i, and past the end."""
    row = first_row + tl.arange(0, BLOCK_ROWS)
    column = first_column + tl.arange(0, BLOCK_COLUMNS)
    # Past the end the last row is read again instead of a mask: -inf takes its place below.
    near_row, near_column = tl.minimum(row, row_count - 1), tl.minimum(column, column_count - 1)
    row_start, column_start = near_row[:, None] * D, (near_column - origin)[None, :] * D
    logits = tl.zeros((BLOCK_ROWS, BLOCK_COLUMNS), dtype=tl.float32)
    for start in range(0, D, BLOCK_DEPTH):
        depth = start + tl.arange(0, BLOCK_DEPTH)
        if D % BLOCK_DEPTH == 0:
            left = tl.load(rows_ptr + row_start + depth[None, :])
            right = tl.load(columns_ptr + column_start + depth[:, None])
        else:
            left = tl.load(rows_ptr + row_start + depth[None, :], mask=depth[None, :] < D, other=0.0)
            right = tl.load(columns_ptr + column_start + depth[:, None], mask=depth[:, None] < D, other=0.0)
        if WIDEN:  # Triton's interpreter has no bfloat16 products
            left, right = left.to(tl.float32), right.to(tl.float32)
        logits = tl.dot(left, right, logits, input_precision="ieee")
    if bias_ptr is not None:
        logits += tl.load(bias_ptr + near_column)[None, :]
    logits *= LOG2_E
    if row_group_ptr is not None:
        row_group, column_group = tl.load(row_group_ptr + near_row), tl.load(column_group_ptr + near_column)
        logits = tl.where(row_group[:, None] != column_group[None, :], logits, float("-inf"))
    special = (first_row + BLOCK_ROWS > row_count) | (first_column + BLOCK_COLUMNS > column_count)
    if target_ptr is None:
        if special:
            inside = (row < row_count)[:, None] & (column < column_count)[None, :]
            logits = tl.where(inside, logits, float("-inf"))
    else:
        target = (tl.load(target_ptr + near_row) - target_start).to(tl.int32)
        here = (target >= first_column) & (target < first_column + BLOCK_COLUMNS)
        if special | (tl.max(here.to(tl.int32), axis=0) > 0):
            inside = (row < row_count)[:, None] & (column < column_count)[None, :]
            logits = tl.where(inside & (column[None, :] != target[:, None]), logits, float("-inf"))
    return logits


@triton.jit
def log_sum_exp_kernel(
    rows_ptr: tl.tensor,
    columns_ptr: tl.tensor,
    target_ptr: tl.tensor,
    bias_ptr: tl.tensor,
    row_group_ptr: tl.tensor,
    column_group_ptr: tl.tensor,
    row_part_ptr: tl.tensor,  # (strips, N) float32, out
    column_part_ptr: tl.tensor,  # (row blocks, M) float32, out, or None
    row_count: tl.tensor,
    column_count: tl.tensor,
    target_start: tl.tensor,
    strip: tl.tensor,  # candidates that one program walks
    D: tl.constexpr,
    WIDEN: tl.constexpr,
    BLOCK_ROWS: tl.constexpr,
    BLOCK_COLUMNS: tl.constexpr,
    BLOCK_DEPTH: tl.constexpr,
) -> None:
    """One block of rows against one strip of candidates: log2(sum(exp2)) of each row and, tile by tile, each column."""
    block = tl.program_id(0)
    first_row = block * BLOCK_ROWS
    row = first_row + tl.arange(0, BLOCK_ROWS)
    begin = tl.program_id(1) * strip
    end = tl.minimum(begin + strip, column_count)
    strip_ptr = columns_ptr + begin.to(tl.int64) * D
    peak = tl.full((BLOCK_ROWS,), float("-inf"), dtype=tl.float32)
    total = tl.zeros((BLOCK_ROWS,), dtype=tl.float32)
    for first_column in range(begin, end, BLOCK_COLUMNS):
        logits = tile_logits(
            rows_ptr, strip_ptr, target_ptr, bias_ptr, row_group_ptr, column_group_ptr, first_row, first_column, begin,
            row_count, column_count, target_start, D, WIDEN, BLOCK_ROWS, BLOCK_COLUMNS, BLOCK_DEPTH,
        )  # fmt: skip
        new_peak = tl.maximum(peak, tl.max(logits, axis=1))
        # Without any candidate so far, -inf - -inf would be NaN.
        shift = tl.where(new_peak == float("-inf"), 0.0, new_peak)
        exponentials = tl.exp2(logits - shift[:, None])
        total = total * tl.exp2(peak - shift) + tl.sum(exponentials, axis=1)
        peak = new_peak
        if column_part_ptr is not None:
            column = first_column + tl.arange(0, BLOCK_COLUMNS)
            # exp2(l_ij - top) = exp2(l_ij - shift_i) exp2(shift_i - top)
            top = tl.max(shift, axis=0)
            column_total = tl.sum(exponentials * tl.exp2(shift - top)[:, None], axis=0)
            column_lse = top + tl.log2(column_total)
            if tl.min(tl.where(column < column_count, column_total, 1.0), axis=0) < SMALL:
                column_peak = tl.max(logits, axis=0)
                column_shift = tl.where(column_peak == float("-inf"), 0.0, column_peak)
                column_total = tl.sum(tl.exp2(logits - column_shift[None, :]), axis=0)
                column_lse = column_shift + tl.log2(column_total)
            column_part = column_part_ptr + block.to(tl.int64) * column_count + column
            tl.store(column_part, column_lse, mask=column < column_count)
    last_shift = tl.where(peak == float("-inf"), 0.0, peak)
    row_part = row_part_ptr + tl.program_id(1).to(tl.int64) * row_count + row
    tl.store(row_part, last_shift + tl.log2(total), mask=row < row_count)


@triton.jit
def gradient_kernel(
    rows_ptr: tl.tensor,
    columns_ptr: tl.tensor,
    target_ptr: tl.tensor,
    bias_ptr: tl.tensor,
    row_group_ptr: tl.tensor,
    column_group_ptr: tl.tensor,
    row_lse_ptr: tl.tensor,  # (N,) float32, finite, in units of log 2
    row_weight_ptr: tl.tensor,  # (N,) float32
    column_lse_ptr: tl.tensor,  # (M,) the same for the candidates, or None
    column_weight_ptr: tl.tensor,  # (M,) or None
    positive_ptr: tl.tensor,  # (N,) float32: G at the positive; or None: 0
    gradient_ptr: tl.tensor,  # (N, M) G, out
    sum_ptr: tl.tensor,  # (row blocks, M) float32: G summed over the rows of a block, out, or None
    row_count: tl.tensor,
    column_count: tl.tensor,
    target_start: tl.tensor,
    stride: tl.tensor,  # of G
    D: tl.constexpr,
    WIDEN: tl.constexpr,
    BLOCK_ROWS: tl.constexpr,
    BLOCK_COLUMNS: tl.constexpr,
    BLOCK_DEPTH: tl.constexpr,
) -> None:
    """One tile of G."""
    block = tl.program_id(0)
    first_row, first_column = block * BLOCK_ROWS, tl.program_id(1) * BLOCK_COLUMNS
    logits = tile_logits(
        rows_ptr, columns_ptr + first_column.to(tl.int64) * D, target_ptr, bias_ptr, row_group_ptr, column_group_ptr,
        first_row, first_column, first_column, row_count, column_count, target_start, D, WIDEN, BLOCK_ROWS,
        BLOCK_COLUMNS, BLOCK_DEPTH,
    )  # fmt: skip
    row, column = first_row + tl.arange(0, BLOCK_ROWS), first_column + tl.arange(0, BLOCK_COLUMNS)
    near_row, near_column = tl.minimum(row, row_count - 1), tl.minimum(column, column_count - 1)
    row_lse, row_weight = tl.load(row_lse_ptr + near_row), tl.load(row_weight_ptr + near_row)
    exponentials = tl.exp2(logits - row_lse[:, None])
    if column_lse_ptr is None:
        gradient = row_weight[:, None] * exponentials
    else:
        column_lse, column_weight = tl.load(column_lse_ptr + near_column), tl.load(column_weight_ptr + near_column)
        top = tl.max(row_lse, axis=0)
        if top - tl.min(column_lse, axis=0) < RANGE:
            # exp2(l_ij - column_lse_j) = exp2(l_ij - row_lse_i) exp2(row_lse_i - top) exp2(top - column_lse_j)
            by_row, by_column = tl.exp2(row_lse - top)[:, None], (column_weight * tl.exp2(top - column_lse))[None, :]
            gradient = exponentials * (row_weight[:, None] + by_row * by_column)
        else:
            to_columns = column_weight[None, :] * tl.exp2(logits - column_lse[None, :])
            gradient = row_weight[:, None] * exponentials + to_columns
    if positive_ptr is not None:
        target = (tl.load(target_ptr + near_row) - target_start).to(tl.int32)
        positive = tl.where(row < row_count, tl.load(positive_ptr + near_row), 0.0)
        gradient = tl.where(column[None, :] == target[:, None], positive[:, None], gradient)
    if sum_ptr is not None:
        sum_part = sum_ptr + block.to(tl.int64) * column_count + column
        tl.store(sum_part, tl.sum(gradient, axis=0), mask=column < column_count)
    inside = (row < row_count)[:, None] & (column < column_count)[None, :]
    place = gradient_ptr + row.to(tl.int64)[:, None] * stride + column[None, :]
    tl.store(place, gradient.to(gradient_ptr.dtype.element_ty), mask=inside)
