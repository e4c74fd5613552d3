"""Log-sum-exp over the other candidates of each query and each key, tile by tile: the (N, N + M) matrix never exists.

In: scaled queries (N, D), keys (N, D), negatives (M, D), group ids. Out: two vectors (N,), from which `info_nce` makes
its loss. Plain torch, for any device; memory is O((N + M) D).

The maths. With l_ij = q_i . k_j and O_i the candidates of query i that are neither its positive nor of its group,

    rows_i = log sum_{j in O_i} exp l_ij          columns_j = log sum_{i: j in O_i} exp l_ij   (over the batch's keys)

and, for the gradients r, c of a loss with respect to rows and columns,

    G_ij = r_i exp(l_ij - rows_i) + c_j exp(l_ij - columns_j)        dq = G k        dk = G^T q

Why the positive stays out: a loss needs 1 - p_ii of it, and near convergence a difference from 1 is all rounding.
`softplus(rows_i - l_ii)` and its derivative have no such difference.

The tiling. A tile holds exp(l_ij - shift_i). The shift is the largest logit among a sample of the candidates: there the
sum is decided, and there a bfloat16 product, whose rounding is relative, is most precise. It enters the product as one
more column of q and k; subtracting it afterwards would come after the rounding, and cost a pass. One exponential serves
both directions: exp(l_ij) = exp(l_ij - shift_i) exp(shift_i). Forward and backward make the same tiles, bit for bit.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from mlcl.objectives.kernels.precision import gradient_scale, sum_dtype

_ROWS, _COLUMNS = 1024, 1024  # of a tile: larger ones leave the cache, smaller ones are all overhead
_ALIGNMENT = 32  # columns of a product are filled up to a multiple of this: what matrix units take in one go
_SAMPLE = 256  # candidates among which a first guess of each query's largest logit is made
_RANGE = 40.0  # nats: two such differences may add up in one exponential, and float32's exponents end at 87


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
        queries: (N, D), N > 0, divided by the temperature.
        keys: (N, D); key i is the positive of query i.
        negatives: (M, D) further candidates of the queries.
        dtype: Type of the products.
        ids: (N,) group ids, -1 = none.
        negative_ids: (M,) group ids, -1 = none.
        symmetric: Whether the keys are wanted.

    Returns:
        rows (N,) and columns (N,) or None; -inf where there is no other candidate.
    """
    groups = (ids, negative_ids)
    with torch.autocast(queries.device.type, enabled=False):  # it would round the sums as well
        shift = _guess_largest(queries, keys, negatives, dtype)
        rows, columns = _LogSumExp.apply(queries, keys, negatives, shift, dtype, *groups, symmetric)
        if not _in_range(rows, columns if symmetric else None, shift):
            # The logits span more than float32's exponents: each direction by itself, shifted by its largest logits.
            shift = _largest(_Tiles(queries, keys, negatives, torch.zeros_like(shift), dtype, *groups))
            rows, _ = _LogSumExp.apply(queries, keys, negatives, shift, dtype, *groups, False)
            if symmetric:
                shift = _largest(_Tiles(keys, queries, None, torch.zeros_like(shift), dtype, ids, None))
                columns, _ = _LogSumExp.apply(keys, queries, None, shift, dtype, ids, None, False)
    return rows, columns if symmetric else None


