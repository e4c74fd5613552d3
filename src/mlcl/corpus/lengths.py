"""How long is a translation, by what a corpus itself shows of two languages? Robust statistics, no list of ratios.

In: the widths of both sides of many pairs. Out: what two languages do, and how far from it each pair lies. The model is
that of Gale and Church (1993, Computational Linguistics 19): a character of one language gives c characters of the
other, with a variance that grows with the length. Centre and spread are those of the shortest interval that holds half
of the pairs (Rousseeuw 1984, Journal of the American Statistical Association 79), so that wrong pairs, which are most
often too short on one side, do not decide what is right as long as they are fewer than half.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FEWEST = 200
"""Pairs that two languages need to be learned from."""

_NORMAL = 0.6745  # standard deviations from the centre of a normal distribution to the end of its middle half
_LEAST_SPREAD = 0.5  # pairs of one length alone would make any other length an outlier

Float = NDArray[np.float64]


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


def learn(first: Float, second: Float) -> LengthRatio | None:
    """What pairs of the widths (n,), (n,) show; None where they are fewer than `FEWEST`."""
    if len(first) < FEWEST:
        return None
    ratio = float(np.exp(_middle_half(np.log(second / first))[0]))
    centre, half = _middle_half(_standardised(first, second, ratio))
    spread = half / _NORMAL
    return LengthRatio(ratio, centre, max(spread, _LEAST_SPREAD))


def _standardised(first: Float, second: Float, ratio: float) -> Float:
    """Difference of the lengths, in characters of the first language, over the root of their mean."""
    expected = second / ratio
    return (expected - first) / np.sqrt((expected + first) / 2)


def _middle_half(values: Float) -> tuple[float, float]:
    """Centre and half length of the shortest interval that holds half of the values (n,)."""
    ordered = np.sort(values)
    size = len(ordered) // 2 + 1
    lengths = ordered[size - 1 :] - ordered[: len(ordered) - size + 1]
    start = int(np.argmin(lengths))
    return float(ordered[start] + ordered[start + size - 1]) / 2, float(lengths[start]) / 2
