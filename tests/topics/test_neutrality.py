from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import adjusted_mutual_info_score, mutual_info_score

from mlcl.topics.cluster import OUTLIER
from mlcl.topics.neutrality import agreement, entropies, language_variance, mean_entropy


def test_entropy_of_mixed_and_of_pure_topics():
    languages = ["de", "en", "fr", "es"] * 6
    mixed = np.repeat([0, 1], 12)
    assert entropies(mixed, languages) == {0: pytest.approx(1), 1: pytest.approx(1)}
    pure = np.array([0, 1, 2, 3] * 6)
    assert mean_entropy(pure, languages) == 0
    half = np.array([0, 0, 1, 1] * 6)
    assert mean_entropy(half, languages) == pytest.approx(0.5)
    assert mean_entropy(np.zeros(4, int), ["de"] * 4) == 1


def test_the_mean_is_one_less_the_share_of_information_about_the_language():
    generator = np.random.default_rng(0)
    topics, of = generator.integers(0, 5, 400), generator.integers(0, 3, 400) ** 2
    topics[of == 4] = generator.integers(0, 2, (of == 4).sum())
    languages = [f"l{n}" for n in of]
    shares = np.bincount(of)[np.bincount(of) > 0] / 400
    entropy = -(shares * np.log(shares)).sum()
    assert mean_entropy(topics, languages) == pytest.approx(1 - mutual_info_score(of, topics) / entropy)


def test_outliers_are_in_no_topic():
    topics = np.array([0, 0, OUTLIER, OUTLIER])
    assert set(entropies(topics, ["de", "en", "de", "en"])) == {0}


def test_variance_between_languages():
    generator = np.random.default_rng(1)
    rows = generator.normal(size=(2000, 4))
    languages = ["de", "en"] * 1000
    assert language_variance(rows, languages) == pytest.approx(0, abs=0.01)
    rows[::2] += 10
    assert language_variance(rows, languages) > 0.9
    assert language_variance(np.ones((4, 2)), ["de"] * 4) == 0


def test_agreement_of_translations():
    #                 sentence 0       1       2       3      alone
    languages = ["en", "de", "en", "de", "en", "de", "en", "fr", "en"]
    groups = ["0", "0", "1", "1", "2", "2", "3", "3", ""]
    topics = np.array([0, 0, 0, 1, 1, 1, 1, 1, 0])
    found = agreement(topics, languages, groups)
    assert (found.languages, found.sentences, found.pivot) == (["de", "en", "fr"], 4, "en")
    assert found.shared[0, 1] == found.shared[1, 0] == pytest.approx(2 / 3)
    assert found.shared[1, 2] == 1
    assert np.isnan(found.shared[0, 2])
    assert found.mean == pytest.approx((2 / 3 + 1) / 2)
    assert found.of_language() == {"de": pytest.approx(2 / 3), "en": pytest.approx(5 / 6), "fr": 1}
    by_chance = (2 / 3 * 1 / 3 + 1 / 3 * 2 / 3, 1.0)  # en 0 0 1, de 0 1 1; en 1, fr 1
    assert found.expected == pytest.approx(np.mean(by_chance))
    expected = [adjusted_mutual_info_score([0, 0, 1], [0, 1, 1]), adjusted_mutual_info_score([1], [1])]
    assert found.mutual_information == pytest.approx(np.mean(expected))


def test_texts_without_a_topic_agree_with_nothing():
    topics = np.array([OUTLIER, OUTLIER, 0, 0])
    found = agreement(topics, ["en", "de", "en", "de"], ["a", "a", "b", "b"])
    assert found.mean == 0.5
    assert found.expected == pytest.approx(0.25)


def test_independent_topics_agree_by_chance_only():
    generator = np.random.default_rng(2)
    topics = generator.integers(0, 4, size=4000)
    groups = [str(place // 2) for place in range(4000)]
    found = agreement(topics, ["en", "de"] * 2000, groups)
    assert found.mean == pytest.approx(found.expected, abs=0.03)
    assert abs(found.mutual_information) < 0.01
    assert agreement(topics, ["en"] * 4000, groups) is None
