"""Near-duplicates: clusters equal those of all exact Jaccard similarities; pairs go when both sides came before."""

from __future__ import annotations

import json
import random

import numpy as np
import pyarrow as pa
import pytest

pytest.importorskip("rensa")

from mlcl.core.errors import UserError
from mlcl.core.text import key_hash, normalise_key
from mlcl.corpus import near
from mlcl.corpus.build import BuildSettings, build
from mlcl.corpus.near import near_keys
from mlcl.corpus.sources import Source

WORDS = "the committee met on tuesday to discuss a new budget for schools and hospitals in every region".split()


def keys_of(texts):
    return np.array([key_hash(normalise_key(text)) for text in texts], dtype=np.int64)


def run(texts, tmp_path, languages=None, similarity=0.7, cut=7):
    languages = np.zeros(len(texts), np.int64) if languages is None else np.array(languages)
    tables = [pa.table({"text": texts[start : start + cut]}) for start in range(0, len(texts), cut)]
    found = near_keys(tables, languages, keys_of(texts), similarity, tmp_path)
    assert list(tmp_path.glob("signatures*")) == []
    return found


def test_clusters_are_those_of_exact_similarities(tmp_path):
    chance = random.Random(0)
    base = [" ".join(chance.choices(WORDS, k=14)) for _ in range(60)]
    edited = [text.replace(" ", "  ", 1) + " now" for text in base[:30]]
    texts = base + edited + base[:3]
    found = run(texts, tmp_path)
    sets = [set(near.shingles(text)) for text in texts]
    jaccard = np.array([[len(a & b) / len(a | b) for b in sets] for a in sets])
    together = found[:, None] == found[None, :]
    assert together[jaccard > 0.85].all()
    assert not together[jaccard < 0.5].any()
    first = {key: place for place, key in reversed(list(enumerate(found.tolist())))}
    assert all(keys_of([texts[place]])[0] == key for key, place in first.items())  # the key is that of the first text


def test_languages_are_apart_and_short_texts_are_not_compared(tmp_path):
    text = " ".join(WORDS)
    found = run([text, f"{text} now", f"{text} now"], tmp_path, languages=[0, 1, 0])
    assert found[0] == found[2] != found[1]
    assert len(set(run(["Page 1 of 2", "Page 1 of 3"], tmp_path).tolist())) == 2
    chinese = "委员会星期二开会讨论各地区学校和医院的新预算"
    found = run([chinese, f"{chinese}了", "完全不同的一句话，说的是别的事情，没有共同之处"], tmp_path)
    assert found[0] == found[1] != found[2]


def test_build_drops_pairs_whose_sides_both_came_before(tmp_path):
    english, german = " ".join(WORDS), "der ausschuss traf sich am dienstag um über den haushalt zu beraten"
    rows = [
        {"en": english, "de": german},
        {"en": f"{english} now", "de": f"{german} jetzt"},  # both sides
        {"en": f"{english} soon", "de": "etwas ganz anderes steht hier auf der deutschen seite"},  # one side
    ]
    (tmp_path / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    source = Source("jsonl", "pairs.jsonl", options={"texts": {"en": "en", "de": "de"}})
    build(BuildSettings([source], near_duplicates=0.7), tmp_path, tmp_path / "near", show_progress=False)
    manifest = json.loads((tmp_path / "near" / "manifest.json").read_text())
    assert manifest["rows"]["pairs"] == 2
    assert [(drop["reason"], drop["texts"]) for drop in manifest["drops"]] == [("near-duplicate", 2)]
    assert manifest["groups"] == 1  # and what is left is no negative of one another
    assert not (tmp_path / "near" / "signatures.npy").exists()
    build(BuildSettings([source]), tmp_path, tmp_path / "exact", show_progress=False)
    assert json.loads((tmp_path / "exact" / "manifest.json").read_text())["rows"]["pairs"] == 3


@pytest.mark.parametrize("similarity", [0.0, 0.3, 1.5])
def test_a_similarity_out_of_range(tmp_path, similarity):
    settings = BuildSettings([Source("text", "x.txt", options={"language": "en"})], near_duplicates=similarity)
    with pytest.raises(UserError, match="near_duplicates is"):
        build(settings, tmp_path, tmp_path / "out", show_progress=False)
    assert not (tmp_path / "out").exists()
