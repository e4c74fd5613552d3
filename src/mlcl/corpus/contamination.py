"""Evaluation sentences in training text, whatever their language: found by vectors.

In: evaluation sentences with all their versions, a `Corpus`, and `embed(texts) -> (N, D)`. Out: for each row how close
it is to the nearest evaluation sentence; a corpus without the groups that are too close. A sentence is the mean of its
versions' vectors, so that one in fifty languages is one neighbour and not fifty. Closeness is the cosine, or the cosine
over the mean cosine to the next sentences (the ratio margin of Artetxe & Schwenk 2019, arXiv 1811.01136, in one
direction), which compares better between languages.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa

from mlcl.core.progress import bar
from mlcl.core.text import key_hash, normalise_key
from mlcl.corpus import dedup
from mlcl.corpus.agreement import record_numbers
from mlcl.corpus.derive import DerivedCorpus
from mlcl.corpus.rows import SIDES, batches, text_columns
from mlcl.corpus.store import Corpus
from mlcl.retrieval.knn import nearest, unit

Embed = Callable[[Sequence[str]], np.ndarray]
Score = Literal["margin", "cosine"]

REASON = "says what an evaluation text says"


@dataclass(frozen=True)
class Closest:
    """The nearest evaluation sentence of each text or row.

    Attributes:
        cosine: Cosine to it (N,).
        margin: That over the mean cosine to the next ones (N,).
        sentence: Which one it is (N,).
    """

    cosine: np.ndarray
    margin: np.ndarray
    sentence: np.ndarray

    def scores(self, score: Score) -> np.ndarray:
        """One of the two scores (N,)."""
        return self.margin if score == "margin" else self.cosine


def merged(records: Iterable[Sequence[str]]) -> list[list[str]]:
    """Evaluation records as sentences: those that are one by `dedup.group_ids` are merged, equal texts come once."""
    texts, numbers, keys = [], [], []
    for number, versions in enumerate(records):
        for text in versions:
            if key := normalise_key(text):
                texts.append(text)
                numbers.append(number)
                keys.append(key_hash(key))
    groups = dedup.group_ids(np.array(numbers, np.int64), np.array(keys, np.int64))
    sentences: dict[int, dict[int, str]] = {}
    for group, hashed, text in zip(groups.tolist(), keys, texts, strict=True):
        sentences.setdefault(group, {}).setdefault(hashed, text)
    return [list(versions.values()) for versions in sentences.values()]


def sentence_vectors(sentences: Sequence[Sequence[str]], embed: Embed) -> np.ndarray:
    """The mean direction (E, D) of the versions of each sentence, of unit length."""
    vectors = np.asarray(unit(embed([text for versions in sentences for text in versions])))
    starts = np.cumsum([0, *map(len, sentences[:-1])])
    return np.asarray(unit(np.add.reduceat(vectors, starts, axis=0)))


def closest(vectors: np.ndarray, evaluation: np.ndarray, k: int = 4) -> Closest:
    """The nearest of the evaluation sentences (E, D) of each vector (N, D); `k` further ones are what is usual."""
    found = nearest(np.asarray(unit(vectors)), evaluation, min(k + 1, len(evaluation)))
    best, usual = found.scores[:, 0], found.scores[:, 1:]
    mean = usual.mean(axis=1) if usual.shape[1] else np.ones(len(best), np.float32)
    return Closest(best, best / np.maximum(mean, 1e-6), found.index[:, 0])


def closest_rows(
    corpus: Corpus,
    evaluation: np.ndarray,
    embed: Embed,
    k: int = 4,
    *,
    score: Score = "margin",
    show_progress: bool = True,
) -> Closest:
    """As `closest`, for all rows of a corpus in the order of `rows.batches`; of a pair its closer side by `score`."""
    count = sum(corpus.manifest["rows"].values())
    nothing = np.full(count, -np.inf, np.float32)
    result = Closest(nothing, nothing.copy(), np.zeros(count, np.int64))
    with bar(show_progress) as progress:
        task = progress.add_task("comparing with evaluation texts", total=count)
        for kind, start, batch in batches(corpus, text_columns()):
            sides = [batch.column(text).to_pylist() for _, text in SIDES[kind]]
            places = {text: place for place, text in enumerate(dict.fromkeys(text for side in sides for text in side))}
            found = closest(embed(list(places)), evaluation, k)
            here = slice(start, start + batch.num_rows)
            for side in sides:
                rows = np.array([places[text] for text in side])
                closer = found.scores(score)[rows] > result.scores(score)[here]
                for mine, theirs in (
                    (result.cosine, found.cosine), (result.margin, found.margin), (result.sentence, found.sentence)
                ):  # fmt: skip
                    mine[here] = np.where(closer, theirs[rows], mine[here])
            progress.advance(task, batch.num_rows)
    return result


def write_without(corpus: Corpus, found: np.ndarray, folder: Path) -> dict[str, Any]:
    """Write the corpus without the rows found (R,) and all others of their groups; returns the manifest."""
    groups = np.concatenate([batch["group"].to_numpy() for _, _, batch in batches(corpus, _GROUP)])
    found = found | (np.isin(groups, groups[found]) & (groups >= 0))
    derived = DerivedCorpus(folder, [corpus])
    records = record_numbers(corpus)
    pairs = found[: len(records)]
    pairs |= np.isin(records, records[pairs])  # rows without a group share their record's fate
    starts_record = np.append(True, records[1:] != records[:-1]) if len(records) else np.empty(0, bool)
    for kind, start, batch in batches(corpus):
        lost = found[start : start + batch.num_rows]
        for lang, text in SIDES[kind]:
            rows = lost & starts_record[start : start + batch.num_rows] if text == "source" else lost
            for row in batch.filter(pa.array(rows)).select(["origin", lang, text]).to_pylist():
                derived.tally.add(REASON, row["origin"], row[lang], row[text])
        derived.write(kind, batch.filter(pa.array(~lost)))
    return derived.close()


_GROUP = {kind: ["group"] for kind in SIDES}