class _LogSumExp(torch.autograd.Function):
    """See `other_candidates`; `shift` (N,) must be within float32's exponents of what is summed."""

    @staticmethod
    def forward(
        ctx: Any,
        queries: Tensor,
        keys: Tensor,
        negatives: Tensor | None,
        shift: Tensor,
        dtype: torch.dtype,
        ids: Tensor | None,
        negative_ids: Tensor | None,
        symmetric: bool,
    ) -> tuple[Tensor, Tensor]:
        tiles = _Tiles(queries, keys, negatives, shift, dtype, ids, negative_ids)
        row_sums, column_sums = tiles.zeros(tiles.size), tiles.zeros(tiles.size)
        scale = (tiles.shift - tiles.top).exp()  # (N,) exp(l_ij - top) = exp(l_ij - shift_i) * scale_i
        for tile in tiles.exponentials():
            row_sums[tile.rows] += tile.values.sum(1)
            if symmetric and not tile.extra:
                column_sums[tile.columns] += torch.mv(tile.values.T, scale[tile.rows])
        rows, columns = row_sums.log() + tiles.shift, column_sums.log() + tiles.top
        ctx.save_for_backward(queries, keys, negatives, shift, ids, negative_ids, rows, columns)
        ctx.dtype, ctx.symmetric = dtype, symmetric
        return rows, columns

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        queries, keys, negatives, shift, ids, negative_ids, rows, columns = ctx.saved_tensors
        tiles = _Tiles(queries, keys, negatives, shift, ctx.dtype, ids, negative_ids)
        unit = gradient_scale(ctx.dtype, *gradients)  # near convergence 1 - p leaves what a bfloat16 product keeps
        of_rows, of_columns = (gradient / unit for gradient in gradients)
        with_negatives = negatives is not None and ctx.needs_input_grad[2]
        # G_ij = scale_i e_ij (row_weight_i + column_weight_j), with e_ij the tile. Factors of a row go to the narrow
        # matrices of the products. Where there is no other candidate, the -inf must not become a weight.
        scale = (tiles.shift - tiles.top).exp()
        rows, columns = (sums.where(sums > -torch.inf, torch.inf) for sums in (rows, columns))
        row_weight, column_weight = of_rows * (tiles.top - rows).exp(), of_columns * (tiles.top - columns).exp()
        row_factor = (of_rows * (tiles.shift - rows).exp())[:, None]  # scale_i row_weight_i, with less to overflow
        width, size = queries.shape[1], tiles.size
        d_queries, d_keys = tiles.zeros(size, width), tiles.zeros(len(tiles.candidates), width)
        for tile in tiles.exponentials():
            k = tiles.candidates[tile.columns]
            if ctx.symmetric and not tile.extra:
                weight = torch.add(row_weight[tile.rows, None], column_weight[tile.columns], out=tile.scratch)
                tile.values.mul_(weight)
                factor = scale[tile.rows, None]
            else:
                factor = row_factor[tile.rows]
            gradient = tile.rounded()  # (rows, columns)
            d_queries[tile.rows] += (gradient @ k)[:, :width] * factor
            if with_negatives or not tile.extra:
                scaled_queries = (tiles.queries[tile.rows] * factor).to(ctx.dtype)  # float32 before it is rounded
                d_keys[tile.columns] += (gradient.T @ scaled_queries)[:, :width]
        d_queries *= unit
        d_keys *= unit
        return (
            d_queries.to(queries.dtype),
            d_keys[:size].to(keys.dtype),
            d_keys[size:].to(negatives.dtype) if with_negatives else None,
            None, None, None, None, None,
        )  # fmt: skip


@dataclass
class _Tile:
    """One tile; `extra` = its columns are negatives. All three matrices are views of buffers that the next tile uses.

    Attributes:
        product: The product in its own type.
        values: The same in the type of the sums: logits less their shift, or exponentials of them.
        scratch: Room for a third matrix of the tile's shape, in the type of the sums.
    """

    rows: slice
    columns: slice
    extra: bool
    product: Tensor
    values: Tensor
    scratch: Tensor

    def rounded(self) -> Tensor:
        """The values in the type of the products."""
        return self.values if self.values.dtype == self.product.dtype else self.product.copy_(self.values)


