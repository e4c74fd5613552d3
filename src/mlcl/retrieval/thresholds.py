"""Which margin score is good enough, learned from gold pairs, and what it is worth on other sentences.

In: mined candidates and the gold pairs among them. Out: a threshold, and precision, recall and F1.

How nothing of the test half is tuned on: the source sentences fall into two halves, by a hash of their text, those of
gold pairs and the others each by half. A candidate pair belongs to the half of its source sentence, a gold pair
likewise; so every candidate counts in exactly one half, as right or as a false positive, and both halves have the same
share of gold pairs. Target sentences belong to no half: mining, which sees no labels, goes over both whole collections,
as it does in use.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mlcl.core.text import key_hash

METRICS = ("f1", "precision", "recall")


@dataclass(frozen=True)
class Half:
    """What counts in one half of the source sentences.

    Attributes:
        score: (C,) scores of its candidates, descending.
        right: (C,) whether a candidate is a gold pair.
        source: (C,) source sentence of each candidate.
        gold: (G,) source sentence of each gold pair.
    """

    score: np.ndarray
    right: np.ndarray
    source: np.ndarray
    gold: np.ndarray


def halves(
    texts: Sequence[str], gold: set[tuple[int, int]], source: np.ndarray, target: np.ndarray, score: np.ndarray
) -> tuple[Half, Half]:
    """The tuning half and the test half.

    Args:
        texts: The source sentences (N), whose hashes decide.
        gold: Right pairs, as (source, target) indices.
        source: (C,) source sentences of the candidates, best candidate first.
        target: (C,) their target sentences.
        score: (C,) their scores, descending.
    """
    right = np.array([link in gold for link in zip(source.tolist(), target.tolist(), strict=True)], dtype=bool)
    in_test = in_test_half(texts, {left for left, _ in gold})
    gold_source = np.array(sorted(left for left, _ in gold))
    tuning, test = (
        Half(score[here], right[here], source[here], gold_source[in_test[gold_source] == which])
        for which in (False, True)
        for here in [in_test[source] == which]
    )
    return tuning, test


def in_test_half(texts: Sequence[str], with_gold: set[int]) -> np.ndarray:
    """(N,) whether a source sentence is in the test half; of those with and of those without gold every second one is.

    The order by a hash of the text makes the halves independent of the order of the file.
    """
    in_test = np.zeros(len(texts), dtype=bool)
    order = sorted(range(len(texts)), key=lambda row: key_hash(texts[row]))
    in_test[[row for row in order if row in with_gold][::2]] = True
    in_test[[row for row in order if row not in with_gold][::2]] = True
    return in_test


def best_threshold(half: Half) -> float:
    """The score from which on candidates are taken so that F1 is best: midway to the next lower score.

    Above all scores where no candidate is right.
    """
    if not half.right.any():
        return float(np.nextafter(half.score.max(initial=0.0), np.inf))
    hits = np.cumsum(half.right)
    taken = np.arange(1, len(hits) + 1)
    sums = np.stack([hits, taken - hits, len(half.gold) - hits], axis=1)
    last_of_equals = np.append(half.score[1:] < half.score[:-1], True)
    last = int(np.where(last_of_equals, scores(sums)[:, 0], -1.0).argmax())
    return float(half.score[last : last + 2].mean())


def counts(half: Half, threshold: float) -> np.ndarray:
    """(S, 3) hits, false positives and misses of each source sentence that has candidates or gold pairs."""
    taken = half.score >= threshold
    rows = np.unique(np.concatenate([half.source, half.gold]), return_inverse=True)[1]
    source, gold = rows[: len(half.source)], rows[len(half.source) :]
    size = int(rows.max()) + 1
    hits = np.bincount(source[taken & half.right], minlength=size)
    false = np.bincount(source[taken & ~half.right], minlength=size)
    return np.stack([hits, false, np.bincount(gold, minlength=size) - hits], axis=1)


def scores(sums: np.ndarray) -> np.ndarray:
    """The `METRICS` (R, 3) of hits, false positives and misses (R, 3); 0 where there is nothing to divide by."""
    hits, false, missed = sums.T
    taken, gold = np.maximum(hits + false, 1), np.maximum(hits + missed, 1)
    return np.stack([2 * hits / np.maximum(2 * hits + false + missed, 1), hits / taken, hits / gold], axis=1)
