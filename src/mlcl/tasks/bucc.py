"""Bitext mining (BUCC 2018): find the translations that were planted among monolingual sentences.

In: ROOT/bucc2018. Out: precision, recall and F1 per language pair, as margin-based mining (Artetxe & Schwenk 2019,
arXiv 1811.01136) finds them with a threshold on the score, tuned on other sentences than it is measured on.

How nothing of the test half is tuned on. The source sentences (those that are not English) fall into two halves, by a
hash of their text, those of gold pairs and the others each by half. A candidate pair belongs to the half of its source
sentence, a gold pair likewise; so every candidate counts in exactly one half, as right or as a false positive, and both
halves have the same share of gold pairs. English sentences belong to no half: mining, which sees no labels, goes over
both whole collections, as it does in use. The threshold with the best F1 on the tuning half is applied to the other.
Equal texts of one side are one sentence, as in the published scripts: an encoder cannot tell copies apart.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mlcl.core.errors import UserError
from mlcl.core.text import key_hash
from mlcl.formats import bucc as layout
from mlcl.formats.bucc import PIVOT, Collections
from mlcl.retrieval.mining import mine
from mlcl.tasks import Embed, Result, RetrievalOptions, folder
from mlcl.tasks._averages import with_averages
from mlcl.tasks._bootstrap import bootstrap_ratio
from mlcl.tasks._embedded import EmbeddedTexts

HEADLINE = ("f1", "mining")
METRICS = ("f1", "precision", "recall")


@dataclass(frozen=True)
class Options(RetrievalOptions):
    """Options of `bucc`."""

    part: str = "sample"
    """Part of the shared task that has gold pairs: sample or training."""
    retrieval: str = "max"
    """Which candidates mining proposes: max, intersect, forward or backward (see `mlcl.mine`)."""


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


def load(root: Path, options: Options) -> list[Collections]:
    """Both collections of every language pair.

    Raises:
        UserError: missing or malformed data, or too few gold pairs to tune and to test.
    """
    path = folder(root, "bucc2018")
    pairs = layout.load(path, part=options.part, languages=options.languages)
    for pair in pairs:
        if len(pair.gold) < 4:
            raise UserError(
                f"{pair.code}-{PIVOT} has {len(pair.gold)} gold pairs in the part {options.part!r}; four are needed",
                path=path,
                remedy="measure on sample or training",
            )
    return pairs


def evaluate(embed: Embed, root: Path, options: Options | None = None) -> list[Result]:
    """Measure every language pair and the averages; the tuned thresholds come last."""
    options = options or Options()
    pairs = load(root, options)
    embedded = EmbeddedTexts(
        embed, (text for pair in pairs for side in (pair.texts, pair.english) for text in side.values())
    )
    results: list[Result] = []
    thresholds: list[Result] = []
    for pair in pairs:
        tuning, test = halves(pair, embedded, options)
        threshold = best_threshold(tuning)
        sums = _counts(test, threshold)
        columns = [scores(sums.sum(axis=0)[None])[0], *bootstrap_ratio(sums, scores)]
        for metric, value, low, high in zip(METRICS, *((100 * column).tolist() for column in columns), strict=True):
            results.append(_row(options, pair, test, metric, value, low, high))
        thresholds.append(_row(options, pair, test, "threshold", threshold))
    return with_averages(results, options.trained_languages) + thresholds


def _row(
    options: Options,
    pair: Collections,
    test: Half,
    metric: str,
    value: float,
    low: float | None = None,
    high: float | None = None,
) -> Result:
    split = f"{options.part}, test half"
    return Result("bucc", split, pair.tag, pair.code, "mining", metric, value, low, high, len(test.gold))


def halves(pair: Collections, embedded: EmbeddedTexts, options: Options) -> tuple[Half, Half]:
    """The tuning half and the test half, as the head of this module says."""
    source_row = {text: row for row, text in enumerate(dict.fromkeys(pair.texts.values()))}
    target_row = {text: row for row, text in enumerate(dict.fromkeys(pair.english.values()))}
    gold = {(source_row[pair.texts[left]], target_row[pair.english[right]]) for left, right in pair.gold}
    source, target, score = mine(
        embedded.of(list(source_row)),
        embedded.of(list(target_row)),
        k=options.neighbours,
        margin=options.margin,
        retrieval=options.retrieval,
    )
    right = np.array([link in gold for link in zip(source.tolist(), target.tolist(), strict=True)], dtype=bool)
    in_test = _test_half(list(source_row), {left for left, _ in gold})
    gold_source = np.array(sorted(left for left, _ in gold))
    tuning, test = (
        Half(score[here], right[here], source[here], gold_source[in_test[gold_source] == which])
        for which in (False, True)
        for here in [in_test[source] == which]
    )
    return tuning, test


def _test_half(texts: list[str], with_gold: set[int]) -> np.ndarray:
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


def _counts(half: Half, threshold: float) -> np.ndarray:
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
