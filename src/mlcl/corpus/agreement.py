"""Do both sides of a pair say the same? Margin scores of pairs by an encoder, and a corpus without those that disagree.

In: a `Corpus` and `embed(texts) -> (N, D)`. Out: a score for each pair row; a new corpus folder. The score is the
cosine of the two sides over the mean cosine to their neighbours (ratio margin, Artetxe & Schwenk 2019, arXiv
1811.01136) among rows of the same two languages: below 1 where a side has nothing to do with the other, well above for
translations. An encoder may judge the corpus that it was trained on: a random error is rarely learned. Train, filter,
and train again. Memory is bounded by one block of each pair of languages.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from mlcl.core.progress import bar
from mlcl.corpus.derive import DerivedCorpus
from mlcl.corpus.store import Corpus
from mlcl.retrieval.knn import nearest_both, unit

Embed = Callable[[Sequence[str]], np.ndarray]

BLOCK = 16_384
"""Rows of two languages that are scored together: each finds its neighbours among the others."""
FEWEST = 32
"""Rows that two languages need: among fewer, neighbours say nothing."""


def pair_scores(corpus: Corpus, embed: Embed, k: int = 4, show_progress: bool = True) -> np.ndarray:
    """Margin scores (R,) of all pair rows in stored order; NaN where two languages have too few rows to judge.

    Args:
        corpus: The corpus.
        embed: Texts to vectors.
        k: Size of the neighbourhoods.
        show_progress: Show a progress bar.
    """
    scores = np.full(corpus.manifest["rows"]["pairs"], np.nan, dtype=np.float32)
    with bar(show_progress) as progress:
        task = progress.add_task("scoring pairs", total=len(scores))
        for rows, sources, targets in _blocks(corpus):
            if len(rows) >= FEWEST:
                scores[rows] = margins(embed, sources, targets, k)
            progress.advance(task, len(rows))
    return scores


def _blocks(corpus: Corpus) -> Iterator[tuple[np.ndarray, list[str], list[str]]]:
    """Row numbers, sources and targets of up to `BLOCK` rows of two languages each."""
    waiting: dict[tuple[str, str], tuple[list[int], list[str], list[str]]] = {}
    row = 0
    for batch in corpus.pair_batches(["source_lang", "target_lang", "source", "target"]):
        for first, second, source, target in zip(*(column.to_pylist() for column in batch.columns), strict=True):
            rows, sources, targets = waiting.setdefault((first, second), ([], [], []))
            rows.append(row)
            sources.append(source)
            targets.append(target)
            row += 1
            if len(rows) == BLOCK:
                yield np.array(rows), *waiting.pop((first, second))[1:]
    for rows, sources, targets in waiting.values():
        yield np.array(rows), sources, targets


def margins(embed: Embed, sources: list[str], targets: list[str], k: int) -> np.ndarray:
    """Ratio margins (n,) of the rows; a text that occurs in several rows is one neighbour."""
    x, x_of = _vectors(embed, sources)
    y, y_of = _vectors(embed, targets)
    forward, backward = nearest_both(x, y, k)
    cosines = np.einsum("nd,nd->n", x[x_of], y[y_of])
    means = (forward.scores.mean(axis=1)[x_of] + backward.scores.mean(axis=1)[y_of]) / 2
    return cosines / np.maximum(means, 1e-6)


def _vectors(embed: Embed, texts: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """Unit vectors of the distinct texts, and for each text the row of its vector."""
    places = {text: place for place, text in enumerate(dict.fromkeys(texts))}
    return np.asarray(unit(embed(list(places)))), np.array([places[text] for text in texts])


def write_filtered(corpus: Corpus, scores: np.ndarray, least: float, folder: Path) -> dict[str, Any]:
    """Write the corpus without the pair rows whose score is below `least`, and its report; returns the manifest.

    Rows that were not judged stay, and so do single sentences. What is left out is added to the drops of the manifest:
    targets of such rows, and sources that have no other row.
    """
    derived = DerivedCorpus(folder, [corpus])
    tally = derived.tally
    keep = ~(scores < least)  # NaN stays
    record_of = record_numbers(corpus)
    lost = np.bincount(record_of, weights=keep) == 0  # records without a row that stays
    first = np.append(True, record_of[1:] != record_of[:-1]) if len(record_of) else np.empty(0, bool)
    start = 0
    for batch in corpus.pair_batches():
        here = slice(start, start + batch.num_rows)
        start += batch.num_rows
        for row in batch.filter(pa.array(~keep[here])).to_pylist():
            tally.add("sides disagree", row["origin"], row["target_lang"], f"{row['source']} ⇎ {row['target']}")
        for row in batch.filter(pa.array(first[here] & lost[record_of[here]])).to_pylist():
            tally.add("no translation left", row["origin"], row["source_lang"], row["source"])
        derived.write("pairs", batch.filter(pa.array(keep[here])))
    for batch in corpus.mono_batches():
        derived.write("mono", batch)
    return derived.close()


def record_numbers(corpus: Corpus) -> np.ndarray:
    """(R,) the record of each pair row, numbered from 0: neighbouring rows of one group and source are one record."""
    numbers = np.empty(corpus.manifest["rows"]["pairs"], dtype=np.int64)
    row, record = 0, -1
    last: tuple[Any, ...] | None = None
    for batch in corpus.pair_batches(["group", "source_lang", "source"]):
        for key in zip(*(column.to_pylist() for column in batch.columns), strict=True):
            record += key != last
            last = key
            numbers[row] = record
            row += 1
    return numbers
