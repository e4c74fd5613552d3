"""Evaluation sentences in a corpus, found by vectors: words of three languages that are one concept each."""

from __future__ import annotations

import json

import numpy as np
import pytest

from mlcl.cli import main
from mlcl.core.errors import UserError
from mlcl.corpus.contamination import REASON, closest, closest_rows, merged, sentence_vectors, write_without
from mlcl.corpus.rows import batches
from mlcl.corpus.store import Corpus

WORDS = {
    "en": "the cat dog house sees runs old new red blue tree water".split(),
    "de": "die katze hund haus sieht rennt alt neu rot blau baum wasser".split(),
    "ja": "その ねこ いぬ いえ みる はしる ふるい あたらしい あか あお き みず".split(),
}
CONCEPT = {word: place for words in WORDS.values() for place, word in enumerate(words)}


def embed(texts):
    """Counts of pairs of neighbouring concepts, the same in every language."""
    vectors = np.zeros((len(texts), 13 * 12), np.float32)
    for row, text in enumerate(texts):
        concepts = [CONCEPT[word] for word in text.split()]
        for before, after in zip([12, *concepts], concepts, strict=False):
            vectors[row, before * 12 + after] += 1
    return vectors


def translate(text, tag):
    return " ".join(WORDS[tag][CONCEPT[word]] for word in text.split())


@pytest.fixture
def corpus(tiny_corpus):
    return Corpus.open(tiny_corpus)


def test_versions_of_one_sentence_are_merged():
    records = [["A cat", "Eine Katze"], ["a cat!", "Un chat"], ["A dog", ""], ["...", "!"]]
    assert merged(records) == [["A cat", "Eine Katze", "Un chat"], ["A dog"]]
    vectors = sentence_vectors([["cat dog", "katze hund"], ["tree water"]], embed)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, rtol=1e-6)
    np.testing.assert_allclose(vectors[0], embed(["cat dog"])[0] / np.sqrt(2), rtol=1e-6)


def test_closest_equals_all_cosines():
    chance = np.random.default_rng(0)
    vectors, evaluation = chance.normal(size=(50, 8)), chance.normal(size=(20, 8)).astype(np.float32)
    evaluation /= np.linalg.norm(evaluation, axis=1, keepdims=True)
    found = closest(vectors, evaluation, k=3)
    cosines = np.sort((vectors / np.linalg.norm(vectors, axis=1, keepdims=True)) @ evaluation.T, axis=1)[:, ::-1]
    np.testing.assert_allclose(found.cosine, cosines[:, 0], rtol=1e-5)
    np.testing.assert_allclose(found.margin, cosines[:, 0] / np.maximum(cosines[:, 1:4].mean(axis=1), 1e-6), rtol=1e-4)
    alone = closest(vectors, evaluation[:1], k=3)
    np.testing.assert_allclose(alone.margin, alone.cosine)


def test_translations_of_evaluation_texts_go_with_their_groups(corpus, tmp_path):
    texts = [row["source"] for _, _, batch in batches(corpus) if "source" in batch.schema.names
             for row in batch.slice(0, 60).to_pylist()]  # fmt: skip
    wanted = max(texts, key=len)
    evaluation = [[translate(wanted, "ja")], *([translate(text, "ja")[::-1] and "いぬ みる き"] for text in texts[:1]),
                  ["き き みず"], ["いえ ふるい その"]]  # fmt: skip
    found = closest_rows(corpus, sentence_vectors(evaluation, embed), embed, show_progress=False)
    hits = (found.cosine > 0.999) & (found.sentence == 0)
    manifest = write_without(corpus, hits, tmp_path / "out")
    left = Corpus.open(tmp_path / "out")
    rows = [row for batch in left.pair_batches() for row in batch.to_pylist()]
    assert wanted not in {row["source"] for row in rows}
    assert 0 < len(rows) < 600
    [drop] = manifest["drops"]
    gone = 600 - len(rows) + len({row["source"] for row in _all(corpus)} - {row["source"] for row in rows})
    assert drop["reason"] == REASON
    assert drop["texts"] >= 3  # the sentence and both translations
    assert manifest["texts"]["read"] == manifest["texts"]["kept"] + manifest["texts"]["dropped"]
    assert gone >= 3


@pytest.mark.parametrize("score", ["cosine", "margin"])
def test_a_pair_has_the_score_of_its_closer_side(corpus, score):
    evaluation = sentence_vectors([["the cat sees"], ["old house"], ["red tree water"]], embed)
    found = closest_rows(corpus, evaluation, embed, 2, score=score, show_progress=False)
    slow = []
    for kind, _, batch in batches(corpus):
        for row in batch.to_pylist():
            texts = [row["source"], row["target"]] if kind == "pairs" else [row["text"]]
            slow.append(closest(embed(texts), evaluation, 2).scores(score).max())
    np.testing.assert_allclose(found.scores(score), slow, rtol=1e-5, atol=1e-6)


def _all(corpus):
    return [row for batch in corpus.pair_batches() for row in batch.to_pylist()]


def test_the_command(tiny_model, tiny_corpus, tmp_path, capsys):
    (tmp_path / "dev.txt").write_text("the cat sees the dog\nold house\n", encoding="utf-8")
    (tmp_path / "c.yaml").write_text("evaluation:\n  - {format: text, path: dev.txt, options: {language: en}}\n")
    words = ["corpus", "decontaminate", "--config", str(tmp_path / "c.yaml"), "--corpus", str(tiny_corpus),
             "--model", str(tiny_model), "--data", str(tmp_path)]  # fmt: skip
    assert main(words) == 0
    shown = capsys.readouterr().out
    assert "rows that a threshold takes" in shown
    assert "least margin" in shown
    assert main([*words, "--score", "cosine"]) == 0
    assert "least cosine" in capsys.readouterr().out
    assert main([*words, "--score", "cosine", "--least", "1.5", "--out", str(tmp_path / "wrong")]) == 2
    assert "a cosine is at most 1" in capsys.readouterr().err
    kept = tmp_path / "by cosine"
    assert main([*words, "--score", "cosine", "--least", "-1", "--out", str(kept)]) == 0
    assert json.loads((kept / "manifest.json").read_text())["rows"] == {"pairs": 0, "mono": 0}
    out = tmp_path / "out"
    assert main([*words, "--out", str(out), "--least", "0.0"]) == 0
    assert json.loads((out / "manifest.json").read_text())["rows"] == {"pairs": 0, "mono": 0}
    assert main([*words, "--out", str(out), "--least", "2"]) == 2
    assert "already exists" in capsys.readouterr().err
    assert main([*words, "--out", str(tmp_path / "other")]) == 2
    assert "--out and --least go together" in capsys.readouterr().err


def test_mistakes(tiny_corpus, tmp_path):
    from mlcl.stages.corpus_decontaminate import Config, run

    with pytest.raises(UserError, match="no evaluation text is given"):
        run(Config(str(tiny_corpus), "nowhere", str(tmp_path), []))
    with pytest.raises(UserError, match="k is 0"):
        run(Config(str(tiny_corpus), "nowhere", str(tmp_path), [], k=0))
