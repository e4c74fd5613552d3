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
from mlcl.corpus.sources import Source

WORDS = "the committee met on tuesday to discuss a new budget for schools and hospitals in every region".split()


def keys_of(texts):
    return np.array([key_hash(normalise_key(text)) for text in texts], dtype=np.int64)


def run(texts, tmp_path, languages=None, similarity=0.7, cut=7):
    languages = np.zeros(len(texts), np.int64) if languages is None else np.array(languages)
    columns = np.arange(len(texts)), languages, keys_of(texts)

    def blocks():
        for start in range(0, len(texts), cut):
            yield tuple(column[start : start + cut] for column in columns)

    def in_blocks():
        for start in range(0, len(texts), cut):
            yield pa.chunked_array([texts[start : start + cut]])

    found = near.near_blocks(blocks, in_blocks, len(texts), similarity, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["near-keys"]
    once, again = ([np.concatenate(column) for column in zip(*found(), strict=True)] for _ in range(2))
    for mine, theirs, same in zip(once[:2], columns[:2], again[:2], strict=True):
        assert np.array_equal(mine, theirs)
        assert np.array_equal(mine, same)
    assert np.array_equal(once[2], again[2])
    return once[2]


def slow(texts, languages, similarity):
    """The same without files, hashes or arrays: compare whatever shares a band, and take the first of each cluster."""
    first = {}
    for place, (text, lang) in enumerate(zip(texts, languages, strict=True)):
        first.setdefault((lang, normalise_key(text)), place)
    nodes = [place for place in first.values() if near.shingles(texts[place])]
    signatures = {place: np.array(near.signature(near.shingles(texts[place])), np.uint32) for place in nodes}
    root = {place: place for place in nodes}

    def find(place):
        while root[place] != place:
            place = root[place]
        return place

    for band in range(0, near.PERMUTATIONS, near.ROWS):
        buckets = {}
        for place in nodes:
            values = tuple(signatures[place][band : band + near.ROWS].tolist())
            bucket = buckets.setdefault((languages[place], values), [])
            for other in {bucket[0], bucket[-1]} if bucket else ():
                if (signatures[place] == signatures[other]).mean() >= similarity:
                    low, high = sorted((find(place), find(other)))
                    root[high] = low
            bucket.append(place)
    keys = keys_of(texts)
    of_text = (first[lang, normalise_key(text)] for text, lang in zip(texts, languages, strict=True))
    return [keys[find(place) if place in root else place] for place in of_text]


@pytest.mark.parametrize(("cut", "rows"), [(1000, 10**6), (13, 40), (1, 7)])
def test_files_and_blocks_change_nothing(tmp_path, monkeypatch, cut, rows):
    monkeypatch.setattr(near, "TEXTS", rows)
    monkeypatch.setattr(near, "_AT_ONCE", 5)
    chance = random.Random(3)
    texts = []
    for _ in range(40):
        words = chance.choices(WORDS, k=12)
        for _ in range(chance.randint(1, 5)):
            texts.append(" ".join(words))
            words[chance.randrange(len(words))] = chance.choice(WORDS)
    texts += [*chance.choices(texts, k=30), "short", "short", ""]
    chance.shuffle(texts)
    languages = [chance.randrange(2) for _ in texts]
    found = run(texts, tmp_path, languages, 0.6, cut)
    assert found.tolist() == slow(texts, languages, 0.6)
    assert len(set(found.tolist())) < 0.8 * len(set(keys_of(texts).tolist()))


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
    assert {path.name for path in (tmp_path / "near").iterdir()} == {
        "README.md",
        "manifest.json",
        "pairs",
        "report.html",
    }
    build(BuildSettings([source]), tmp_path, tmp_path / "exact", show_progress=False)
    assert json.loads((tmp_path / "exact" / "manifest.json").read_text())["rows"]["pairs"] == 3


@pytest.mark.parametrize("similarity", [0.0, 0.3, 1.5])
def test_a_similarity_out_of_range(tmp_path, similarity):
    settings = BuildSettings([Source("text", "x.txt", options={"language": "en"})], near_duplicates=similarity)
    with pytest.raises(UserError, match="near_duplicates is"):
        build(settings, tmp_path, tmp_path / "out", show_progress=False)
    assert not (tmp_path / "out").exists()
