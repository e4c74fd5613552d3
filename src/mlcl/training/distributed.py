"""What losses that know no ranks need, so that W processes give the gradient of one process with the whole batch.

In: this rank's vectors, group ids and counts. Out: the other ranks' vectors as further negatives, and this rank's
*share* of InfoNCE.

DDP and FSDP average gradients over the ranks. So a share is scaled such that the mean of the shares is the term of the
whole batch: with n of N pairs here and W ranks, `share = W * n / N * (mean over the n pairs of this rank)`. That is
exact for unequal and for zero counts. The gathered rows carry gradients back to the ranks that they came from: without
that, each rank would see 1/W of the gradient of its keys; Adam hides such a factor in a lone loss, but in
J = w * InfoNCE + lambda * LM it silently rescales lambda.

Only data parallelism over the default process group is meant. Without a process group there is one rank.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from mlcl.objectives import info_nce


def world_size() -> int:
    """Number of ranks."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """Number of this rank."""
    return dist.get_rank() if world_size() > 1 else 0


def gather_integers(values: Sequence[int], device: torch.device | str) -> list[list[int]]:
    """K integers of each rank -> K lists of W integers, in rank order."""
    if world_size() == 1:
        return [[value] for value in values]
    mine = torch.tensor(values, dtype=torch.long, device=device)
    parts = [torch.empty_like(mine) for _ in range(world_size())]
    dist.all_gather(parts, mine)
    return torch.stack(parts, dim=1).tolist()


def mean_over_ranks(values: Tensor) -> Tensor:
    """Mean of a tensor (...) over the ranks, in place."""
    if world_size() > 1:
        dist.all_reduce(values)
        values /= world_size()
    return values


def of_first_rank(value: float, device: torch.device | str) -> float:
    """A number as rank 0 has it: for decisions that all ranks must take alike, such as those by the clock."""
    if world_size() == 1:
        return value
    shared = torch.tensor([value], dtype=torch.float64, device=device)
    dist.broadcast(shared, src=0)
    return float(shared)


def gather_rows(rows: Tensor, counts: Sequence[int]) -> Tensor:
    """The rows (n, ...) of all ranks in rank order: (N, ...); the gradient of each row goes back to its rank.

    Args:
        rows: This rank's rows; there may be none.
        counts: Rows of each rank (W,).
    """
    return rows if world_size() == 1 else _GatherRows.apply(rows, tuple(counts))


class _GatherRows(torch.autograd.Function):
    """all_gather of unequal parts; backward: the sum over the ranks of the gradients of this rank's part."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, counts: tuple[int, ...]) -> Tensor:
        ctx.counts = counts
        most = max(counts)  # collectives take equal sizes, so all parts are filled up to the largest
        filled = rows.new_zeros((most, *rows.shape[1:]))
        filled[: len(rows)] = rows
        parts = [torch.empty_like(filled) for _ in counts]
        dist.all_gather(parts, filled)
        return torch.cat([part[:count] for part, count in zip(parts, counts, strict=True)])

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        total = gradients[0].contiguous().clone()
        dist.all_reduce(total)
        return total.split(ctx.counts)[rank()], None


@dataclass(frozen=True)
class Counts:
    """What each rank has in this step.

    Attributes:
        pairs: (W,) pairs.
        hard_negatives: (W,) hard negatives.
        masked: (W,) masked tokens of the LM term.
    """

    pairs: Sequence[int]
    hard_negatives: Sequence[int]
    masked: Sequence[int]

    @classmethod
    def of(cls, pairs: int, hard_negatives: int, masked: int, device: torch.device | str) -> Counts:
        """Exchange the counts of this rank for those of all; every rank must call it."""
        return cls(*gather_integers([pairs, hard_negatives, masked], device))


def info_nce_share(
    queries: Tensor,
    keys: Tensor,
    hard_negatives: Tensor,
    *,
    ids: Tensor,
    hard_negative_ids: Tensor,
    counts: Counts,
    queue: Tensor | None = None,
    queue_ids: Tensor | None = None,
    temperature: float | Tensor = 0.05,
    symmetric: bool = True,
    margin: float = 0.0,
    angular_margin: float = 0.0,
) -> Tensor:
    """This rank's share of `info_nce` over the pairs of all ranks; the mean over the ranks is that of the whole batch.

    Each rank finds its own keys among the keys and hard negatives of all ranks and the queue, and its own queries
    among the queries of all ranks. It computes n of the N rows, so no work is done twice.

    Args:
        queries: (n, D) unit vectors of this rank; n may be 0, the rank then still takes part in the exchange.
        keys: (n, D) their positives.
        hard_negatives: (m, D) of this rank.
        ids: (n,) group ids, -1 = none, which mean the same on all ranks.
        hard_negative_ids: (m,) group ids.
        counts: What each rank has.
        queue: (M, D) further negatives, the same on all ranks.
        queue_ids: (M,) their group ids.
        temperature: As in `info_nce`.
        symmetric: As in `info_nce`.
        margin: As in `info_nce`.
        angular_margin: As in `info_nce`.

    Returns:
        Scalar; a zero with gradients where the rank has no pair.
    """
    options: dict[str, Any] = {
        "temperature": temperature,
        "margin": margin,
        "angular_margin": angular_margin,
        "ids": ids,
    }
    queue = queries.new_empty((0, queries.shape[1])) if queue is None else queue
    queue_ids = ids.new_empty(0) if queue_ids is None else queue_ids
    if world_size() == 1:
        if not len(queries):
            return zero(queries, keys, hard_negatives, temperature)
        return info_nce(
            queries,
            keys,
            negatives=torch.cat([hard_negatives, queue]),
            negative_ids=torch.cat([hard_negative_ids, queue_ids]),
            symmetric=symmetric,
            **options,
        )

    sides = gather_rows(torch.cat([queries, keys], dim=1), counts.pairs)  # (N, 2D): one exchange for both sides
    all_ids = gather_rows(ids, counts.pairs)
    if sum(counts.hard_negatives):
        hard_negatives = gather_rows(hard_negatives, counts.hard_negatives)
        hard_negative_ids = gather_rows(hard_negative_ids, counts.hard_negatives)
    if not len(queries):
        return zero(sides, hard_negatives, temperature)
    other_queries, other_keys = without_own(sides, counts.pairs).chunk(2, dim=1)  # (N - n, D) each
    other_ids = without_own(all_ids, counts.pairs)
    share = info_nce(
        queries,
        keys,
        negatives=torch.cat([other_keys, hard_negatives, queue]),
        negative_ids=torch.cat([other_ids, hard_negative_ids, queue_ids]),
        symmetric=False,
        **options,
    )
    if symmetric:
        back = info_nce(
            keys, queries, negatives=other_queries.contiguous(), negative_ids=other_ids, symmetric=False, **options
        )
        share = (share + back) / 2
    return share * (world_size() * len(queries) / sum(counts.pairs))


def without_own(rows: Tensor, counts: Sequence[int]) -> Tensor:
    """Gathered rows (N, ...) without those of this rank: (N - n, ...)."""
    start = sum(counts[: rank()])
    return torch.cat([rows[:start], rows[start + counts[rank()] :]])


def zero(*sources: Tensor | float) -> Tensor:
    """A zero that hangs on all of these, so that their backward runs; empty sums, since 0 * inf would be nan."""
    return torch.stack([source.flatten()[:0].sum() for source in sources if isinstance(source, Tensor)]).sum()
