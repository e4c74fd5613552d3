"""Mined negatives: near, of another group, not too near; the corpus with them keeps everything else."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlcl.cli import main
from mlcl.corpus import hard_negatives
from mlcl.corpus.hard_negatives import mine_negatives, negatives_among, write_with_negatives
from mlcl.corpus.store import Corpus, CorpusWriter
from mlcl.model.encoder import Encoder


def embed(texts):
    """A text is an angle in degrees, after its language."""
    angles = np.radians([float(text.split()[1]) for text in texts])
    return np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)


def test_the_nearest_that_are_no_translations():
    sources, targets = [f"s {a}" for a in (0, 20, 50, 90)], [f"t {a}" for a in (2, 21, 50, 91)]
    groups = np.array([1, 2, 3, 3])
    found = negatives_among(embed, sources, targets, groups, per_pair=2, guard=0.99, depth=4)
    assert found.tolist() == [[1, 2], [0, 2], [1, 0], [1, 0]]  # rows 2 and 3 are one group
    strict = negatives_among(embed, sources, targets, groups, per_pair=2, guard=0.7, depth=4)
    assert strict.tolist() == [[2, 3], [3, -1], [0, -1], [1, 0]]  # cos 21 degrees is too near the positive


def test_equal_texts_are_one_candidate_and_never_their_own_negative():
    sources, targets = ["s 0", "s 1", "s 40"], ["t 0", "t 0", "t 30"]
    found = negatives_among(embed, sources, targets, np.array([1, 2, 3]), per_pair=3, guard=1.0, depth=9)
    assert found.tolist() == [[2, -1, -1], [2, -1, -1], [0, -1, -1]]


@given(seed=st.integers(0, 2**20), guard=st.sampled_from([0.5, 0.9, 1.0]), depth=st.integers(2, 9))
def test_every_negative_keeps_the_rules(seed, guard, depth):
    chance = np.random.default_rng(seed)
    angles, groups = chance.integers(0, 90, size=(2, 7)), chance.integers(-1, 3, size=7)
    sources, targets = ([f"x {a}" for a in side] for side in angles)
    x, y = embed(sources), embed(targets)
    found = negatives_among(embed, sources, targets, groups, per_pair=2, guard=guard, depth=depth)
    for row, negatives in enumerate(found):
        kept = [place for place in negatives if place >= 0]
        assert (negatives[len(kept) :] == -1).all()
        assert [x[row] @ y[i] for i in kept] == sorted((x[row] @ y[i] for i in kept), reverse=True)
        for place in kept:
            assert targets[place] != targets[row]
            assert groups[place] != groups[row] or groups[row] < 0
            assert x[row] @ y[place] <= guard * (x[row] @ y[row]) + 1e-6


@pytest.fixture
def corpus(tmp_path):
    folder = tmp_path / "corpus"
    folder.mkdir()
    writer = CorpusWriter(folder)
    rows = [
        {"source_lang": "en", "target_lang": tag, "source": f"en {a}", "target": f"{tag} {a + 1}", "group": a,
         "document": "d", "origin": "made-up", "negatives": ["given"] if a == 10 else None}
        for a in (0, 10, 45, 80) for tag in ("de", "fr")
    ]  # fmt: skip
    writer.write_pairs(rows)
    writer.write_mono([{"lang": "en", "text": "alone", "group": 99, "document": "", "origin": "made-up"}])
    writer.close(
        texts={"read": 13, "kept": 13, "dropped": 0}, groups=5, evaluation_texts=0, sources=[], drops=[],
        largest_group={"group": 0, "texts": 3, "samples": []}, origins={"made-up": {"licence": "none", "texts": 13}},
    )  # fmt: skip
    return Corpus.open(folder)


@pytest.mark.parametrize("block", [3, 10**6])
def test_negatives_are_of_the_languages_of_the_pair(corpus, monkeypatch, block):
    monkeypatch.setattr(hard_negatives, "BLOCK", block)
    found = mine_negatives(corpus, embed, per_pair=1, guard=0.99, show_progress=False)
    targets = [row["target"] for batch in corpus.pair_batches() for row in batch.to_pylist()]
    got = [targets[i] if i >= 0 else None for i in found[:, 0]]
    last = ["de 46", "fr 46"] if block > 3 else [None, None]  # alone in its block
    assert got == ["de 11", "fr 11", "de 1", "fr 1", "de 11", "fr 11", *last]


def test_the_new_corpus_has_both_kinds_of_negatives_and_everything_else(corpus, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    found = mine_negatives(corpus, embed, per_pair=1, guard=0.99, show_progress=False)
    manifest = write_with_negatives(corpus, found, out)
    before, after = (
        [row for batch in c.pair_batches() for row in batch.to_pylist()] for c in (corpus, Corpus.open(out))
    )
    assert [row["negatives"] for row in after][2:4] == [["given", "de 1"], ["given", "fr 1"]]
    for row in before + after:
        row.pop("negatives")
    assert before == after
    same = ("texts", "groups", "origins", "drops", "languages", "rows")
    assert {key: manifest[key] for key in same} == {key: corpus.manifest[key] for key in same}


def test_command(corpus, tmp_path, monkeypatch, tiny_model, capsys):
    monkeypatch.setattr(Encoder, "encode", lambda self, texts: embed(texts))
    out = tmp_path / "new"
    line = ["corpus", "negatives", "--corpus", str(corpus.path), "--model", str(tiny_model), "--out", str(out)]
    assert main([*line, "--guard", "0.99"]) == 0
    assert (out / "report.html").exists()
    assert main(line) == 2
    capsys.readouterr()
    assert main([*line, "--overwrite", "--guard", "1.5", "--per_pair", "0"]) == 2
    error = capsys.readouterr().err
    assert "per_pair is 0, it must be at least 1; guard is 1.5" in error
    assert error.count("\n") == 1
