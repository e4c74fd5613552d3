"""Filters that see the whole corpus: learned lengths, boilerplate, texts near evaluation texts."""

from __future__ import annotations

import json
import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlcl.core.errors import UserError
from mlcl.corpus import lengths
from mlcl.corpus.build import BuildSettings, build
from mlcl.corpus.clean import CleanSettings
from mlcl.corpus.decontaminate import NearIndex
from mlcl.corpus.near import shingles
from mlcl.corpus.sources import Source

WORDS = "the committee met on tuesday to discuss a new budget for schools and hospitals in every region".split()
OTHER = "der ausschuss traf sich gestern um einen neuen haushalt zu beraten und schulen kliniken region".split()


def sentence(chance, words, size):
    return " ".join(chance.choices(words, k=size))


def made(tmp_path, records, evaluation=(), **settings):
    """Build from records `{language: text, ..., "document": name}`; the corpus and its drops by reason."""
    (tmp_path / "texts.jsonl").write_text("".join(json.dumps({"document": "", **row}) + "\n" for row in records))
    languages = sorted({key for record in records for key in record} - {"document"}, reverse=True)
    options = {"texts": {tag: tag for tag in languages}, "document_field": "document"}
    if len(languages) == 1:
        options = {"fields": languages, "language": languages[0], "document_field": "document"}
    sources = []
    if evaluation:
        (tmp_path / "held_out.txt").write_text("".join(line + "\n" for line in evaluation))
        sources = [Source("text", "held_out.txt", options={"language": "en"})]
    build_settings = BuildSettings([Source("jsonl", "texts.jsonl", options=options)], sources, **settings)
    corpus = build(build_settings, tmp_path, tmp_path / "corpus", show_progress=False, overwrite=True)
    assert corpus.manifest["texts"]["read"] == corpus.manifest["texts"]["kept"] + corpus.manifest["texts"]["dropped"]
    return corpus, {drop["reason"]: drop for drop in corpus.manifest["drops"]}


# --- lengths ---------------------------------------------------------------------------------------------------------


def test_lengths_are_learned_although_a_third_is_wrong():
    chance = np.random.default_rng(0)
    first = chance.integers(60, 200, 3000).astype(float)
    second = np.round(1.4 * first + chance.normal(size=3000) * 1.5 * np.sqrt(first))
    second[:1000] *= chance.uniform(0.1, 0.4, 1000)
    known = lengths.learn(first, second)
    assert known.ratio == pytest.approx(1.4, rel=0.2)
    far = np.abs(known.deviations(first, second)) > 4
    assert far[:1000].mean() > 0.9
    assert far[1000:].mean() < 0.01
    assert lengths.learn(first[:199], second[:199]) is None


@given(st.floats(0.2, 5.0), st.integers(0, 2**32 - 1))
def test_lengths_do_not_depend_on_which_language_comes_first(ratio, seed):
    chance = np.random.default_rng(seed)
    first = chance.integers(10, 300, 999).astype(float)
    second = np.maximum(1, np.round(first * ratio * chance.lognormal(0, 0.2, 999)))
    forward, backward = lengths.learn(first, second), lengths.learn(second, first)
    assert forward.ratio == pytest.approx(1 / backward.ratio)
    if min(forward.spread, backward.spread * ratio**0.5) > 0.6:  # above the least spread, which is in characters
        np.testing.assert_allclose(
            forward.deviations(first, second), -backward.deviations(second, first), atol=1e-6, rtol=1e-6
        )


@given(st.lists(st.tuples(st.integers(1, 9), st.integers(1, 9)), min_size=200, max_size=400), st.integers(1, 90))
def test_counted_lengths_teach_what_all_of_them_do(pairs, portion):
    widths = np.array(pairs)
    slow = lengths.learn(*widths.T.astype(float))
    counted = lengths.Lengths()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lengths, "_WAITING", 5)
        for start in range(0, len(widths), portion):
            first, second = widths[start : start + portion].T
            for low in (0, 1):  # a second pair of languages has the same pairs
                counted.add(np.full_like(first, low), np.full_like(first, low + 1), first, second)
    assert counted.learn() == {(0, 1): (slow, len(widths)), (1, 2): (slow, len(widths))}
    values = np.log(widths[:, 1] / widths[:, 0])
    ordered = np.sort(values)
    size = len(ordered) // 2 + 1
    halves = ordered[size - 1 :] - ordered[: len(ordered) - size + 1]
    start = int(np.argmin(halves))
    assert lengths._middle_half(values, np.ones(len(values), np.int64)) == (
        float(ordered[start] + ordered[start + size - 1]) / 2, float(halves[start]) / 2
    )  # fmt: skip


