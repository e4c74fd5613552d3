"""How long is a translation, by what a corpus itself shows of two languages? Robust statistics, no list of ratios.

In: the widths of both sides of many pairs. Out: what two languages do, and how far from it each pair lies. The model is
that of Gale and Church (1993, Computational Linguistics 19): a character of one language gives c characters of the
other, with a variance that grows with the length. Centre and spread are those of the shortest interval that holds half
of the pairs (Rousseeuw 1984, Journal of the American Statistical Association 79), so that wrong pairs, which are most
often too short on one side, do not decide what is right as long as they are fewer than half.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FEWEST = 200
"""Pairs that two languages need to be learned from."""

_NORMAL = 0.6745  # standard deviations from the centre of a normal distribution to the end of its middle half
_LEAST_SPREAD = 0.5  # pairs of one length alone would make any other length an outlier

_WAITING = 65_536  # different widths of two languages that are held before they are merged

Float = NDArray[np.float64]
Int = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class LengthRatio:
    """What two languages do.

    Attributes:
        ratio: Characters of the second language for one of the first.
        centre: Centre of the standardised differences, near 0.
        spread: Their standard deviation, in characters per square root of a character.
    """

    ratio: float
    centre: float
    spread: float

    def deviations(self, first: Float, second: Float) -> Float:
        """Robust standard deviations (n,) that pairs of the widths (n,), (n,) lie from the centre; signed."""
        return (_standardised(first, second, self.ratio) - self.centre) / self.spread


class Lengths:
    """How often each two widths come together in each two languages: all that `learn` needs of any number of pairs.

    Widths are whole numbers below `clean.max_length`, so this stops growing: 16 bytes for each different two widths of
    two languages, which are some ten thousands.
    """

    def __init__(self) -> None:
        self._seen: dict[tuple[int, int], list[tuple[Int, Int]]] = {}  # parts of (widths, counts), the first one merged
        self._waiting: Counter[tuple[int, int]] = Counter()

    def add(self, low: Int, high: Int, first: Int, second: Int) -> None:
        """Count pairs of languages (n,), (n,) with the widths (n,), (n,)."""
        if not len(low):
            return
        languages, pair = np.unique(low << 32 | high, return_inverse=True)
        order = np.argsort(pair, kind="stable")
        ends = np.cumsum(np.bincount(pair, minlength=len(languages)))
        widths = (first << 32 | second)[order]
        for code, here in zip(languages.tolist(), np.split(widths, ends[:-1]), strict=True):
            key = divmod(code, 1 << 32)
            parts = self._seen.setdefault(key, [])
            parts.append(np.unique(here, return_counts=True))
            self._waiting[key] += len(parts[-1][0])
            if self._waiting[key] > max(_WAITING, len(parts[0][0])):
                self._merge(key)

    def learn(self) -> dict[tuple[int, int], tuple[LengthRatio, int]]:
        """What each two languages do that have pairs enough, and how many these are."""
        learned = {}
        for key in self._seen:
            self._merge(key)
            [(widths, counts)] = self._seen[key]
            known = learn((widths >> 32).astype(float), (widths & 0xFFFFFFFF).astype(float), counts)
            if known is not None:
                learned[key] = known, int(counts.sum())
        return learned

    def _merge(self, key: tuple[int, int]) -> None:
        parts = self._seen[key]
        widths, place = np.unique(np.concatenate([part for part, _ in parts]), return_inverse=True)
        counts = np.zeros(len(widths), np.int64)
        np.add.at(counts, place, np.concatenate([part for _, part in parts]))
        self._seen[key], self._waiting[key] = [(widths, counts)], 0


def learn(first: Float, second: Float, counts: Int | None = None) -> LengthRatio | None:
    """What pairs of the widths (n,), (n,) show, each as often as `counts` (n,) says; None below `FEWEST` pairs."""
    counts = np.ones(len(first), np.int64) if counts is None else counts
    if counts.sum() < FEWEST:
        return None
    ratio = float(np.exp(_middle_half(np.log(second / first), counts)[0]))
    centre, half = _middle_half(_standardised(first, second, ratio), counts)
    spread = half / _NORMAL
    return LengthRatio(ratio, centre, max(spread, _LEAST_SPREAD))


def _standardised(first: Float, second: Float, ratio: float) -> Float:
    """Difference of the lengths, in characters of the first language, over the root of their mean."""
    expected = second / ratio
    return (expected - first) / np.sqrt((expected + first) / 2)


def _middle_half(values: Float, counts: Int) -> tuple[float, float]:
    """Centre and half length of the shortest interval that holds half of the values (n,), of which there are `counts`.

    An interval that starts at a later one of equal values is never shorter, so one start for each is looked at.
    """
    order = np.argsort(values, kind="stable")
    ordered, ends = values[order], np.cumsum(counts[order])
    size = int(ends[-1]) // 2 + 1
    starts = ends - counts[order]
    starts = starts[starts + size <= ends[-1]]
    last = ordered[np.searchsorted(ends, starts + size - 1, side="right")]
    lengths = last - ordered[: len(starts)]
    best = int(np.argmin(lengths))
    return float(ordered[best] + last[best]) / 2, float(lengths[best]) / 2
