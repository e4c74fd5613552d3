"""Between the two passes: which versions stay, and which records are one sentence.

In: the numbers of the spool (record, language, key hash of every version). Out: a `Selection`. Up to `IN_MEMORY`
versions `dedup` does it on whole arrays; above that `dedup_partitioned` does the same on disk, a part at a time, with
a byte for each version and four or eight for each record in memory. The filters of `whole` and near-duplicates need
whole arrays in any case: some hundred bytes for each version.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from mlcl.core.errors import UserError
from mlcl.corpus import dedup, dedup_partitioned, near, whole
from mlcl.corpus.decontaminate import NearIndex
from mlcl.corpus.spool import Block, Spool
from mlcl.corpus.tally import Tally

if TYPE_CHECKING:
    from mlcl.corpus.build import BuildSettings

IN_MEMORY = 4_000_000
"""Versions up to which the arrays are in memory as a whole: about half a gigabyte at the peak."""


@dataclass(frozen=True)
class Selection:
    """What stays of N versions.

    Attributes:
        batches: Their texts, with the `record` that each is of.
        keep: The versions that stay (N,).
        exact: Those that would stay if only equal texts were duplicates (N,).
        record_groups: Group of each record of which a version stays, in order.
        groups: Number of groups.
        largest: The group with the most versions, and their number: `group`, `texts`.
        length_ratios: What was learned of the lengths of translations.
    """

    batches: Callable[[], Iterator[pa.Table]]
    keep: NDArray[np.bool_]
    exact: NDArray[np.bool_]
    record_groups: NDArray[np.signedinteger[Any]]
    groups: int
    largest: dict[str, int]
    length_ratios: list[dict[str, Any]]

    @property
    def kept(self) -> int:
        """Number of versions that stay."""
        return int(np.count_nonzero(self.keep))


def select(spool: Spool, settings: BuildSettings, index: NearIndex | None, tally: Tally, folder: Path) -> Selection:
    """Filter the whole, deduplicate and group.

    Args:
        spool: The texts and their numbers.
        settings: What counts as a duplicate, and the filters of `whole`.
        index: Evaluation texts that no text may be near.
        tally: Counts what the filters drop.
        folder: For temporary files.

    Raises:
        UserError: nothing is left.
    """
    blocks: Callable[[], Iterator[Block]] = spool.blocks
    batches, versions = spool.batches, spool.versions
    ratios: list[dict[str, Any]] = []
    if whole.is_awake(settings.clean, index):
        all_ = whole.Versions(*_whole(blocks), batches)
        filtered, ratios = whole.filter_whole(all_, settings.clean, index, tally)
        batches, versions = filtered.batches, len(filtered.records)
        blocks = _one_block(filtered.records, filtered.languages, filtered.keys)
    keep = exact = _keep(blocks, versions, folder)
    if settings.near_duplicates is not None:
        records, languages, keys = _whole(blocks)
        keys = near.near_keys(batches(), languages, keys, settings.near_duplicates, folder)
        blocks = _one_block(records, languages, keys)
        keep = _keep(blocks, versions, folder)
    if not keep.any():
        raise UserError("no text is left after cleaning", remedy="see the sources, and relax the settings clean")
    record_groups, sizes = _group(blocks, keep, folder)
    largest = int(sizes.argmax())
    facts = {"group": largest, "texts": int(sizes[largest])}
    return Selection(batches, keep, exact, record_groups, len(sizes), facts, ratios)


def _keep(blocks: Callable[[], Iterator[Block]], versions: int, folder: Path) -> NDArray[np.bool_]:
    if versions <= IN_MEMORY:
        return dedup.keep_first(*_whole(blocks))
    return dedup_partitioned.keep_first(blocks, versions, folder)


def _group(
    blocks: Callable[[], Iterator[Block]], keep: NDArray[np.bool_], folder: Path
) -> tuple[NDArray[np.signedinteger[Any]], NDArray[np.signedinteger[Any]]]:
    """The group of each record that has one, and the versions of each group."""
    if len(keep) > IN_MEMORY:
        return dedup_partitioned.group_records(blocks, keep, folder)
    records, _, keys = (column[keep] for column in _whole(blocks))
    groups = dedup.group_ids(records, keys)
    return groups[dedup.record_starts(records)], np.bincount(groups)


def _one_block(*columns: NDArray[np.int64]) -> Callable[[], Iterator[Block]]:
    records, languages, keys = columns
    return lambda: iter([(records, languages, keys)])


def _whole(blocks: Callable[[], Iterator[Block]]) -> Block:
    columns = list(zip(*blocks(), strict=True))
    if not columns:
        empty = np.zeros(0, dtype=np.int64)
        return empty, empty, empty
    records, languages, keys = (np.concatenate(column) for column in columns)
    return records, languages, keys
