"""Words that tell a topic from the others, in each language of its own.

In: texts, their languages and topics. Out: words of texts (`words_of`) and labels (`label`). Words of a topic are
weighed against the other topics *of the same language* by c-TF-IDF (Grootendorst 2022, arXiv 2203.05794), so a label in
a small language does not drown in a large one. There are no stop-word lists: frequent words of a language are left out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from mlcl.core.errors import require
from mlcl.core.progress import track
from mlcl.text.segmentation import segment
from mlcl.topics.cluster import EXTRA, OUTLIER

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

_FREQUENT = 0.05  # share of a language's texts from which on a word says nothing about a topic
_FEW = 40  # texts of a language below which frequencies say nothing


def words_of(texts: Sequence[str], languages: Sequence[str], show_progress: bool = False) -> list[list[str]]:
    """Words of each text that may stand in a label: casefolded, with a letter, and not frequent in their language.

    Args:
        texts: N texts.
        languages: Their languages.
        show_progress: Show a progress bar.

    Raises:
        UserError: the segmentation library of a language is not installed.
    """
    rows = [
        [word.casefold() for word in segment(text, language) if any(character.isalpha() for character in word)]
        for text, language in track(list(zip(texts, languages, strict=True)), "finding words", show=show_progress)
    ]
    counts: dict[str, Counter[str]] = {}
    for row, language in zip(rows, languages, strict=True):
        counts.setdefault(language, Counter()).update(set(row))
    sizes = Counter(languages)
    frequent = {
        language: {word for word, count in found.items() if count > max(_FREQUENT * sizes[language], 2)}
        for language, found in counts.items()
        if sizes[language] >= _FEW
    }
    return [
        [word for word in row if word not in frequent.get(language, ())]
        for row, language in zip(rows, languages, strict=True)
    ]


def label(
    words: Sequence[Sequence[str]], languages: Sequence[str], topics: np.ndarray, number: int = 8
) -> dict[int, dict[str, list[str]]]:
    """Topic -> language -> its most telling words, best first.

    Args:
        words: Words of each of N texts, as `words_of` gives them.
        languages: Their languages.
        topics: (N,) their topics.
        number: Most words of a label.

    Returns:
        All topics; within a topic the languages in which it has a word, largest share of texts first.
    """
    require("sklearn", EXTRA)
    from sklearn.feature_extraction.text import CountVectorizer

    names = [int(topic) for topic in np.unique(topics[topics != OUTLIER])]
    sizes = Counter(zip(topics.tolist(), languages, strict=True))
    labels: dict[int, dict[str, list[str]]] = {topic: {} for topic in names}
    for language in sorted(set(languages)):
        joined: dict[int, list[str]] = {topic: [] for topic in names}
        for row, topic, other in zip(words, topics.tolist(), languages, strict=True):
            if other == language and topic != OUTLIER:
                joined[topic] += row
        present = [topic for topic in names if joined[topic]]
        if not present:
            continue
        counter = CountVectorizer(analyzer=list)
        counts = counter.fit_transform([joined[topic] for topic in present])  # (topics, words)
        weights = class_tfidf(counts)
        vocabulary = counter.get_feature_names_out()
        for place, topic in enumerate(present):
            row = weights[place]
            best = np.lexsort((row.indices, -row.data))[:number]
            labels[topic][language] = [str(vocabulary[column]) for column in row.indices[best]]
    return {
        topic: dict(sorted(found.items(), key=lambda item: (-sizes[topic, item[0]], item[0])))
        for topic, found in labels.items()
    }


def class_tfidf(counts: csr_matrix) -> csr_matrix:
    """c-TF-IDF weights: sqrt(share of the word in its topic) * log(1 + mean words of a topic / count of the word).

    As BERTopic's `ClassTfidfTransformer(reduce_frequent_words=True)`, which fails on a vocabulary of one word.

    Args:
        counts: (topics, words) counts; no topic and no word is empty.
    """
    weights = counts.astype(np.float64).tocsr()
    of_topic = np.asarray(weights.sum(axis=1)).ravel()
    of_word = np.asarray(weights.sum(axis=0)).ravel()
    rarity = np.log1p(of_topic.mean() / of_word)
    weights.data = np.sqrt(weights.data / np.repeat(of_topic, np.diff(weights.indptr))) * rarity[weights.indices]
    return weights
