from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from mlcl.core.text import normalise_key
from mlcl.retrieval.tfidf import TfidfEncoder
from mlcl.stages.pipelines._held_out import (
    Pool,
    Score,
    Space,
    accuracy,
    all_texts,
    averages,
    fill_pools,
    read_held_out,
    score,
    write_texts,
)


def test_held_out_messages_are_masked_distinct_and_counted(package: str, held_out_messages: list[str]):
    pools, dropped = read_held_out([package])
    assert set(pools) == {"de", "el"}
    assert len(pools["el"].english) == len(held_out_messages)
    assert len(pools["de"].english) == len(held_out_messages) - 2
    assert dropped["identical sides"] == 1
    assert dropped["repeated message"] == 1
    assert dropped["a variety of English"] == len(held_out_messages)
    for pool in pools.values():
        assert "%(name)s" not in " ".join(pool.english + pool.translations)
        assert len({normalise_key(text) for text in pool.english}) == len(pool.english)
        assert set(pool.raw_english) <= set(held_out_messages)
        assert len(pool.raw_translations) == len(pool.translations) == len(pool.english)


def test_every_held_out_text_is_written_as_it_stands_in_the_catalog(package: str, tmp_path: Path):
    pools, _ = read_held_out([package])
    write_texts(pools, tmp_path / "texts.jsonl")
    rows = [json.loads(line) for line in (tmp_path / "texts.jsonl").read_text(encoding="utf-8").split("\n")[:-1]]
    assert {row["text"] for row in rows if row["lang"] == "de"} == set(pools["de"].raw_translations)
    assert any("%(name)s" in row["text"] for row in rows)


class Corpus:
    """What `fill_pools` asks of a corpus."""

    def __init__(self, rows: list[tuple[str, str, str, str]]) -> None:
        self.rows = rows

    def pair_batches(self, columns: list[str]):
        yield pa.RecordBatch.from_pylist([dict(zip(columns, row, strict=True)) for row in self.rows])


def pool_of(language: str, pairs: dict[str, str]) -> Pool:
    english, translations = list(pairs), list(pairs.values())
    return Pool(language, english, translations, raw_english=english, raw_translations=translations)


def test_pools_are_filled_with_texts_that_are_no_answer():
    pools = {"de": pool_of("de", {"one": "eins", "two": "zwei"}), "fr": pool_of("fr", {"two": "deux", "six": "six!"})}
    corpus = Corpus(
        [
            ("en", "three", "de", "drei"),
            ("en", "four", "de", "Eins!"),  # its German is an answer
            ("en", "Five", "de", "fünf"),
            ("en", "five", "de", "FÜNF"),
            ("en", "seven", "fr", "sept"),
            ("fr", "sept", "de", "sieben"),  # not with English
        ]
    )
    assert fill_pools(pools, corpus, size=5, seed=0) == 0
    german = pools["de"]
    assert set(german.more_english) <= {"six", "three", "four", "Five", "five", "seven"}
    assert german.more_english[0] == "six", "other held-out messages come first"
    assert len(german.more_english) == 3
    assert {normalise_key(text) for text in german.more_translations} == {"drei", "fünf"}
    assert german.training_pairs == 4
    assert german.size == 4


def test_messages_that_training_has_but_for_a_placeholder_are_taken_out():
    pools = {"de": pool_of("de", {"Delete …": "… löschen", "Add": "Neu"}), "fr": pool_of("fr", {"Delete …": "x"})}
    assert fill_pools(pools, Corpus([("en", "Delete %(name)s", "it", "Elimina %(name)s")]), size=1, seed=0) == 2
    assert list(pools) == ["de"]
    assert pools["de"].translations == ["Neu"]


def test_accuracy_counts_ties_as_errors():
    similarities = np.array([[0.9, 0.1, 0.2], [0.5, 0.5, 0.1], [0.3, 0.2, 0.1]])
    assert accuracy(similarities) == pytest.approx(100 / 3)
    assert accuracy(np.eye(3, 5)) == 100.0
    assert similarities[0, 0] == 0.9, "the argument is left as it is"


def test_scores_of_a_perfect_and_a_blind_encoder():
    english, german = ["one", "two", "three"], ["eins", "zwei", "drei"]
    pool = Pool("de", english, german, more_english=["four"], more_translations=["vier"], training_pairs=7)
    meaning = {text: row for row, text in enumerate(english + ["four"])}
    meaning |= {text: row for row, text in enumerate([*german, "vier"])}
    perfect = Space(lambda texts: np.eye(4)[[meaning[text] for text in texts]] * 3, all_texts({"de": pool}))
    (best,) = score({"de": pool}, perfect, pool_size=4, min_messages=3)
    assert best == Score("de", 100.0, 100.0, messages=3, pool=4, training_pairs=7, counted=True)
    blind = Space(lambda texts: np.ones((len(texts), 2)), all_texts({"de": pool}))
    (worst,) = score({"de": pool}, blind, pool_size=5, min_messages=3)
    assert worst.mean == 0
    assert not worst.counted, "the pool is too small"


def test_tfidf_finds_shared_strings_and_nothing_else():
    texts = ["Administration", "Die Administration", "Kennwort", "password"]
    similarity = Space(TfidfEncoder(), texts)
    values = similarity(["Administration", "password"], ["Die Administration", "Kennwort"])
    assert values.shape == (2, 2)
    assert values[0, 0] > 0.5 > values[0, 1]
    assert similarity(["Kennwort"], ["Kennwort"])[0, 0] == pytest.approx(1.0)


def test_averages_are_over_languages_that_count():
    def of(language: str, value: float, pairs: int, counted: bool = True) -> Score:
        return Score(language, value, value + 10, 50, 400, pairs, counted)

    scores = [of("de", 80, 1000), of("el", 50, 1000), of("th", 20, 499), of("ja", 0, 5000, counted=False)]
    assert averages(scores) == {
        "all languages": (pytest.approx(55.0), 3),
        "non-Latin script, 500 training pairs or more": (pytest.approx(55.0), 1),
    }
