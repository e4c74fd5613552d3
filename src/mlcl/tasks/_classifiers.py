"""Small learners on frozen vectors. In: features (N, D), dense or sparse, and targets. Out: functions that predict.

Each learner makes one candidate per setting; `best` takes the one that does best on dev.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, TypeAlias

import numpy as np

from mlcl.core.errors import UserError, require
from mlcl.retrieval.knn import Vectors, nearest, unit

Predict: TypeAlias = Callable[[Vectors], np.ndarray]
"""(M, D) features -> (M,) predictions: numbers of classes, or values."""


class PairFeatures:
    """Features [u, v, |u - v|, u * v] of pairs of unit vectors (InferSent; Conneau et al. 2017), shape (N, 4 D).

    A product of unit vectors has far smaller entries than the vectors themselves, and a penalty on weights would switch
    it off. So each of the four blocks is scaled to rows of length 1 on average, measured on the training pairs.

    Args:
        first: (N, D) unit vectors of the first texts of the training pairs.
        second: (N, D) those of the second texts.
    """

    def __init__(self, first: Vectors, second: Vectors) -> None:
        self._scales = [_mean_square_length(block) ** -0.5 for block in _blocks(first, second)]

    def __call__(self, first: Vectors, second: Vectors) -> Vectors:
        """(N, 4 D) features."""
        scaled = [block * np.float32(scale) for block, scale in zip(_blocks(first, second), self._scales, strict=True)]
        if hasattr(first, "tocsr"):
            from scipy import sparse

            return sparse.hstack(scaled, format="csr")
        return np.hstack(scaled)

    @staticmethod
    def closeness(features: Vectors) -> np.ndarray:
        """(N,) cosines of the pairs up to a common factor, from their features: the sum over the last block."""
        return np.asarray(features[:, 3 * features.shape[1] // 4 :].sum(axis=1)).ravel()


def _blocks(u: Vectors, v: Vectors) -> list[Any]:
    return [u, v, abs(u - v), u.multiply(v) if hasattr(u, "multiply") else u * v]


def _mean_square_length(block: Any) -> float:
    squares = block.multiply(block) if hasattr(block, "multiply") else np.square(block)
    return float(squares.sum(dtype=np.float64) / block.shape[0]) or 1.0


def linear(x: Vectors, y: np.ndarray, strengths: Sequence[float]) -> Iterator[Predict]:
    """Logistic regression, one per inverse strength of the L2 penalty.

    Args:
        x: (N, D) training features.
        y: (N,) numbers of their classes.
        strengths: scikit-learn's C; larger is a weaker penalty.
    """
    require("sklearn", "probes")
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    seen = _occurring(x)
    for strength in sorted(strengths):
        model = LogisticRegression(C=strength, max_iter=300)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # dev decides whether a fit is good, converged or not
            model.fit(seen(x), y)
        yield _predictor(model, seen)


def ridge(x: Vectors, y: np.ndarray, strengths: Sequence[float]) -> Iterator[Predict]:
    """Ridge regression, one per inverse strength of the L2 penalty.

    Args:
        x: (N, D) training features.
        y: (N,) their values.
        strengths: 1 / alpha.
    """
    require("sklearn", "probes")
    from sklearn.linear_model import Ridge

    seen = _occurring(x)
    for strength in sorted(strengths):
        model = Ridge(alpha=1 / strength, tol=1e-6)
        model.fit(seen(x), y.astype(np.float32))  # float64 would make a copy of x in float64
        yield _predictor(model, seen)


def _predictor(model: Any, seen: Callable[[Any], Any]) -> Predict:
    return lambda features: model.predict(seen(features))


def _occurring(x: Any) -> Callable[[Any], Any]:
    """Takes the columns that occur in sparse training features; a penalised weight of any other one is 0 anyway."""
    if not hasattr(x, "tocsr"):
        return lambda features: features
    columns = np.unique(x.tocsr().indices)
    return lambda features: features.tocsc()[:, columns].tocsr()


def k_nearest(x: Vectors, y: np.ndarray, neighbours: Sequence[int]) -> Iterator[Predict]:
    """Vote of the k nearest training examples by cosine, one per k; between equal votes the nearer examples decide.

    Args:
        x: (N, D) training features.
        y: (N,) numbers of their classes.
        neighbours: The k to try.
    """
    keys, classes = unit(x), int(y.max()) + 1
    for k in sorted(neighbours):

        def predict(queries: Vectors, k: int = k) -> np.ndarray:
            index = nearest(unit(queries), keys, k).index  # (M, k), nearest first
            weight = 1 + np.arange(index.shape[1], 0, -1) / (index.shape[1] + 1) ** 2  # the extra sums to less than 1
            votes = np.zeros((len(index), classes))
            np.add.at(votes, (np.arange(len(index))[:, None], y[index]), weight)
            return votes.argmax(axis=1)

        yield predict


def nearest_class(prototypes: Vectors) -> Predict:
    """The class whose prototype is nearest by cosine; prototypes (C, D) in the order of the classes."""
    keys = unit(prototypes)
    return lambda queries: nearest(unit(queries), keys, 1).index[:, 0]


def few_shot(x: Vectors, y: np.ndarray, labels: Sequence[str], shots: int, seed: int) -> Predict:
    """Prototypes, each the mean of a few training examples of its class (Snell et al. 2017).

    Args:
        x: (N, D) training features.
        y: (N,) numbers of their classes.
        labels: Names of the C classes.
        shots: Examples drawn of each class.
        seed: Of the draw.

    Raises:
        UserError: a class has fewer examples.
    """
    generator = np.random.default_rng(seed)
    features, means = unit(x), []
    for number, label in enumerate(labels):
        members = np.flatnonzero(y == number)
        if len(members) < shots:
            raise UserError(
                f"{shots} training examples of the class {label!r} are asked for, there are {len(members)}",
                remedy="lower shots",
            )
        means.append(np.asarray(features[generator.choice(members, shots, replace=False)].mean(axis=0)).ravel())
    return nearest_class(np.stack(means))


def best(candidates: Iterable[Predict], x: Vectors, score: Callable[[np.ndarray], float]) -> Predict:
    """The candidate with the highest score of its predictions for x (M, D); the first of equals."""
    return max(candidates, key=lambda predict: score(predict(x)))
