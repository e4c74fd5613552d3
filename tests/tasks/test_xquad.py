"""Retrieval from one pool of all languages: ranks, average precision, and what a biased encoder is shown to be."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import label_ranking_average_precision_score

import layouts
from mlcl.core.errors import UserError
from mlcl.formats import xquad as layout
from mlcl.tasks import xquad

TABLE = np.random.default_rng(0).normal(size=(400, 32)).astype(np.float32)


def perfect(texts):
    return TABLE[[layouts.meaning(text) for text in texts]]


def biased(texts):
    """Knows the meaning, but lies in a corner of the space that belongs to its language."""
    codes = [text.split(" in ")[1][:2] for text in texts]
    corner = np.array([[10 * (code == "de"), 10 * (code == "en"), 10 * (code == "zh")] for code in codes])
    return np.hstack([perfect(texts), corner]).astype(np.float32)


def values(results, code="de"):
    return {(r.metric, r.direction): r.value for r in results if r.code == code}


def test_a_language_neutral_encoder(tmp_path):
    layouts.xquad(tmp_path)
    results = xquad.evaluate(perfect, tmp_path)
    for code in ("de", "en", "zh"):
        found = values(results, code)
        assert found["map", "mixed pool"] == found["accuracy", "mixed pool"] == found["mrr", "mixed pool"] == 100
        assert found["mixing_cost", "mixed pool"] == 0
    assert {r.n for r in results if r.code} == {60}


def test_a_biased_encoder_is_perfect_in_pools_of_one_language_and_fails_in_the_mixed_one(tmp_path):
    layouts.xquad(tmp_path)
    found = values(xquad.evaluate(biased, tmp_path))
    assert found["accuracy", "own language"] == found["map", "own language"] == found["accuracy", "across"] == 100
    assert found["pair_accuracy", "de->zh-Hans"] == 100
    assert found["accuracy", "mixed pool"] == 100  # the right passage in the own language
    assert found["own_language_top1", "mixed pool"] == 100
    # The English and the Chinese version come after all 30 German passages
    assert found["map", "mixed pool"] == pytest.approx(100 * (1 + 2 / 31 + 3 / 32) / 3)
    assert found["mixing_cost", "mixed pool"] == pytest.approx(100 - found["map", "mixed pool"])


def test_ranks_and_average_precision_equal_scikit_learn():
    generator = np.random.default_rng(4)
    questions, passages = generator.normal(size=(50, 8)), generator.normal(size=(4 * 20, 8))
    right = generator.integers(0, 20, size=50)
    mixed, alone, top = xquad.ranks(questions, passages, right, 4)
    relevant = np.zeros((50, 80), int)
    for language in range(4):
        relevant[np.arange(50), right + 20 * language] = 1
    scores = questions @ passages.T
    expected = label_ranking_average_precision_score(relevant, scores)
    assert xquad.average_precision(mixed).mean() == pytest.approx(expected)
    assert (top == scores.argmax(axis=1) // 20).all()
    for language in range(4):
        block = scores[:, 20 * language : 20 * language + 20]
        own = block[np.arange(50), right]
        assert (alone[:, language] == (block > own[:, None]).sum(axis=1) + 1).all()


def test_equal_scores_go_to_the_passage_that_stands_first():
    mixed, alone, top = xquad.ranks(np.ones((2, 4)), np.ones((6, 4)), np.array([0, 2]), 2)
    assert mixed.tolist() == [[1, 4], [3, 6]]
    assert alone.tolist() == [[1, 1], [3, 3]]
    assert top.tolist() == [0, 0]


def test_languages_with_other_questions_are_refused(tmp_path):
    layouts.xquad(tmp_path, ("de", "en"))
    layouts.xquad(tmp_path, ("zh",), paragraphs=29)
    with pytest.raises(UserError, match=r"xquad\.zh\.json\.gz: its paragraphs or questions are not those of en"):
        xquad.load(tmp_path, xquad.Options())
    layouts.write(tmp_path / "xquad" / "xquad.zh.json.gz", ['{"data": [{"paragraphs": [{"qas": []}]}]}'])
    with pytest.raises(UserError, match="not SQuAD"):
        xquad.load(tmp_path, xquad.Options())


@pytest.mark.real_data
def test_the_published_files_with_the_answers(data_root):
    readings = layout.load(data_root / "xquad", languages=["en", "de", "zh"])
    assert [reading.tag for reading in readings] == ["en", "de", "zh-Hans"]
    assert {(len(reading.paragraphs), len(reading.questions)) for reading in readings} == {(240, 1190)}
    keys = {key: number for number, key in enumerate(readings[0].paragraphs)}
    of = {text: keys[key] for reading in readings for text, key in reading.questions.values()}
    of.update({text: keys[key] for reading in readings for key, text in reading.paragraphs.items()})
    table = np.random.default_rng(1).normal(size=(240, 24)).astype(np.float32)
    results = xquad.evaluate(
        lambda texts: table[[of[text] for text in texts]], data_root, xquad.Options(languages=["en", "de", "zh"])
    )
    found = values(results, "zh")
    assert found["map", "mixed pool"] > 99  # but for questions asked of two paragraphs
    noise = xquad.evaluate(lambda texts: np.random.default_rng(0).normal(size=(len(texts), 24)), data_root)
    chance = values(noise, "tr")
    assert chance["map", "mixed pool"] < 3
    assert chance["own_language_top1", "mixed pool"] == pytest.approx(100 / 8, abs=4)
