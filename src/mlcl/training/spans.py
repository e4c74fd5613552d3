"""Which tokens of a sentence are hidden, as spans: for span corruption, text infilling and blank infilling.

In: places of tokens and numbers of them. Out: sizes of spans, or for each token whether it is hidden.
"""

from __future__ import annotations

import numpy as np

Ids = np.ndarray


def partition(total: int, parts: int, rng: np.random.Generator) -> Ids:
    """(parts,) sizes of at least 1 that add up to `total`, all such equally likely."""
    cuts = np.sort(rng.choice(total - 1, size=parts - 1, replace=False)) + 1
    return np.diff(np.concatenate([[0], cuts, [total]]))


def hide(length: int, free: Ids, wanted: int, mean: float, rng: np.random.Generator) -> Ids:
    """(length,) which tokens are hidden: `wanted` of the free places, in spans of Poisson-distributed length.

    A span over a place that is not free leaves it out, and is two spans then; spans that meet are one.
    """
    left, hidden = wanted, np.zeros(len(free), dtype=bool)
    while left > 0:
        size = min(max(1, int(rng.poisson(mean))), left)
        start = rng.integers(0, len(free) - size + 1)
        left -= max(1, int((~hidden[start : start + size]).sum()))
        hidden[start : start + size] = True
    of_ids = np.zeros(length, dtype=bool)
    of_ids[free[hidden]] = True
    return of_ids


def replaced(ids: Ids, hidden: Ids, token: int) -> Ids:
    """Token ids (L,) with one token in the place of each hidden span."""
    opens = hidden & ~np.concatenate([[False], hidden[:-1]])
    return np.where(opens, token, ids)[opens | ~hidden]
