"""Mining: the halves do not leak, the threshold is that of the tuning half, and counts are those of sets of pairs."""

from __future__ import annotations

import numpy as np
import pytest

import layouts
from mlcl.core.errors import UserError
from mlcl.retrieval import thresholds
from mlcl.retrieval.mining import mine
from mlcl.tasks import bucc
from mlcl.tasks._embedded import EmbeddedTexts

TABLE = np.random.default_rng(0).normal(size=(700, 256)).astype(np.float32)


def perfect(texts):
    return TABLE[[layouts.meaning(text) for text in texts]]


def blurred(texts):
    """Translations are near each other, but not always nearest."""
    noise = [
        np.random.default_rng(sum(map(ord, text)) * 977 + layouts.meaning(text)).normal(size=256) for text in texts
    ]
    return perfect(texts) + 2.0 * np.array(noise)


def values(results, code):
    return {r.metric: r.value for r in results if r.code == code}


def test_all_planted_pairs_are_found_by_an_encoder_that_knows_them(tmp_path):
    layouts.bucc(tmp_path)
    results = bucc.evaluate(perfect, tmp_path)
    for code in ("de", "zh"):
        found = values(results, code)
        assert (found["f1"], found["precision"], found["recall"]) == (100, 100, 100)
    assert {r.n for r in results if r.code} == {10}  # the test half of 20
    assert {r.language for r in results if r.metric == "threshold"} == {"de", "zh-Hans"}


def test_halves_share_no_source_sentence_and_hold_half_of_everything(tmp_path):
    layouts.bucc(tmp_path, ("de",), n=300, planted=100)
    (pair,) = bucc.load(tmp_path, bucc.Options())
    embedded = EmbeddedTexts(blurred, [*pair.texts.values(), *pair.english.values()])
    tuning, test = bucc.halves(pair, embedded, bucc.Options())
    assert len(tuning.gold) == len(test.gold) == 50
    sources = [set(half.source) | set(half.gold) for half in (tuning, test)]
    assert not sources[0] & sources[1]
    in_test = thresholds.in_test_half(list(pair.texts.values()), set(range(100)))
    assert (in_test.sum(), in_test[:100].sum()) == (150, 50)
    every = mine(embedded.of(list(pair.texts.values())), embedded.of(list(pair.english.values())))[2]
    assert sorted([*tuning.score, *test.score]) == sorted(every), "each candidate is in exactly one half"


def test_labels_of_the_test_half_do_not_move_the_threshold(tmp_path):
    layouts.bucc(tmp_path, ("de",), n=300, planted=100)
    (pair,) = bucc.load(tmp_path, bucc.Options())
    embedded = EmbeddedTexts(blurred, [*pair.texts.values(), *pair.english.values()])
    tuning, test = bucc.halves(pair, embedded, bucc.Options())
    before = values(bucc.evaluate(blurred, tmp_path), "de")
    assert before["threshold"] == thresholds.best_threshold(tuning) != thresholds.best_threshold(test)

    # Other English sentences for the gold pairs of the test half, as if it were labelled all wrong
    place = {text: row for row, text in enumerate(dict.fromkeys(pair.texts.values()))}
    of_test = {left for left, _ in pair.gold if place[pair.texts[left]] in set(test.gold)}
    lines = [f"{left}\t{'en-599' if left in of_test else right}" for left, right in pair.gold]
    english = [f"{key}\t{text}" for key, text in pair.english.items()] + ["en-599\t" + layouts.sentence("en", 650)]
    layouts.write(tmp_path / "bucc2018" / "de-en" / "de-en.sample.gold.gz", lines)
    layouts.write(tmp_path / "bucc2018" / "de-en" / "de-en.sample.en.gz", english)
    after = values(bucc.evaluate(blurred, tmp_path), "de")
    assert after["threshold"] == pytest.approx(before["threshold"], rel=0.05)  # one more candidate sentence
    assert after["recall"] <= 2 < before["recall"]


def test_the_numbers_are_those_of_sets_of_pairs(tmp_path):
    layouts.bucc(tmp_path, ("de",), n=300, planted=100)
    (pair,) = bucc.load(tmp_path, bucc.Options())
    embedded = EmbeddedTexts(blurred, [*pair.texts.values(), *pair.english.values()])
    tuning, test = bucc.halves(pair, embedded, bucc.Options())
    taken = {
        (half, place)
        for half, part in enumerate((tuning, test))
        for place, score in enumerate(part.score)
        if score >= thresholds.best_threshold(tuning)
    }
    hits = sum(test.right[place] for half, place in taken if half == 1)
    found = values(bucc.evaluate(blurred, tmp_path), "de")
    assert found["precision"] == pytest.approx(100 * hits / len([1 for half, _ in taken if half == 1]))
    assert found["recall"] == pytest.approx(100 * hits / 50)
    harmonic = 2 / (1 / found["precision"] + 1 / found["recall"])
    assert found["f1"] == pytest.approx(harmonic)
    assert 20 < harmonic < 95
    (row,) = [r for r in bucc.evaluate(blurred, tmp_path) if r.code and r.metric == "f1"]
    assert 4 < row.high - row.low < 40


@pytest.mark.parametrize(
    ("score", "right", "gold", "expected"),
    [
        ([0.9, 0.8, 0.6, 0.5], [1, 1, 0, 1], 3, 0.5),  # F1: .5 .8 .67 .86
        ([0.9, 0.8, 0.6, 0.5], [1, 1, 0, 0], 3, 0.7),
        ([0.9, 0.8, 0.8, 0.5], [1, 1, 0, 0], 2, 0.65),  # equal scores cannot be told apart
        ([0.9], [0], 3, np.nextafter(0.9, 1)),
        ([], [], 3, np.nextafter(0.0, 1)),
    ],
)
def test_best_threshold(score, right, gold, expected):
    half = thresholds.Half(np.array(score), np.array(right, bool), np.arange(len(score)), np.arange(gold))
    assert thresholds.best_threshold(half) == pytest.approx(expected)


def test_copies_of_a_sentence_are_one(tmp_path):
    layouts.bucc(tmp_path, ("de",))
    file = tmp_path / "bucc2018" / "de-en" / "de-en.sample.de.gz"
    lines = [f"de-{i}\t{layouts.sentence('de', i)}" for i in range(60)]
    layouts.write(file, [f"de-copy{i}\t{layouts.sentence('de', i)}" for i in range(20)] + lines)
    assert values(bucc.evaluate(perfect, tmp_path), "de")["f1"] == 100


def test_too_few_gold_pairs(tmp_path):
    layouts.bucc(tmp_path, ("de",), planted=3)
    with pytest.raises(UserError, match="de-en has 3 gold pairs"):
        bucc.load(tmp_path, bucc.Options())


@pytest.mark.real_data
def test_the_published_sample_with_the_answers(data_root):
    (pair,) = bucc.load(data_root, bucc.Options())
    group = {}
    for number, (left, right) in enumerate(pair.gold):
        group[pair.texts[left]] = group[pair.english[right]] = number

    def oracle(texts):
        generator = np.random.default_rng(3)
        shared = generator.normal(size=(len(pair.gold), 32))
        rows = generator.normal(size=(len(texts), 32))
        known = [place for place, text in enumerate(texts) if text in group]
        rows[known] = shared[[group[texts[place]] for place in known]]
        return rows.astype(np.float32)

    found = values(bucc.evaluate(oracle, data_root), "zh")
    assert found["f1"] == pytest.approx(100, abs=1)
