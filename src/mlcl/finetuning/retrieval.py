"""Retrieval of passages, fitted and scored: vectors of questions and of the passages that answer them in, metrics out.

Of each test set, in per cent:

    map                  all passages of all tested languages are searched; those that answer the question, in any of
                         the languages, are relevant: mean average precision
    accuracy             a relevant passage comes first there
    map_own_language     the passages of the question's own language alone are searched
    own_language_top1    the first answer is in the question's own language, right or wrong: 1 / the number of languages
                         without language bias (LAReQA, arXiv 2004.05484)

Intervals resample passages, with all their questions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mlcl.finetuning.data import Part
from mlcl.tasks import Result
from mlcl.tasks._bootstrap import bootstrap_groups
from mlcl.tasks._labelled import Example

METRICS = ("map", "accuracy", "map_own_language", "own_language_top1")
_ROWS = 512


@dataclass(frozen=True)
class _Pool:
    """What is searched: vectors (M, D), the key (M,) and the language (M,) of each passage."""

    vectors: np.ndarray
    keys: np.ndarray
    languages: np.ndarray


def mean_average_precision(part: Part, vectors: Sequence[np.ndarray]) -> float:
    """The score of one set among its own passages, in [0, 1]; `vectors` as in `retrieval_rows`."""
    return float(_scores(part, 0, vectors, _pool([part], [vectors]))[:, 0].mean())


def retrieval_rows(parts: Sequence[Part], vectors: Sequence[Sequence[np.ndarray]]) -> list[Result]:
    """The metrics of test sets, whose passages are searched together.

    Args:
        parts: One set per language.
        vectors: For each set and example the unit vectors (2, D) of its question and of its passage.
    """
    pool = _pool(parts, vectors)
    rows = []
    for number, (part, found) in enumerate(zip(parts, vectors, strict=True)):
        table = 100 * _scores(part, number, found, pool)
        _, passage = np.unique(_keys(part), return_inverse=True)
        low, high = bootstrap_groups(table, passage)
        place = (part.task.name, part.split, part.language.tag, part.language.code, "")
        for column, metric in enumerate(METRICS):
            value = float(table[:, column].mean())
            rows.append(Result(*place, metric, value, float(low[column]), float(high[column]), len(table)))
    return rows


def _keys(part: Part) -> list[str]:
    return [str(example.label) for example in part.examples if isinstance(example, Example)]


def _pool(parts: Sequence[Part], vectors: Sequence[Sequence[np.ndarray]]) -> _Pool:
    """Each passage of each set once."""
    passages: dict[tuple[int, str], np.ndarray] = {}
    for number, (part, found) in enumerate(zip(parts, vectors, strict=True)):
        for key, pair in zip(_keys(part), found, strict=True):
            passages.setdefault((number, key), pair[1])
    languages, keys = zip(*passages, strict=True)
    return _Pool(np.stack(list(passages.values())), np.array(keys), np.array(languages))


def _scores(part: Part, own: int, vectors: Sequence[np.ndarray], pool: _Pool) -> np.ndarray:
    """(N, 4) what each question adds to each of `METRICS`; of equal scores the passage that stands first wins."""
    questions, keys = np.stack([pair[0] for pair in vectors]), np.array(_keys(part))
    table = []
    for start in range(0, len(questions), _ROWS):
        scores = questions[start : start + _ROWS] @ pool.vectors.T  # (n, M)
        order = np.argsort(-scores, axis=1, kind="stable")
        relevant = pool.keys[order] == keys[start : start + _ROWS, None]  # (n, M), the best first
        at_home = pool.languages[order] == own
        ranks = np.arange(1, relevant.shape[1] + 1)
        precision = np.where(relevant, relevant.cumsum(axis=1) / ranks, 0).sum(axis=1) / relevant.sum(axis=1)
        rank_at_home = np.where(relevant & at_home, at_home.cumsum(axis=1), 0).max(axis=1)
        table.append(np.column_stack([precision, relevant[:, 0], 1 / rank_at_home, at_home[:, 0]]))
    return np.concatenate(table)
