"""Question to passage, with the passages of all languages in one pool (XQuAD; after LAReQA, arXiv 2004.05484).

In: ROOT/xquad. Out, for the questions of each language, in per cent:

    map, accuracy, mrr   mixed pool     the right passage is relevant in every language: mean average precision over
                                        all of them; whether a relevant one comes first; 1 / the rank of the first
    map, accuracy        own language   only the passages of the question's own language are searched
    accuracy             across         the mean over pools of one other language
    pair_accuracy        de->fr         German questions among French passages
    own_language_top1    mixed pool     share of first answers in the question's own language, right or wrong: 1 / the
                                        number of languages without language bias, 100 % with nothing but bias
    mixing_cost          mixed pool     mean `map` over all pools of one language less `map` in the mixed pool: what
                                        ranking languages against each other costs

A pool of many languages shows what pools of one language hide: an encoder that ranks wrong passages of the question's
language above right ones of another. LAReQA retrieves sentences; here the passages are XQuAD's own paragraphs, because
they are parallel as published, while sentence splitters differ by language and would make unequal pools. An encoder
that cuts long texts sees the beginning of a paragraph only. Intervals resample paragraphs, with all their questions.

`mlcl finetune --task xquad` trains retrieval on 60 % of the articles and tests it on the paragraphs of 30 %.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mlcl.core.files import RowCounter
from mlcl.formats import xquad as layout
from mlcl.formats.xquad import Reading
from mlcl.retrieval.knn import Vectors
from mlcl.tasks import Embed, Result, TaskOptions, folder
from mlcl.tasks._averages import PAIRWISE, with_averages
from mlcl.tasks._bootstrap import bootstrap_groups
from mlcl.tasks._embedded import EmbeddedTexts
from mlcl.tasks._labelled import Example
from mlcl.tasks._splits import published


def _parse(file: Path, code: str, rows: RowCounter) -> Iterator[Example]:
    return (Example(*row) for row in layout.labelled(file, code, rows))


TASK = published(
    "xquad", "retrieval", (), "map", layout.files, _parse,
    cutting="the one published file is cut by article: 60 % train, 10 % dev, 30 % test; a question searches the "
    "passages of the test articles in all tested languages",
)  # fmt: skip
HEADLINE = (TASK.metric, "mixed pool")
_ROWS = 512


@dataclass(frozen=True)
class Options(TaskOptions):
    """Options of `xquad`."""


def load(root: Path, options: Options) -> list[Reading]:
    """Questions and passages of every language, English first."""
    return layout.load(folder(root, "xquad"), languages=options.languages)


def evaluate(embed: Embed, root: Path, options: Options | None = None) -> list[Result]:
    """Measure every language and the averages."""
    options = options or Options()
    readings = load(root, options)
    embedded = EmbeddedTexts(embed, (text for reading in readings for text in _texts(reading)))
    passages = embedded.of([text for reading in readings for text in reading.paragraphs.values()])  # (L * P, D)
    place = {key: number for number, key in enumerate(readings[0].paragraphs)}
    results = []
    for number, reading in enumerate(readings):
        questions = embedded.of([text for text, _ in reading.questions.values()])  # (Q, D)
        right = np.array([place[key] for _, key in reading.questions.values()])  # (Q,) passage
        mixed, alone, top = ranks(questions, passages, right, len(readings))
        results += _results(reading, number, readings, right, mixed, alone, top)
    return with_averages(results, options.trained_languages)


def _texts(reading: Reading) -> list[str]:
    return [*reading.paragraphs.values(), *(text for text, _ in reading.questions.values())]


def ranks(
    questions: Vectors, passages: Vectors, right: np.ndarray, languages: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Where each question finds its passage; of equal scores the passage that stands first wins.

    Args:
        questions: (Q, D) unit vectors.
        passages: (L * P, D) unit vectors, language after language, passage p of a language in row p of its block.
        right: (Q,) the passage that answers each question.
        languages: L.

    Returns:
        Ranks from 1 (Q, L) of the right passage in each language in the pool of all; the same (Q, L) in the pool of
        that language alone; and the language (Q,) of the first passage in the pool of all.
    """
    size = passages.shape[0] // languages
    relevant = right[:, None] + size * np.arange(languages)  # (Q, L) rows of passages
    mixed, alone = np.empty((2, len(right), languages), np.int64)
    top = np.empty(len(right), np.int64)
    for start in range(0, len(right), _ROWS):
        here = slice(start, start + _ROWS)
        scores = questions[here] @ passages.T  # (n, L * P)
        scores = np.asarray(scores.toarray() if hasattr(scores, "toarray") else scores)
        mixed[here] = _rank(scores, relevant[here])
        top[here] = scores.argmax(axis=1) // size
        for language in range(languages):
            block = scores[:, language * size : (language + 1) * size]
            alone[here, language] = _rank(block, right[here, None])[:, 0]
    return mixed, alone, top


def _rank(scores: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Ranks from 1 (n, k) of some columns (n, k) in each row of scores (n, m)."""
    rank = np.empty(columns.shape, np.int64)
    for place, column in enumerate(columns.T):
        own = scores[np.arange(len(scores)), column][:, None]  # (n, 1)
        earlier = np.arange(scores.shape[1]) < column[:, None]
        rank[:, place] = 1 + ((scores > own) | ((scores == own) & earlier)).sum(axis=1)
    return rank


def average_precision(ranks: np.ndarray) -> np.ndarray:
    """Average precision (Q,) from the ranks (Q, L) of the L relevant items of each query."""
    ordered = np.sort(ranks, axis=1)
    return (np.arange(1, ranks.shape[1] + 1) / ordered).mean(axis=1)


def _results(
    reading: Reading,
    own: int,
    readings: list[Reading],
    right: np.ndarray,
    mixed: np.ndarray,
    alone: np.ndarray,
    top: np.ndarray,
) -> list[Result]:
    first = (alone == 1).astype(np.float64)  # (Q, L)
    precision = average_precision(mixed)
    others = [place for place in range(len(readings)) if place != own]
    values = {  # (metric, direction) -> (Q,)
        ("map", "mixed pool"): precision,
        ("accuracy", "mixed pool"): mixed.min(axis=1) == 1,
        ("mrr", "mixed pool"): 1 / mixed.min(axis=1),
        ("own_language_top1", "mixed pool"): top == own,
        ("mixing_cost", "mixed pool"): (1 / alone).mean(axis=1) - precision,
        ("map", "own language"): 1 / alone[:, own],
        ("accuracy", "own language"): first[:, own],
    }
    if others:
        values["accuracy", "across"] = first[:, others].mean(axis=1)
    for place in others:
        values[PAIRWISE + "accuracy", f"{reading.tag}->{readings[place].tag}"] = first[:, place]
    table = 100 * np.stack([np.asarray(column, dtype=np.float64) for column in values.values()], axis=1)
    return [
        Result("xquad", "test", reading.tag, reading.code, direction, metric, value, low, high, len(right))
        for (metric, direction), value, low, high in zip(
            values, table.mean(axis=0).tolist(), *(end.tolist() for end in bootstrap_groups(table, right)), strict=True
        )
    ]
