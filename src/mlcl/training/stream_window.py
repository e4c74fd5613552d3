"""The rows of a corpus that are in memory at once: what is drawn from them, and who translates whom.

In: rows as an Arrow table, and rates of languages and origins from the whole corpus. Out: row numbers in the order of
training, and for each a pair of texts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from mlcl.corpus.rows import SIDES
from mlcl.training.mixing import Infeasible, by_origin, limited
from mlcl.training.stream_layout import repeats


@dataclass(frozen=True)
class Rates:
    """How often rows should come, relative to a draw in which all are alike.

    Attributes:
        languages: (L,) rate of a sentence of each language.
        weights: (O,) weights of the origins.
        caps: (O,) largest share of each origin.
        max_repeats: Most times that a row comes in a window, on average; infinity = no limit.
    """

    languages: np.ndarray
    weights: np.ndarray
    caps: np.ndarray
    max_repeats: float


class Window:
    """Some rows of one kind.

    Args:
        kind: pairs or mono.
        table: The rows, without those that are held out.
        languages: All languages of the corpus.
        origins: All its origins.
    """

    def __init__(self, kind: str, table: pa.Table, languages: Sequence[str], origins: Sequence[str]) -> None:
        self.table, self.kind = table, kind
        self.languages = [_codes(table[language], languages) for language, _ in SIDES[kind]]
        self.origin = _codes(table["origin"], origins) if origins else np.zeros(table.num_rows, np.int64)
        group = table["group"].to_numpy()
        self.group = group
        alone = np.where(group >= 0, group, -1 - np.arange(len(group)))  # rows without a group are one each
        _, self._of, self._sizes = np.unique(alone, return_inverse=True, return_counts=True)
        self._members, self._starts = np.argsort(self._of, kind="stable"), np.cumsum(self._sizes) - self._sizes

    def __len__(self) -> int:
        return self.table.num_rows

    def order(self, rates: Rates, rng: np.random.Generator) -> np.ndarray:
        """Row numbers in random order, as many as there are rows: each once where all rates are 1."""
        expected = self._expected(rates)
        return rng.permutation(np.repeat(np.arange(len(self)), repeats(expected, rng)))

    def _expected(self, rates: Rates) -> np.ndarray:
        """(n,) how often each row should come; the sum is n, or 0 where no origin in it is wanted."""
        cell = self.origin.astype(np.int64)
        rate = np.zeros(len(self))
        for language in self.languages:
            cell = cell * len(rates.languages) + language
            rate += rates.languages[language] / len(self.languages)
        _, first, cells, counts = np.unique(cell, return_index=True, return_inverse=True, return_counts=True)
        base = counts * (rate * rates.weights[self.origin])[first]
        if not base.any():
            return np.zeros(len(self))
        upper = np.where(base > 0, rates.max_repeats * counts / len(self), 0.0)
        share = base / base.sum()
        for caps in (rates.caps, np.ones(len(rates.caps))):
            try:
                share = limited(share, upper, self.origin[first], caps)
                break
            except Infeasible:  # the window has too little of other origins: without caps, then as it is
                continue
        return (len(self) * share / counts)[cells]

    def partners(self, rows: np.ndarray, pivot: int | None, pivot_share: float, rng: np.random.Generator) -> np.ndarray:
        """(B,) for rows (B,) of pairs, the row whose target stands beside their own target; -1 = their own source.

        Any other version of the group that is in the window is as likely as another; with probability `pivot_share` it
        is the pivot, where there is one.
        """
        of = self._of[rows]
        places = self._starts[of] + (rng.random(len(rows)) * self._sizes[of]).astype(np.int64)
        other = self._members[places]
        other = np.where(other == rows, -1, other)
        if pivot is not None and pivot_share > 0:
            source, target = self.languages
            for i in np.flatnonzero(rng.random(len(rows)) < pivot_share).tolist():
                members = self._members[self._starts[of[i]] : self._starts[of[i]] + self._sizes[of[i]]]
                pivots = members[(target[members] == pivot) & (members != rows[i])]
                if source[rows[i]] == pivot:
                    other[i] = -1
                elif len(pivots):
                    other[i] = rng.choice(pivots)
        return other

    def pairs(self, rows: np.ndarray, other: np.ndarray) -> tuple[list[str], list[str], np.ndarray]:
        """Texts of both sides (B), (B), and their languages (B, 2), for rows and their `partners`."""
        source, target = self.languages
        texts = {name: self.table[name].take(pa.array(rows)).to_pylist() for name in ("source", "target")}
        beside = self.table["target"].take(pa.array(np.maximum(other, 0))).to_pylist()
        second, codes = [], []
        for i, (row, partner) in enumerate(zip(rows.tolist(), other.tolist(), strict=True)):
            own = partner < 0 or (beside[i] == texts["target"][i] and target[partner] == target[row])
            second.append(texts["source"][i] if own else beside[i])
            codes.append((int(target[row]), int(source[row] if own else target[partner])))
        return texts["target"], second, np.array(codes, np.int64).reshape(-1, 2)

    def texts(self, rows: np.ndarray, sides: np.ndarray) -> list[str]:
        """One text (B) of each row: that of a side."""
        columns = [self.table[text].take(pa.array(rows)).to_pylist() for _, text in SIDES[self.kind]]
        return [columns[side][i] for i, side in enumerate(sides.tolist())]


def rates(
    counts: np.ndarray, alpha: float, weights: Mapping[str, float], caps: Mapping[str, float], origins: Sequence[str],
    max_repeats: float | None,
) -> Rates:  # fmt: skip
    """Rates from the sentences of each language in the whole corpus (L,), by p ~ n^alpha."""
    tempered = np.where(counts > 0, np.maximum(counts, 1).astype(np.float64) ** alpha, 0.0)
    uniform = counts / max(1, counts.sum())
    tempered /= max(tempered.sum(), 1e-300)
    return Rates(
        np.divide(tempered, uniform, out=np.zeros(len(counts)), where=uniform > 0),
        by_origin(weights, origins, 1.0, "origin_weights") if origins else np.ones(1),
        by_origin(caps, origins, 1.0, "origin_caps") if origins else np.ones(1),
        np.inf if max_repeats is None else max_repeats,
    )


def _codes(column: pa.ChunkedArray, known: Sequence[str]) -> np.ndarray:
    """(n,) places of the values in a list."""
    encoded = column.combine_chunks().dictionary_encode()
    place = {name: number for number, name in enumerate(known)}
    table = np.array([place[name] for name in encoded.dictionary.to_pylist()], np.int64)
    return table[encoded.indices.to_numpy()] if len(column) else np.empty(0, np.int64)
