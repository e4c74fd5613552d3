"""STS benchmark in eleven languages (STSb Multi MT): does closeness follow human judgements of similarity?

In: ROOT/stsb. Out: Spearman correlation (x 100) of cosines with scores, within each language (`within`), for every
ordered pair of languages with sentence1 in one and sentence2 in the other (`pair_spearman`), and its mean per language
(`across`). All languages but English are machine translated.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mlcl.core.errors import UserError
from mlcl.formats import stsb as layout
from mlcl.formats.stsb import ScoredPairs
from mlcl.retrieval.knn import Vectors
from mlcl.tasks import Embed, Result, TaskOptions, folder
from mlcl.tasks._averages import PAIRWISE, with_averages
from mlcl.tasks._embedded import EmbeddedTexts
from mlcl.tasks._statistics import spearman, spearman_interval

HEADLINE = ("spearman", "within")


@dataclass(frozen=True)
class Options(TaskOptions):
    """Options of `stsb`."""

    split: str = "dev"
    """Which part: train, dev or test."""


def load(root: Path, options: Options) -> list[ScoredPairs]:
    """The scored pairs of each language.

    Raises:
        UserError: missing or malformed data, or languages whose scores differ.
    """
    path = folder(root, "stsb")
    loaded = layout.load(path, split=options.split, languages=options.languages)
    for pairs in loaded[1:]:
        if pairs.scores != loaded[0].scores:
            raise UserError(f"the scores of {pairs.code} and {loaded[0].code} differ", path=path)
    return loaded


def evaluate(embed: Embed, root: Path, options: Options | None = None) -> list[Result]:
    """Measure every language, every pair of languages, and the averages."""
    options = options or Options()
    loaded = load(root, options)
    embedded = EmbeddedTexts(embed, (text for pairs in loaded for text in [*pairs.first, *pairs.second]))
    gold = np.array(loaded[0].scores)
    first = [embedded.of(pairs.first) for pairs in loaded]
    second = [embedded.of(pairs.second) for pairs in loaded]
    # [i, j]: sentence1 in language i, sentence2 in language j
    matrix = np.array([[spearman(_row_cosines(left, right), gold) for right in second] for left in first])
    results = []
    for i, pairs in enumerate(loaded):
        results.append(_result(options, pairs, "within", "spearman", matrix[i, i], len(gold)))
        for j, other in enumerate(loaded):
            if i != j:
                direction = f"{pairs.tag}->{other.tag}"
                results.append(_result(options, pairs, direction, PAIRWISE + "spearman", matrix[i, j], len(gold)))
        if len(loaded) > 1:
            across = np.concatenate([np.delete(matrix[i], i), np.delete(matrix[:, i], i)]).mean()
            results.append(_result(options, pairs, "across", "spearman", across, len(gold)))
    return with_averages(results, options.trained_languages)


def _row_cosines(x: Vectors, y: Vectors) -> np.ndarray:
    """(N,) cosine of row i of x with row i of y, both unit vectors."""
    product = x.multiply(y) if hasattr(x, "multiply") else x * y
    return np.asarray(product.sum(axis=1)).ravel()


def _result(options: Options, pairs: ScoredPairs, direction: str, metric: str, correlation: float, n: int) -> Result:
    low, high = spearman_interval(float(correlation), n)
    return Result(
        "stsb", options.split, pairs.tag, pairs.code, direction, metric,
        100 * float(correlation), 100 * low, 100 * high, n,
    )  # fmt: skip