class _Tiles:
    """All tiles of one problem, in buffers that each tile uses again."""

    def __init__(
        self,
        queries: Tensor,
        keys: Tensor,
        negatives: Tensor | None,
        shift: Tensor,
        dtype: torch.dtype,
        ids: Tensor | None,
        negative_ids: Tensor | None,
    ) -> None:
        self.size = len(queries)
        kind = sum_dtype(dtype)
        rounded = shift.to(dtype)
        self.shift = rounded.to(kind)  # what the product really subtracts
        self.top = self.shift.max()
        candidates = keys if negatives is None else torch.cat([keys.to(dtype), negatives.to(dtype)])
        self.queries = _widened(queries, -rounded, dtype)
        self.candidates = _widened(candidates, torch.ones_like(candidates[:, 0], dtype=dtype), dtype)
        area = min(_ROWS, self.size) * min(_COLUMNS, len(candidates))
        new = lambda kind: torch.empty(area, dtype=kind, device=queries.device)  # noqa: E731
        self.product, self.scratch = new(dtype), new(kind)
        self.work = self.product if kind == dtype else new(kind)
        self.ids = ids
        self._groups: dict[int, tuple[Tensor, Tensor]] = {}
        if ids is not None:
            extra = len(candidates) - self.size
            if negative_ids is None:
                negative_ids = torch.full((extra,), -1, dtype=ids.dtype, device=ids.device)
            column_ids = torch.cat([ids, negative_ids])
            self._groups = {columns.start: column_ids[columns].sort() for columns in self._column_slices()}

    def zeros(self, *shape: int) -> Tensor:
        """Zeros in the type of the sums."""
        return torch.zeros(shape, dtype=self.scratch.dtype, device=self.scratch.device)

    def exponentials(self) -> Iterator[_Tile]:
        """Tiles of exp(l_ij - shift_i), 0 where j is no candidate of i."""
        for tile in self.logits():
            tile.values.exp_()
            yield tile

    def logits(self) -> Iterator[_Tile]:
        """Tiles of l_ij - shift_i, -inf where j is no candidate of i."""
        for start in range(0, self.size, _ROWS):
            rows = slice(start, min(start + _ROWS, self.size))
            for columns in self._column_slices():
                height, width = rows.stop - rows.start, columns.stop - columns.start
                product, work, scratch = (
                    buffer[: height * width].view(height, width) for buffer in (self.product, self.work, self.scratch)
                )
                torch.mm(self.queries[rows], self.candidates[columns].T, out=product)
                values = product if self.work is self.product else work.copy_(product)
                tile = _Tile(rows, columns, columns.start >= self.size, product, values, scratch)
                self._exclude(tile)
                yield tile

    def _column_slices(self) -> Iterator[slice]:
        """Columns of the tiles; none holds both keys and negatives."""
        for first, last in ((0, self.size), (self.size, len(self.candidates))):
            for start in range(first, last, _COLUMNS):
                yield slice(start, min(start + _COLUMNS, last))

    def _exclude(self, tile: _Tile) -> None:
        """Take out the positive and what belongs to its group."""
        rows, columns = tile.rows, tile.columns
        first, last = max(rows.start, columns.start), min(rows.stop, columns.stop)
        if first < last:
            square = tile.values[first - rows.start : last - rows.start, first - columns.start : last - columns.start]
            square.fill_diagonal_(-torch.inf)
        if self.ids is not None:
            at = _same_group(self.ids[rows], *self._groups[columns.start])
            if len(at[0]):
                tile.values[at] = -torch.inf


def _widened(matrix: Tensor, column: Tensor, dtype: torch.dtype) -> Tensor:
    """(N, D) with one more column and zeros up to the alignment, in the type of the products."""
    width = matrix.shape[1]
    wide = torch.zeros(len(matrix), -(-(width + 1) // _ALIGNMENT) * _ALIGNMENT, dtype=dtype, device=matrix.device)
    wide[:, :width], wide[:, width] = matrix, column
    return wide


def _same_group(row_ids: Tensor, sorted_ids: Tensor, order: Tensor) -> tuple[Tensor, Tensor]:
    """Positions (row, column) where both belong to one group; columns are given as their sorted ids and its order.

    Few positions match as a rule: looking them up is cheaper than comparing each row with each column.
    """
    first = torch.searchsorted(sorted_ids, row_ids)
    count = (torch.searchsorted(sorted_ids, row_ids, right=True) - first).where(row_ids >= 0, 0)
    rows = torch.repeat_interleave(count)  # row i as often as it has matches
    nth = torch.arange(len(rows), device=rows.device) - (count.cumsum(0) - count)[rows]
    return rows, order[first[rows] + nth]


@torch.no_grad()
def _guess_largest(queries: Tensor, keys: Tensor, negatives: Tensor | None, dtype: torch.dtype) -> Tensor:
    """(N,) largest logit of each query among a sample of its other candidates."""
    at = torch.arange(0, len(keys), 1 + len(keys) // _SAMPLE, device=keys.device)
    logits = (queries.to(dtype) @ keys[at].to(dtype).T).to(sum_dtype(dtype))  # (N, sample)
    logits[at, torch.arange(len(at), device=at.device)] = -torch.inf
    largest = logits.amax(1)
    return largest.where(largest > -torch.inf, 0)


@torch.no_grad()
def _largest(tiles: _Tiles) -> Tensor:
    """(N,) largest logit of each query's other candidates, for tiles without a shift; 0 where it has none."""
    largest = torch.full_like(tiles.shift, -torch.inf)
    for tile in tiles.logits():
        torch.maximum(largest[tile.rows], tile.values.amax(1), out=largest[tile.rows])
    return largest.where(largest > -torch.inf, 0)


def _in_range(rows: Tensor, columns: Tensor | None, shift: Tensor) -> bool:
    """Whether float32 held all exponentials (False also for NaN, and where a query has no other candidate)."""
    fine = ((rows - shift).abs() < _RANGE).all()
    if columns is not None:
        fine &= ((columns - shift.max()).abs() < _RANGE).all() & (shift.max() - shift.min() < _RANGE)
    return bool(fine)
