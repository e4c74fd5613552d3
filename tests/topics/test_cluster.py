from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import adjusted_rand_score

from mlcl.core.errors import UserError
from mlcl.topics.cluster import OUTLIER, ClusterOptions, _assigned, _by_size, centred, cluster

pytest.importorskip("bertopic")


def blobs(sizes=(60, 40, 50), dimensions=16, spread=0.08, seed=0):
    generator = np.random.default_rng(seed)
    centres = generator.normal(size=(len(sizes), dimensions))
    of = np.repeat(np.arange(len(sizes)), sizes)
    rows = centres[of] / np.linalg.norm(centres[of], axis=1, keepdims=True)
    rows = rows + spread * generator.normal(size=rows.shape)
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32), of


def test_groups_are_found_and_numbered_by_size():
    vectors, of = blobs()
    words = [[f"w{group}", f"v{place % 7}"] for place, group in enumerate(of)]
    topics = cluster(vectors, words, ClusterOptions(min_topic_size=10))
    assert adjusted_rand_score(of, topics) > 0.98
    assert np.bincount(topics).tolist() == sorted(np.bincount(topics).tolist(), reverse=True)
    assert (topics == cluster(vectors, words, ClusterOptions(min_topic_size=10))).all()
    two = cluster(vectors, words, ClusterOptions(min_topic_size=10, topics=2))
    assert set(two) == {0, 1}


def test_outliers_join_the_nearest_topic_or_stay():
    vectors = np.array([[1, 0], [0.9, 0.1], [0, 1], [0.2, 1], [0.7, 0.6]], dtype=np.float32)
    topics = np.array([5, 5, 2, 2, OUTLIER])
    assert _assigned(topics, vectors).tolist() == [5, 5, 2, 2, 5]
    assert _by_size(np.array([4, OUTLIER, 7, 7, 4, 7])).tolist() == [1, OUTLIER, 0, 0, 1, 0]


def test_centring_takes_out_what_a_language_shares():
    content, of = blobs((30, 30), spread=0.02)
    languages = ["de" if place % 2 else "en" for place in range(60)]
    corner = np.array([[3.0 * (tag == "de"), 3.0 * (tag == "en")] for tag in languages])
    vectors = np.hstack([content, corner])
    rows = centred(vectors, languages)
    assert np.linalg.norm(rows, axis=1) == pytest.approx(1)
    for topic in (0, 1):
        same = rows[of == topic]
        assert (same @ same.T).min() > 0.8
        assert (same @ rows[of != topic].T).max() < 0
    biased = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    assert (biased @ biased.T)[0, 1] < 0.3  # one topic, two languages


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (ClusterOptions(min_topic_size=100), "150 texts are too few for topics of 100"),
        (ClusterOptions(min_topic_size=1), "min_topic_size is 1"),
        (ClusterOptions(min_topic_size=0), "min_topic_size is 0"),
        (ClusterOptions(seed=-1), "clusters.seed is -1"),
        (ClusterOptions(topics=0), "topics is 0"),
    ],
)
def test_wrong_sizes(options, reason):
    vectors, _ = blobs()
    with pytest.raises(UserError, match=reason):
        cluster(vectors, [["a"]] * len(vectors), options)
