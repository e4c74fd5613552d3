"""The token store: every sentence once, with its language, group and origin."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from transformers import AutoTokenizer

from mlcl.corpus.store import Corpus, CorpusWriter
from mlcl.training.token_store import TokenStore, open_or_build


@pytest.fixture
def corpus(tmp_path: Path) -> Corpus:
    writer = CorpusWriter(tmp_path / "corpus")
    row = {"source_lang": "en", "source": "the page", "group": 7, "document": ""}
    writer.write_pairs(
        [
            {**row, "target_lang": "de", "target": "die Seite", "origin": "a"},
            {**row, "target_lang": "ja", "target": "ページ", "origin": "a"},
            {**row, "target_lang": "de", "target": "das Blatt", "origin": "b"},
        ]
    )
    writer.write_mono([{"lang": "sw", "text": "ukurasa", "group": 9, "document": "", "origin": "c"}])
    writer.close()
    return Corpus.open(tmp_path / "corpus")


def test_every_sentence_once_with_language_group_and_the_origin_where_it_came_first(corpus, tiny_model, tmp_path):
    tokenizer = AutoTokenizer.from_pretrained(tiny_model)
    store = open_or_build(corpus, tokenizer, 32, tmp_path)
    found = [
        (store.languages[store.language[i]], int(store.group[i]), store.origins[store.origin[i]])
        for i in range(len(store))
    ]
    assert found == [("en", 7, "a"), ("de", 7, "a"), ("ja", 7, "a"), ("de", 7, "b"), ("sw", 9, "c")]
    assert store.parallel == 4
    assert store.origin.dtype == np.uint16
    texts = ["the page", "die Seite", "ページ", "das Blatt", "ukurasa"]
    for i, text in enumerate(texts):
        assert store.sentence(i).tolist() == tokenizer(text)["input_ids"]


def test_groups_can_be_left_out(corpus, tiny_model, tmp_path):
    store = open_or_build(corpus, AutoTokenizer.from_pretrained(tiny_model), 32, tmp_path)
    left = store.without_groups(np.array([7]))
    assert left.group.tolist() == [-1, -1, -1, -1, 9]
    assert store.group.tolist() == [7, 7, 7, 7, 9]
    assert left.sentence(4).tolist() == store.sentence(4).tolist()
    assert store.without_groups(np.empty(0, np.int64)) is store


def test_a_store_of_an_older_version_is_not_read_but_made_again(corpus, tiny_model, tmp_path, monkeypatch):
    tokenizer = AutoTokenizer.from_pretrained(tiny_model)
    monkeypatch.setattr("mlcl.training.token_store._VERSION", 1)
    open_or_build(corpus, tokenizer, 32, tmp_path)
    (old,) = (corpus.path / "tokens").iterdir()
    (old / "origin.npy").unlink()
    monkeypatch.undo()
    assert isinstance(open_or_build(corpus, tokenizer, 32, tmp_path), TokenStore)
    assert len(list((corpus.path / "tokens").iterdir())) == 2
