"""Retrieval over aligned pairs: does row i of one side find row i of the other?

In: vectors of both sides (N, D), row i translates row i. Out: for every row and both directions, whether it was found:
by index (accuracy, as the Tatoeba scripts count) and by text (xsim, where a target with the right text is right).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mlcl.core.errors import UserError
from mlcl.retrieval.knn import Vectors, nearest_both
from mlcl.retrieval.margin import best_by_margin


@dataclass(frozen=True)
class Found:
    """What each of N queries found on the other side.

    Attributes:
        cosine: (N,) index of the nearest neighbour by cosine.
        margin: (N,) index of the best of the k nearest by margin score.
    """

    cosine: np.ndarray
    margin: np.ndarray

    def hits(self) -> np.ndarray:
        """(N,) whether the nearest neighbour is the row of the same number."""
        return self.cosine == np.arange(len(self.cosine))


def retrieve(x: Vectors, y: Vectors, *, k: int = 4, margin: str = "ratio") -> tuple[Found, Found]:
    """What each x finds among y, and each y among x, from one pass over the similarities.

    Args:
        x: (N, D) unit vectors.
        y: (N, D) unit vectors; row i translates row i of x.
        k: Size of the neighbourhoods of the margin score.
        margin: `ratio`, `distance` or `absolute`.

    Raises:
        UserError: different numbers of rows.
    """
    if x.shape[0] != y.shape[0]:
        raise UserError(f"{x.shape[0]} and {y.shape[0]} vectors cannot be aligned row by row")
    forward, backward = nearest_both(x, y, k)
    return (
        Found(forward.index[:, 0], best_by_margin(forward, backward, margin)[0]),
        Found(backward.index[:, 0], best_by_margin(backward, forward, margin)[0]),
    )


def xsim_errors(found: np.ndarray, texts: Sequence[str]) -> np.ndarray:
    """(N,) whether query i found a wrong text (xsim; Artetxe & Schwenk 2019, Heffernan et al. 2022).

    A duplicate of the right text is no error: it is the same sentence, and an encoder cannot tell the copies apart.

    Args:
        found: (N,) index of what each query found.
        texts: The N texts of the side that was searched; text i is right for query i.
    """
    return np.array([texts[place] != texts[row] for row, place in enumerate(found.tolist())], dtype=bool)
