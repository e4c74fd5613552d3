"""Hard negatives by group: of the pairs drawn, with the groups that the texts themselves have."""

from __future__ import annotations

import numpy as np

from mlcl.corpus.store import Corpus, CorpusWriter
from mlcl.training.negative_store import negative_store


def spelled(tokenizer, ids):
    """What the pieces spell; the tiny tokenizer has no decoder."""
    pieces = tokenizer.convert_ids_to_tokens(ids, skip_special_tokens=True)
    return "".join(pieces).replace("▁", " ").strip()


def corpus_with(folder, *negatives):
    writer = CorpusWriter(folder)
    names = ["page", "password", "Seite", "Enter"]
    writer.write_pairs(
        [
            {"source_lang": "en", "target_lang": "de", "source": name, "target": f"die {name}", "group": number,
             "document": "", "origin": "made-up", "negatives": texts}
            for number, (name, texts) in enumerate(zip(names, negatives, strict=False))
        ]
    )  # fmt: skip
    writer.write_mono([{"lang": "en", "text": "was deleted", "group": 9, "document": "", "origin": "made-up"}])
    writer.close()
    return Corpus.open(folder)


def test_negatives_come_with_their_own_groups(tmp_path, tokenizer):
    corpus = corpus_with(tmp_path, ["die password", "was deleted"], None, ["your"], [])
    store = negative_store(corpus, tokenizer, 60)
    assert len(store) == 3
    rng = np.random.default_rng(0)
    ids, own = store.draw(np.array([0, 1, 2, -1, 77]), 2, rng)
    found = {spelled(tokenizer, text): group for text, group in zip(ids, own, strict=True)}
    assert found == {"die password": 1, "was deleted": 9, "your": -1}
    ids, own = store.draw(np.array([1, 3, -1]), 2, rng)
    assert (ids, own.tolist()) == ([], [])


def test_a_text_without_a_group_elsewhere_keeps_the_one_it_has(tmp_path, tokenizer):
    writer = CorpusWriter(tmp_path)
    place = {"document": "", "origin": "made-up"}
    pairs = [("page", "die page", ["die password"]), ("password", "die password", None)]
    writer.write_pairs(
        [
            {"source_lang": "en", "target_lang": "de", "source": source, "target": target, "group": number,
             "negatives": negatives, **place}
            for number, (source, target, negatives) in enumerate(pairs)
        ]
    )  # fmt: skip
    writer.write_mono([{"lang": "de", "text": "die password", "group": -1, **place}])
    writer.close()
    store = negative_store(Corpus.open(tmp_path), tokenizer, 60)
    assert store.own.tolist() == [1]


def test_as_many_as_asked_for_drawn_anew_each_time(tmp_path, tokenizer):
    texts = ["was deleted", "your", "the page", "Enter your"]
    store = negative_store(corpus_with(tmp_path, texts, texts), tokenizer, 60)
    rng, seen = np.random.default_rng(0), set()
    for _ in range(30):
        ids, own = store.draw(np.array([0]), 1, rng)
        assert len(ids) == len(own) == 1
        seen.add(spelled(tokenizer, ids[0]))
    assert seen == set(texts)
    assert len(store.draw(np.array([0, 1]), 4, rng)[0]) == 4  # both draw all, each text comes once


def test_a_corpus_without_negatives_has_no_store(tmp_path, tokenizer):
    assert negative_store(corpus_with(tmp_path, None, []), tokenizer, 60) is None


def test_long_negatives_are_cut(tmp_path, tokenizer):
    store = negative_store(corpus_with(tmp_path, ["your page " * 20]), tokenizer, 8)
    (ids,), _ = store.draw(np.array([0]), 1, np.random.default_rng(0))
    assert len(ids) == 8
