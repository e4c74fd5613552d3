"""Near-duplicates by MinHash and locality-sensitive hashing (Broder 1997; Leskovec et al., Mining of Massive Datasets).

In: the numbers and texts of all versions, in reading order. Out: the numbers with other keys, the same for texts of one
language whose sets of shingles have at least the wanted Jaccard similarity, as far as signatures tell. `dedup` takes
these keys instead of those of the exact texts, so a pair is a near-duplicate when both of its sides are. Texts are
compared in the form of `normalise_key`, by shingles of five characters, of two in scripts whose characters are
syllables or words. Signatures and hashes are on disk, dealt out to files as in `dedup_partitioned`.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from mlcl.core.errors import UserError, require
from mlcl.core.text import normalise_key
from mlcl.corpus.dedup import Hashes, Int, first_occurrences, join, record_starts, text_hashes
from mlcl.corpus.dedup_partitioned import Blocks, Numbers, Partitions
from mlcl.corpus.mapped import mapped
from mlcl.corpus.spool import Block

LEAST, SHORTEST = 0.5, 20
"""Smallest Jaccard similarity that the bands can find; characters from which on a text is compared."""

PERMUTATIONS, ROWS = 64, 4
"""16 bands of 4: texts of similarity 0.8 share one with probability 0.9998, of 0.6 with 0.89."""

Signatures: TypeAlias = NDArray[np.uint32]
"""(N, PERMUTATIONS), a row a text."""

_SYLLABLES = re.compile("[\u1100-\u11ff\u3040-\u30ff\u3130-\u318f\u3400-\u9fff\uac00-\ud7af\uf900-\ufaff]")
_SEED = 1
_MULTIPLIERS = np.array([0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB, 0xD6E8FEB86659FD93], np.uint64)
_BANDS = PERMUTATIONS // ROWS

TEXTS = 2_000_000
"""About how many rows a file of hashes has: 32 MB, and several times that while it is sorted."""

_AT_ONCE = 65_536  # texts that are compared, or looked up, at a time

Texts: TypeAlias = Callable[[], Iterator[pa.ChunkedArray]]
"""Gives the texts of some blocks, one column a block."""


def check(similarity: float, setting: str = "near_duplicates") -> None:
    """Refuse a similarity that cannot be searched for, or a missing package.

    Raises:
        UserError: such.
    """
    if not LEAST <= similarity <= 1:
        raise UserError(
            f"{setting} is {similarity}",
            remedy=f"give a Jaccard similarity from {LEAST} to 1, such as 0.8, or none",
        )
    require("rensa", "filters")


def near_blocks(blocks: Blocks, texts: Texts, versions: int, similarity: float, folder: Path) -> Blocks:
    """The blocks with keys that near-duplicates share: that of the first text of each cluster.

    Memory holds a byte a version, four bytes (eight from two billion on) a distinct text, and a partition of each file.

    Args:
        blocks: The numbers of N versions, in reading order.
        texts: Their texts, cut as the blocks are.
        versions: N.
        similarity: Least Jaccard similarity.
        folder: For files: while this runs 545 bytes for each distinct text that is long enough to compare and 24 for
            each version, afterwards 8 for each version, until the folder goes.
    """
    path = folder / "near-keys"
    with tempfile.TemporaryDirectory(dir=folder, prefix="near-") as name:
        scratch = Path(name)
        copies, first = _first_copies(blocks, versions, scratch)
        nodes = _Nodes(scratch, versions, similarity)
        start = 0
        with path.open("wb") as file:
            for (_, languages, keys), own in zip(blocks(), texts(), strict=True):
                keys.tofile(file)
                here = np.flatnonzero(first[start : start + len(keys)])
                start += len(keys)
                distinct = own.take(pa.array(here)).to_pylist()
                nodes.add(distinct, text_hashes(languages, keys)[here], languages[here], keys[here])
        if nodes.count:
            with mapped(path, np.int64, write=True) as (found, release):
                for part, (hashes, new) in zip(copies, nodes.renamed(copies.count), strict=True):
                    part = part[np.isin(part["hash"], hashes)]
                    found[part["place"]] = new[np.searchsorted(hashes, part["hash"])]
                    release()

    def renamed() -> Iterator[Block]:
        start = 0
        for records, languages, keys in blocks():
            new = np.fromfile(path, np.int64, len(keys), offset=8 * start)
            start += len(keys)
            _, earliest, copy = np.unique(text_hashes(languages, keys), return_index=True, return_inverse=True)
            yield records, languages, new[earliest][copy.ravel()]

    return renamed


def _first_copies(blocks: Blocks, versions: int, folder: Path) -> tuple[Partitions, NDArray[np.bool_]]:
    """Where each text stands first in each block, by its hash, and a mask (N,) of where it stands first of all."""
    copies = Partitions(folder, [("hash", "u8"), ("place", "i8")], versions // TEXTS + 1)
    start = 0
    for _, languages, keys in blocks():
        hashes = text_hashes(languages, keys)
        earliest = np.sort(first_occurrences(hashes))
        copies.add(hashes[earliest], hashes[earliest], start + earliest)
        start += len(keys)
    first = np.zeros(versions, dtype=bool)
    for part in copies:
        first[part["place"][first_occurrences(part["hash"])]] = True
    return copies, first


def shingles(text: str) -> list[str]:
    """The shingles of a text; none of one that is too short to compare."""
    key = normalise_key(text)
    syllables = len(_SYLLABLES.findall(key)) > len(key) // 2
    size = 2 if syllables else 5
    if len(key) < (SHORTEST // 2 if syllables else SHORTEST):
        return []
    return [key[place : place + size] for place in range(len(key) - size + 1)]


def signature(pieces: list[str]) -> list[int]:
    """The MinHash values of a set of shingles, `PERMUTATIONS` of them."""
    from rensa import RMinHash

    minhash = RMinHash(num_perm=PERMUTATIONS, seed=_SEED)
    minhash.update(pieces)
    return minhash.digest()  # type: ignore[no-any-return]


class _Nodes:
    """The distinct texts that are long enough, numbered in reading order: their signatures and bands, on disk."""

    def __init__(self, folder: Path, versions: int, similarity: float) -> None:
        self._folder, self._similarity = folder, similarity
        self._buckets = Partitions(folder, [("hash", "u8"), ("node", "i8")], _BANDS * versions // TEXTS + 1)
        self.count = 0

    def add(self, texts: Sequence[str], hashes: Hashes, languages: Int, keys: Int) -> None:
        """Take the texts (n,), which no text before was equal to, with their hashes, languages and keys (n,)."""
        pieces = [shingles(text) for text in texts]
        rows = np.flatnonzero([bool(one) for one in pieces])
        if not len(rows):
            return
        signatures = np.array([signature(pieces[row]) for row in rows.tolist()], np.uint32)
        for name, values in (("signatures", signatures), ("hashes", hashes[rows]), ("keys", keys[rows])):
            with (self._folder / name).open("ab") as file:
                values.tofile(file)
        nodes = np.arange(self.count, self.count + len(rows))
        for number, band in enumerate(bands(signatures).T):
            # One file for all bands: the number of the band and the language are a part of the hash.
            bucket = text_hashes(languages[rows] * _BANDS + number, band.view(np.int64))
            self._buckets.add(bucket, bucket, nodes)
        self.count += len(rows)

    def renamed(self, count: int) -> Iterator[tuple[Hashes, Int]]:
        """Texts that take the key of another one, dealt out to `count` files: their hashes, sorted, and the keys."""
        first = self._clusters()
        renamed = Partitions(self._folder, [("hash", "u8"), ("key", "i8")], count)
        hashes_path, keys_path = (self._folder / name for name in ("hashes", "keys"))
        with mapped(hashes_path, np.uint64) as (hashes, free), mapped(keys_path, np.int64) as (keys, release):
            for start in range(0, self.count, _AT_ONCE):
                here = first[start : start + _AT_ONCE]
                moved = np.flatnonzero(here != np.arange(start, start + len(here)))
                renamed.add(hashes[start + moved], hashes[start + moved], keys[here[moved]])
                free()
                release()
        for part in renamed:
            part = part[np.argsort(part["hash"])]
            yield part["hash"], part["key"]

    def _clusters(self) -> Numbers:
        """The first node of each node's cluster (M,)."""
        small = self.count < 2**31
        first: Numbers = np.arange(self.count, dtype=np.int32) if small else np.arange(self.count, dtype=np.int64)
        with mapped(self._folder / "signatures", np.uint32) as (flat, release):
            signatures = flat.reshape(self.count, PERMUTATIONS)
            for part in self._buckets:
                for left, right in _candidates(part):
                    apart = first[left] != first[right]  # two of one cluster tell nothing new
                    left, right = left[apart], right[apart]
                    alike = np.zeros(len(left), dtype=bool)
                    for start in range(0, len(left), _AT_ONCE):
                        here = slice(start, start + _AT_ONCE)
                        same = signatures[left[here]] == signatures[right[here]]
                        alike[here] = same.mean(axis=1) >= self._similarity
                        release()
                    join(first, left[alike], right[alike])
        return first


def bands(signatures: Signatures) -> Hashes:
    """One number for each band of each signature: (N, PERMUTATIONS) -> (N, PERMUTATIONS / ROWS)."""
    cut = signatures.reshape(len(signatures), PERMUTATIONS // ROWS, ROWS).astype(np.uint64)
    return (cut * _MULTIPLIERS).sum(axis=2, dtype=np.uint64)


def _candidates(part: NDArray[Any]) -> Iterator[tuple[Int, Int]]:
    """Nodes that share a bucket: each with the first one in it, and with the one before."""
    part = part[np.lexsort((part["node"], part["hash"]))]
    hashes, nodes = part["hash"], part["node"]
    starts = record_starts(hashes)
    first = np.repeat(nodes[starts], np.diff(np.append(starts, len(nodes))))
    same = np.flatnonzero(hashes[1:] == hashes[:-1])
    yield first[same + 1], nodes[same + 1]
    yield nodes[same], nodes[same + 1]
