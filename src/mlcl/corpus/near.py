"""Near-duplicates by MinHash and locality-sensitive hashing (Broder 1997; Leskovec et al., Mining of Massive Datasets).

In: the texts of all versions, in reading order. Out: a key for each, the same for texts of one language whose sets of
shingles have at least the wanted Jaccard similarity. `dedup` takes these keys instead of those of the exact texts, so a
pair is a near-duplicate when both of its sides are. Texts are compared in the form of `normalise_key`, by shingles of
five characters, of two in scripts whose characters are syllables or words.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TypeAlias

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from mlcl.core.errors import UserError, require
from mlcl.core.text import normalise_key
from mlcl.corpus.dedup import Int, connected_components

LEAST, SHORTEST = 0.5, 20
"""Smallest Jaccard similarity that the bands can find; characters from which on a text is compared."""

PERMUTATIONS, ROWS = 64, 4
"""16 bands of 4: texts of similarity 0.8 share one with probability 0.9998, of 0.6 with 0.89."""

Signatures: TypeAlias = NDArray[np.uint32]
"""(N, PERMUTATIONS), a row a text."""

_SYLLABLES = re.compile("[\u1100-\u11ff\u3040-\u30ff\u3130-\u318f\u3400-\u9fff\uac00-\ud7af\uf900-\ufaff]")
_SEED = 1


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


def near_keys(tables: Iterable[pa.Table], languages: Int, keys: Int, similarity: float, folder: Path) -> Int:
    """Keys (N,) that near-duplicates share: that of the first text of each cluster.

    Args:
        tables: The texts (`text`) in reading order.
        languages: Language number of each version (N,).
        keys: Hash of the normalised text of each version (N,).
        similarity: Least Jaccard similarity.
        folder: For the signatures, 256 bytes for each distinct text, while this runs.
    """
    _, first, member = np.unique(np.stack([languages, keys]), axis=1, return_index=True, return_inverse=True)
    member = member.ravel()
    path = folder / "signatures.npy"
    shape = (len(first), PERMUTATIONS)
    signatures = np.lib.format.open_memmap(path, "w+", np.uint32, shape)
    long_enough = np.zeros(len(first), dtype=bool)
    is_first = np.zeros(len(keys), dtype=bool)
    is_first[first] = True
    start = 0
    for table in tables:
        here = np.flatnonzero(is_first[start : start + table.num_rows])
        texts = table["text"].take(pa.array(here)).to_pylist()
        rows = member[start + here]
        start += table.num_rows
        for row, pieces in zip(rows.tolist(), map(shingles, texts), strict=True):
            if pieces:
                long_enough[row] = True
                signatures[row] = signature(pieces)
    rows = np.flatnonzero(long_enough)
    roots = np.arange(len(first))
    if len(rows):
        order = rows[np.argsort(first[rows], kind="stable")]  # so that the smallest place is the first text
        found = _clusters(signatures, order, languages[first[order]], similarity)
        roots[order] = order[found]
    del signatures
    path.unlink()
    return keys[first[roots]][member]


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


def _clusters(signatures: Signatures, order: Int, languages: Int, similarity: float) -> Int:
    """For each of the texts in `order` (M,), the place in it of the first text of its cluster."""
    a, b = [], []
    for left, right in _candidates(signatures, order, languages):
        for part in range(0, len(left), 65_536):
            x, y = left[part : part + 65_536], right[part : part + 65_536]
            alike = (signatures[order[x]] == signatures[order[y]]).mean(axis=1) >= similarity
            a.append(x[alike])
            b.append(y[alike])
    return connected_components(len(order), np.concatenate(a), np.concatenate(b))


def _candidates(signatures: Signatures, order: Int, languages: Int) -> Iterator[tuple[Int, Int]]:
    """Places of texts that share a band: each with the first one that has it, and with the one before."""
    for band in range(0, PERMUTATIONS, ROWS):
        columns = np.ascontiguousarray(signatures[order, band : band + ROWS])
        _, bucket = np.unique(np.column_stack([languages, columns]), axis=0, return_inverse=True)
        sorted_places = np.argsort(bucket.ravel(), kind="stable")
        values = bucket.ravel()[sorted_places]
        starts = np.flatnonzero(np.append(True, values[1:] != values[:-1]))
        first = np.repeat(sorted_places[starts], np.diff(np.append(starts, len(values))))
        same = np.flatnonzero(values[1:] == values[:-1])
        yield first[same + 1], sorted_places[same + 1]
        yield sorted_places[same], sorted_places[same + 1]
