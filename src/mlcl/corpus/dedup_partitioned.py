"""`dedup` for more versions than fit in memory: the same answers, with the hashes on disk.

In: blocks of (record, language, key) that can be read again and again. Out: which versions stay, and the group of every
record that is left. Equal things have equal hashes, so rows are dealt out to files by their hash, and each file is
solved alone, in memory. What stays in memory as a whole is one byte a version and four or eight bytes a record.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlcl.corpus.dedup import (
    Bool,
    Int,
    first_occurrences,
    first_version,
    join,
    numbered,
    pair_hashes,
    record_starts,
    text_hashes,
)  # fmt: skip
from mlcl.corpus.spool import Block

Numbers = NDArray[np.signedinteger[Any]]
Blocks = Callable[[], Iterator[Block]]

ROWS = 2_000_000
"""About how many rows a partition has: 50 MB, and several times that while it is sorted."""

_BUFFER = 1 << 25  # bytes that wait in memory before they go to their files
_EDGES = 1 << 22  # edges joined at a time


class Partitions:
    """Rows dealt out to files by a hash, each file in the order its rows came.

    Args:
        folder: For the files; they vanish with it.
        columns: Name and numpy type of each column.
        count: Number of files.

    Attributes:
        count: As given.
    """

    def __init__(self, folder: Path, columns: list[tuple[str, str]], count: int) -> None:
        self._folder = Path(tempfile.mkdtemp(dir=folder))
        self._type, self.count = np.dtype(columns), count
        self._waiting: list[list[NDArray[Any]]] = [[] for _ in range(count)]
        self._bytes = 0

    def add(self, hashes: NDArray[Any], *columns: NDArray[Any]) -> None:
        """Append rows; rows with one hash come into one file."""
        rows = np.empty(len(hashes), dtype=self._type)
        for name, column in zip(self._type.names or (), columns, strict=True):
            rows[name] = column
        owner = (hashes.view(np.uint64) % np.uint64(self.count)).astype(np.int64)
        order = np.argsort(owner, kind="stable")
        ends = np.cumsum(np.bincount(owner, minlength=self.count))
        for waiting, part in zip(self._waiting, np.split(rows[order], ends[:-1]), strict=True):
            if len(part):
                waiting.append(part)
        self._bytes += rows.nbytes
        if self._bytes >= _BUFFER:
            self._flush()

    def __iter__(self) -> Iterator[NDArray[Any]]:
        """The rows of each file."""
        self._flush()
        for number in range(self.count):
            path = self._path(number)
            yield np.fromfile(path, dtype=self._type) if path.exists() else np.empty(0, dtype=self._type)

    def _path(self, number: int) -> Path:
        return self._folder / f"{number:06d}"

    def _flush(self) -> None:
        for number, parts in enumerate(self._waiting):
            if parts:
                with self._path(number).open("ab") as file:
                    np.concatenate(parts).tofile(file)
                parts.clear()
        self._bytes = 0


def keep_first(blocks: Blocks, versions: int, folder: Path, rows: int = ROWS) -> Bool:
    """As `dedup.keep_first` of all blocks; `rows` is the size of a partition."""
    keep = np.zeros(versions, dtype=bool)
    with tempfile.TemporaryDirectory(dir=folder, prefix="partitions-") as name:
        scratch = Path(name)
        count = versions // rows + 1
        pairs = Partitions(scratch, [("hash", "u8"), ("place", "i8")], count)
        start = 0
        for records, languages, keys in blocks():
            texts, first = text_hashes(languages, keys), first_version(records)
            others = np.flatnonzero(first != np.arange(len(first)))
            hashes = pair_hashes(texts[first[others]], texts[others])
            earliest = first_occurrences(hashes)  # so that a text repeated millions of times fills no partition
            pairs.add(hashes[earliest], hashes[earliest], start + others[earliest])
            start += len(records)
        for part in pairs:
            keep[_first_places(part)] = True

        single = Partitions(scratch, [("hash", "u8"), ("place", "i8")], count)
        paired = Partitions(scratch, [("hash", "u8")], count)
        start = 0
        for records, languages, keys in blocks():
            texts, first = text_hashes(languages, keys), first_version(records)
            here = keep[start : start + len(records)]
            here[first[here]] = True
            paired.add(texts[here], texts[here])
            alone = np.flatnonzero(np.bincount(first, minlength=len(first))[first] == 1)
            alone = alone[first_occurrences(texts[alone])]
            single.add(texts[alone], texts[alone], start + alone)
            start += len(records)
        for part, taken in zip(single, paired, strict=True):
            keep[_first_places(part[~np.isin(part["hash"], taken["hash"])])] = True
    return keep


def group_records(blocks: Blocks, keep: Bool, folder: Path, rows: int = ROWS) -> tuple[Numbers, Numbers]:
    """As `dedup.group_ids` of the versions that stay.

    Returns:
        The group of every record that has one, in order, and the number of versions in each group.
    """
    with tempfile.TemporaryDirectory(dir=folder, prefix="partitions-") as name:
        scratch = Path(name)
        count = len(keep) // rows + 1
        firsts = Partitions(scratch, [("key", "i8"), ("node", "i8")], count)
        entries = Partitions(scratch, [("key", "i8"), ("node", "i8"), ("size", "i4")], count)
        nodes = 0
        for node, keys, start in _kept(blocks, keep):
            firsts.add(keys[start], keys[start], node[start])
            order = np.lexsort((keys, node))
            node, keys = node[order], keys[order]
            distinct = np.flatnonzero(np.r_[True, (np.diff(node) != 0) | (np.diff(keys) != 0)])
            node, keys = node[distinct], keys[distinct]
            sizes = np.bincount(node - nodes)
            entries.add(keys, keys, node, sizes[node - nodes])
            nodes += len(start)

        parent: Numbers = np.arange(nodes, dtype=np.int32) if nodes < 2**31 else np.arange(nodes, dtype=np.int64)
        for a, b in _edges(firsts, entries, scratch, count):
            for part in range(0, len(a), _EDGES):
                join(parent, a[part : part + _EDGES], b[part : part + _EDGES])
    groups = _number(parent)
    sizes_of_groups: Numbers = np.zeros_like(parent, shape=groups)
    for node, _, _ in _kept(blocks, keep):
        np.add.at(sizes_of_groups, parent[node], 1)
    return parent, sizes_of_groups


def _kept(blocks: Blocks, keep: Bool) -> Iterator[tuple[Int, Int, Int]]:
    """Of the versions that stay: node (the record's number among those with one), key, and where records start."""
    start = nodes = 0
    for records, _, keys in blocks():
        here = keep[start : start + len(records)]
        start += len(records)
        if here.any():
            records, keys = records[here], keys[here]
            starts = record_starts(records)
            yield numbered(records) + nodes, keys, starts
            nodes += len(starts)


def _edges(firsts: Partitions, entries: Partitions, folder: Path, count: int) -> Iterator[tuple[Int, Int]]:
    """Pairs of records that are one sentence, by both of the rules that `dedup.group_ids` explains."""
    for part in firsts:
        order = np.argsort(part["key"], kind="stable")
        same = np.flatnonzero(part["key"][order][1:] == part["key"][order][:-1])
        yield part["node"][order[same]], part["node"][order[same + 1]]

    columns = [("a", "i8"), ("b", "i8"), ("least", "i4")]
    neighbours = Partitions(folder, columns, count)
    for part in entries:
        part = part[np.lexsort((part["node"], -part["size"], part["key"]))]
        same = np.flatnonzero(part["key"][1:] == part["key"][:-1])
        a, b = part[same], part[same + 1]
        neighbours.add(np.ascontiguousarray(a["node"]), a["node"], b["node"], np.minimum(a["size"], b["size"]))
    for part in neighbours:
        part = part[np.lexsort((part["b"], part["a"]))]
        starts = np.flatnonzero(np.r_[True, (np.diff(part["a"]) != 0) | (np.diff(part["b"]) != 0)][: len(part)])
        shared = np.diff(np.r_[starts, len(part)])
        part = part[starts]
        alike = 2 * shared >= part["least"]
        yield part["a"][alike], part["b"][alike]


def _number(parent: Numbers) -> int:
    """Turn the smallest node of each node's component into the component's number, in place; returns how many."""
    count = 0
    for start in range(0, len(parent), _EDGES):
        here = parent[start : start + _EDGES]
        numbers = np.empty_like(here)
        roots = here == np.arange(start, start + len(here))
        numbers[roots] = count + np.arange(np.count_nonzero(roots))
        count += int(np.count_nonzero(roots))
        inside = ~roots & (here >= start)
        numbers[inside] = numbers[here[inside] - start]
        before = here < start
        numbers[before] = parent[here[before]]
        here[:] = numbers
    return count


def _first_places(part: NDArray[Any]) -> Int:
    return part["place"][first_occurrences(part["hash"])]  # type: ignore[no-any-return]
