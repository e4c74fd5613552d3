"""Bitext mining (BUCC 2018): find the translations that were planted among monolingual sentences.

In: ROOT/bucc2018. Out: precision, recall and F1 per language pair, as margin-based mining (Artetxe & Schwenk 2019,
arXiv 1811.01136) finds them with a threshold on the score, tuned on other sentences than it is measured on.

The source sentences (those that are not English) fall into two halves, as `retrieval.thresholds` says; the threshold
with the best F1 on one is applied to the other. Equal texts of one side are one sentence, as in the published scripts:
an encoder cannot tell copies apart.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from mlcl.core.errors import UserError
from mlcl.formats import bucc as layout
from mlcl.formats.bucc import PIVOT, Collections
from mlcl.retrieval.mining import mine
from mlcl.retrieval.thresholds import METRICS, Half, best_threshold, counts, scores
from mlcl.retrieval.thresholds import halves as split
from mlcl.tasks import Embed, Result, RetrievalOptions, folder
from mlcl.tasks._averages import with_averages
from mlcl.tasks._bootstrap import bootstrap_ratio
from mlcl.tasks._embedded import EmbeddedTexts

HEADLINE = ("f1", "mining")


@dataclass(frozen=True)
class Options(RetrievalOptions):
    """Options of `bucc`."""

    part: str = "sample"
    """Part of the shared task that has gold pairs: sample or training."""
    retrieval: str = "max"
    """Which candidates mining proposes: max, intersect, forward or backward (see `mlcl.mine`)."""


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
        sums = counts(test, threshold)
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
    """The tuning half and the test half, as `retrieval.thresholds` cuts them."""
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
    return split(list(source_row), gold, source, target, score)
