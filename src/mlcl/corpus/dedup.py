"""Exact deduplication and grouping on 64-bit hashes, so that no text need be in memory.

In: numpy arrays with one entry per version of every record, in reading order. Out: which versions stay, and the group
of every record.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Int = NDArray[np.int64]
Bool = NDArray[np.bool_]
Hashes = NDArray[np.uint64]

_BLOCK = 1 << 22

_SPLITMIX = (np.uint64(0x9E3779B97F4A7C15), np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB))


def keep_first(records: Int, languages: Int, keys: Int) -> Bool:
    """Which of N versions stay after exact deduplication over all origins; the first occurrence always does.

    A record of several versions is the pairs of its first version with each other one. Such a pair is a duplicate
    when the same two (language, key) came before, in either order; a record without a pair left is dropped whole. A
    text that stands alone is a duplicate when the same (language, key) came before alone, or comes in a kept pair.

    Args:
        records: Record number of each version (N,), ascending.
        languages: Language number of each version (N,).
        keys: Hash of the normalised text of each version (N,).

    Returns:
        Mask (N,).
    """
    n = len(records)
    keep = np.zeros(n, dtype=bool)
    if not n:
        return keep
    texts = text_hashes(languages, keys)
    first = first_version(records)
    alone = np.bincount(first, minlength=n)[first] == 1
    others = np.flatnonzero(first != np.arange(n))

    kept_pairs = others[first_occurrences(pair_hashes(texts[first[others]], texts[others]))]
    keep[kept_pairs] = True
    keep[first[kept_pairs]] = True

    single = np.flatnonzero(alone)
    single = single[first_occurrences(texts[single])]
    keep[single[~np.isin(texts[single], texts[keep])]] = True
    return keep


def text_hashes(languages: Int, keys: Int) -> Hashes:
    """One hash (N,) of language and key."""
    return _mix(keys.view(np.uint64) + _mix(languages.astype(np.uint64) + np.uint64(1)))


def pair_hashes(a: Hashes, b: Hashes) -> Hashes:
    """One hash (N,) of two texts, in either order."""
    return _mix(np.minimum(a, b)) + np.maximum(a, b)


def first_version(records: Int) -> Int:
    """For each version (N,), where the first version of its record stands."""
    starts = record_starts(records)
    return np.repeat(starts, np.diff(np.r_[starts, len(records)]))


def record_starts(records: Int) -> Int:
    """Where each record begins."""
    return np.flatnonzero(np.r_[True, records[1:] != records[:-1]][: len(records)])


def numbered(records: Int) -> Int:
    """Ascending record numbers (N,) as 0, 1, ... without gaps."""
    return np.cumsum(np.r_[False, records[1:] != records[:-1]], dtype=np.int64)[: len(records)]


def group_ids(records: Int, keys: Int) -> Int:
    """The group of each version (N,): the connected components of records that are the same sentence.

    Two records are linked when their first versions have the same key, or when they share at least half of the
    distinct keys of the smaller one. So equal single texts, and pairs that share a side, are one group; but two
    messages in a hundred languages are not, because a few languages have one word for both: such chance links run
    through a whole corpus of short messages and would make one group of thousands of different sentences. Of three
    records or more that share a key, neighbours are compared, those with more keys first (so a single text never
    stands between two others), then in reading order.

    Groups are numbered 0, 1, ... in the order of their first version.

    Args:
        records: Record number of each version (N,), ascending.
        keys: Hash of the normalised text of each version (N,).
    """
    if not len(records):
        return np.zeros(0, dtype=np.int64)
    _, starts, dense = np.unique(records, return_index=True, return_inverse=True)
    nodes = len(starts)

    a, b = _neighbours(np.arange(nodes), keys[starts])  # the same first version

    order = np.lexsort((keys, dense))
    distinct = order[np.r_[True, (np.diff(dense[order]) != 0) | (np.diff(keys[order]) != 0)]]
    sizes = np.bincount(dense[distinct], minlength=nodes)
    entries = distinct[np.argsort(-sizes[dense[distinct]], kind="stable")]
    c, d = _neighbours(dense[entries], keys[entries])
    edges, shared = np.unique(c * nodes + d, return_counts=True)
    c, d = np.divmod(edges, nodes)
    alike = 2 * shared >= np.minimum(sizes[c], sizes[d])

    roots = connected_components(nodes, np.r_[a, c[alike]], np.r_[b, d[alike]])
    _, ids = np.unique(roots, return_inverse=True)  # a root is the component's smallest record, so this keeps the order
    return ids[dense].astype(np.int64)


def _neighbours(nodes: Int, keys: Int) -> tuple[Int, Int]:
    """Each node (one entry per key that it has) and the next one in the list with the same key: (E,), (E,)."""
    order = np.argsort(keys, kind="stable")
    same = np.flatnonzero(keys[order][1:] == keys[order][:-1])
    return nodes[order[same]], nodes[order[same + 1]]


def connected_components(nodes: int, a: Int, b: Int) -> Int:
    """The smallest node of each node's component (nodes,) in the graph with edges a[i]-b[i].

    Every round hooks each root onto the smallest root that an edge leads to, then flattens the trees by pointer
    jumping; numbers only ever fall, so there are no cycles (after Shiloach and Vishkin 1982).
    """
    parent = np.arange(nodes, dtype=np.int64)
    join(parent, a, b)
    return parent


def join(parent: NDArray[np.signedinteger[Any]], a: Int, b: Int) -> None:
    """Add edges to the components that `parent` holds (the smallest node of each node's component), in place."""
    while True:
        low, high = np.minimum(parent[a], parent[b]), np.maximum(parent[a], parent[b])
        open_edges = low != high
        if not open_edges.any():
            return
        a, b, low, high = a[open_edges], b[open_edges], low[open_edges], high[open_edges]
        np.minimum.at(parent, high, low)
        jumping = True
        while jumping:
            jumping = False
            for start in range(0, len(parent), _BLOCK):
                here = parent[start : start + _BLOCK]
                jumped = parent[here]
                if not np.array_equal(jumped, here):
                    here[:] = jumped
                    jumping = True


def first_occurrences(values: Hashes) -> Int:
    """Where each distinct value stands first, in the order of the values."""
    return np.unique(values, return_index=True)[1]


def _mix(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The finaliser of splitmix64: a one-to-one scrambling of 64-bit numbers."""
    z = values + _SPLITMIX[0]
    z = (z ^ (z >> np.uint64(30))) * _SPLITMIX[1]
    z = (z ^ (z >> np.uint64(27))) * _SPLITMIX[2]
    return z ^ (z >> np.uint64(31))