def test_build_drops_translations_of_unusual_length(tmp_path):
    chance = random.Random(0)
    records = []
    for _ in range(300):
        size = chance.randint(8, 30)
        records.append({"en": sentence(chance, WORDS, size), "de": sentence(chance, OTHER, size)})
    records[7]["de"] = " ".join(records[7]["de"].split()[:4])
    records[7]["en"] = sentence(chance, WORDS, 12)
    corpus, drops = made(tmp_path, records, clean=CleanSettings(length_deviations=4))
    assert drops["length ratio"]["samples"] == [f"de: {records[7]['de']}"]
    assert drops["no translation left"]["samples"] == [f"en: {records[7]['en']}"]
    assert corpus.manifest["rows"]["pairs"] == 299
    [learned] = corpus.manifest["length_ratios"]
    assert (learned["source_lang"], learned["target_lang"], learned["pairs"]) == ("en", "de", 300)
    assert 0.8 < learned["ratio"] < 1.3
    few, drops = made(tmp_path, records[:100], clean=CleanSettings(length_deviations=4))
    assert (few.manifest["rows"]["pairs"], drops) == (100, {})
    assert few.manifest["length_ratios"] == []


def test_lengths_of_a_corpus_without_translations(tmp_path):
    corpus, drops = made(tmp_path, [{"en": f"Line {n}"} for n in range(9)], clean=CleanSettings(length_deviations=4))
    assert (corpus.manifest["rows"]["mono"], corpus.manifest["length_ratios"], drops) == (9, [], {})


# --- boilerplate -----------------------------------------------------------------------------------------------------


def test_build_drops_lines_that_many_documents_share(tmp_path):
    notice = "Subscribe to our newsletter today"
    records = [
        {"en": text, "document": f"page {number}"}
        for number in range(5)
        for text in (notice, f"Story number {number} has its own words", "Read more" if number < 4 else "Read less")
    ]
    records += [{"en": "A line without a document"}] * 9 + [{"en": "Said often here", "document": "one"}] * 9
    corpus, drops = made(tmp_path, records, clean=CleanSettings(boilerplate_documents=5))
    assert (drops["boilerplate"]["texts"], drops["boilerplate"]["samples"][0]) == (5, f"en: {notice}")
    texts = [text for batch in corpus.mono_batches() for text in batch["text"].to_pylist()]
    assert "Read more" in texts
    assert notice not in texts
    assert "A line without a document" in texts
    assert "Said often here" in texts


# --- near evaluation texts -------------------------------------------------------------------------------------------


def test_near_index_finds_what_all_exact_similarities_find():
    pytest.importorskip("rensa")
    chance = random.Random(1)
    held_out = [sentence(chance, WORDS, 14) for _ in range(80)]
    asked = [text.replace(" on ", " at ", 1) + " now" for text in held_out[:40]]
    asked += [sentence(chance, WORDS, 14) for _ in range(40)] + ["short", "", held_out[3]]
    index = NearIndex([*held_out, held_out[0], "short"], 0.7)
    assert len(index) == 80
    sets = [set(shingles(text)) for text in held_out]
    slow = [
        bool(mine) and any(len(mine & other) >= 0.7 * len(mine | other) for other in sets)
        for mine in (set(shingles(text)) for text in asked)
    ]
    found = index.find(asked)
    assert found.tolist() == slow
    assert 20 < found.sum() < 50
    assert index.find([]).tolist() == []
    assert NearIndex([], 0.7).find(["a text that is long enough to compare"]).tolist() == [False]


def test_build_drops_records_near_evaluation_texts(tmp_path):
    pytest.importorskip("rensa")
    english, german = " ".join(WORDS), " ".join(OTHER)
    records = [
        {"en": f"{english} now", "de": german},
        {"en": " ".join(reversed(WORDS)), "de": f"{german} jetzt"},
    ]
    held_out = [english, "another text that stands in the evaluation set"]
    corpus, drops = made(tmp_path, records, held_out, near_evaluation=0.7)
    assert (drops["near evaluation text"]["texts"], drops["near evaluation text"]["samples"]) == (
        2, [f"en: {english} now"]
    )  # fmt: skip
    assert corpus.manifest["rows"]["pairs"] == 1
    assert made(tmp_path, records, held_out)[0].manifest["rows"]["pairs"] == 2


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"clean": CleanSettings(length_deviations=0.0)}, "clean.length_deviations is 0.0"),
        ({"clean": CleanSettings(boilerplate_documents=1)}, "clean.boilerplate_documents is 1"),
        ({"clean": CleanSettings(one_language=True)}, "clean.one_language needs an identifier"),
        ({"near_evaluation": 0.1}, "near_evaluation is 0.1"),
    ],
)
def test_mistakes_show_before_any_work(tmp_path, settings, message):
    with pytest.raises(UserError, match=message):
        made(tmp_path, [{"en": "A text"}], **settings)
    assert not (tmp_path / "corpus").exists()


def test_a_hundred_thousand_identical_lines(tmp_path):
    pytest.importorskip("rensa")
    line = "The same line stands here again and again\n"
    (tmp_path / "same.txt").write_text(line * 100_000 + line.replace("again\n", "once more\n"))
    source = Source("text", "same.txt", options={"language": "en"})
    corpus = build(BuildSettings([source], near_duplicates=0.6), tmp_path, tmp_path / "out", show_progress=False)
    assert corpus.manifest["texts"] == {"read": 100_001, "kept": 1, "dropped": 100_000}
    assert {drop["reason"]: drop["texts"] for drop in corpus.manifest["drops"]} == {
        "duplicate": 99_999, "near-duplicate": 1
    }  # fmt: skip
