"""Clusters of vectors by BERTopic (Grootendorst 2022, arXiv 2203.05794): UMAP, then HDBSCAN.

In: vectors of texts and their words. Out: the topic of each text, numbered from 0 by size; -1 is none. `centred` is the
usual remedy where clusters follow languages. Needs the extra `topics`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mlcl.core.errors import UserError, require

EXTRA = "topics"
OUTLIER = -1
_NEIGHBOURS, _DIMENSIONS = 15, 5  # of UMAP, as in BERTopic


@dataclass(frozen=True)
class ClusterOptions:
    """How texts are put together."""

    min_topic_size: int | None = None
    """Fewest texts of a topic; by default a hundredth of the collection, but 10 to 200."""
    topics: int | None = None
    """Merge the most similar topics until so many are left."""
    outliers: bool = False
    """Leave texts that lie between topics without one; by default they join the topic with the nearest mean."""
    seed: int = 0
    """Seed of UMAP; with a seed, results repeat."""


def centred(vectors: np.ndarray, languages: Sequence[str]) -> np.ndarray:
    """Unit vectors less the mean of their language, scaled to length 1 again.

    The mean of a language holds what its vectors share whatever they say. Taking it out makes clusters follow content,
    as long as all languages are about the same things: where they are not, part of their content is taken out as well.

    Args:
        vectors: (N, D).
        languages: Language of each of the N texts.
    """
    from mlcl.retrieval.knn import unit

    rows = np.asarray(unit(vectors)).copy()
    names, of = np.unique(np.asarray(languages), return_inverse=True)
    for number in range(len(names)):
        here = of == number
        rows[here] -= rows[here].mean(axis=0)
    return np.asarray(unit(rows))


def topic_size(options: ClusterOptions, texts: int) -> int:
    """Fewest texts of a topic among so many.

    Raises:
        UserError: options out of range, or too few texts for them.
    """
    size = int(np.clip(texts / 100, 10, 200)) if options.min_topic_size is None else options.min_topic_size
    if size < 2 or (options.topics is not None and options.topics < 1):
        raise UserError(f"min_topic_size is {size} and topics is {options.topics}; they must be at least 2 and 1")
    if not 0 <= options.seed < 2**32:
        raise UserError(f"clusters.seed is {options.seed}, it must be at least 0 and below 2^32")
    if texts < max(2 * size, _NEIGHBOURS + 1):
        raise UserError(
            f"{texts} texts are too few for topics of {size}",
            remedy="give more texts or lower clusters.min_topic_size",
        )
    return size


def cluster(vectors: np.ndarray, words: Sequence[Sequence[str]], options: ClusterOptions) -> np.ndarray:
    """The topic of each text.

    Args:
        vectors: (N, D) unit vectors.
        words: Words of each text, for BERTopic's own topic representation, by which similar topics are merged.
        options: Sizes, numbers and seed.

    Returns:
        (N,) int64: topics from 0, the largest first; `OUTLIER` for none.

    Raises:
        UserError: BERTopic is not installed, too few texts, or no topic among them.
    """
    require("bertopic", EXTRA)
    size = topic_size(options, len(vectors))
    from bertopic import BERTopic
    from hdbscan import HDBSCAN
    from sklearn.feature_extraction.text import CountVectorizer
    from umap import UMAP

    model = BERTopic(
        embedding_model=None,
        umap_model=UMAP(
            n_neighbors=_NEIGHBOURS, n_components=_DIMENSIONS, min_dist=0.0, metric="cosine",
            random_state=options.seed, n_jobs=1,  # a seed and several threads exclude each other
        ),
        hdbscan_model=HDBSCAN(min_cluster_size=size, metric="euclidean", cluster_selection_method="eom"),
        vectorizer_model=CountVectorizer(analyzer=str.split),
    )  # fmt: skip
    texts = [" ".join(row) or "-" for row in words]  # its vocabulary must not be empty
    found, _ = model.fit_transform(texts, np.asarray(vectors, dtype=np.float32))
    if options.topics is not None and max(found) + 1 > options.topics:
        model.reduce_topics(texts, nr_topics=options.topics + (OUTLIER in found))  # it counts outliers as a topic
        found = model.topics_
    topics = np.asarray(found, dtype=np.int64)
    if (topics == OUTLIER).all():
        raise UserError(
            f"no group of {size} texts is denser than its surroundings", remedy="lower clusters.min_topic_size"
        )
    if not options.outliers:
        topics = _assigned(topics, vectors)
    return _by_size(topics)


def _assigned(topics: np.ndarray, vectors: np.ndarray) -> np.ndarray:
    """Outliers go to the topic whose mean vector is nearest."""
    from mlcl.retrieval.knn import unit

    names = np.unique(topics[topics != OUTLIER])
    means = np.asarray(unit(np.stack([vectors[topics == name].mean(axis=0) for name in names])))  # (topics, D)
    lost = np.flatnonzero(topics == OUTLIER)
    result = topics.copy()
    result[lost] = names[(vectors[lost] @ means.T).argmax(axis=1)]
    return result


def _by_size(topics: np.ndarray) -> np.ndarray:
    """The same topics, numbered from 0 by size; outliers stay."""
    names, counts = np.unique(topics[topics != OUTLIER], return_counts=True)
    rank = {int(name): place for place, name in enumerate(names[np.argsort(-counts, kind="stable")])}
    return np.array([rank.get(int(topic), OUTLIER) for topic in topics], dtype=np.int64)
