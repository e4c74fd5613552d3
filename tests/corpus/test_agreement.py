"""Pairs whose sides disagree: planted errors have low scores, and leave the corpus with everything accounted for."""

from __future__ import annotations

import random

import numpy as np
import pytest

from mlcl.cli import main
from mlcl.corpus import agreement
from mlcl.corpus.agreement import pair_scores, write_filtered
from mlcl.corpus.store import Corpus, CorpusWriter
from mlcl.model.encoder import Encoder

WRONG = {5, 17, 40, 41, 77}


def embed(texts):
    """The number in a text is its meaning; the rest of the text adds noise."""
    rows = []
    for text in texts:
        noise = np.random.default_rng(sum(map(ord, text)))
        rows.append(np.random.default_rng(int(text.split()[1])).normal(size=32) + 0.4 * noise.normal(size=32))
    return np.array(rows, dtype=np.float32)


@pytest.fixture
def corpus(tmp_path):
    """100 English sentences with German and French; German is wrong in some; two pairs of en-ja, single sentences."""
    folder = tmp_path / "corpus"
    folder.mkdir()
    writer = CorpusWriter(folder)
    place = {"document": "", "origin": "made-up"}
    rows = []
    for n in range(100):
        source = {"source_lang": "en", "source": f"text {n}", "group": n, **place}
        rows.append({**source, "target_lang": "de", "target": f"Text {n + 500 if n in WRONG else n}"})
        if n % 2 == 0:
            rows.append({**source, "target_lang": "fr", "target": f"texte {n}"})
    rows += [
        {
            "source_lang": "en",
            "source": f"rare {n}",
            "target_lang": "ja",
            "target": f"稀 {n + 9}",
            "group": 200 + n,
            **place,
        }
        for n in range(2)
    ]
    writer.write_pairs(rows)
    writer.write_mono([{"lang": "en", "text": f"alone {n}", "group": 300 + n, **place} for n in range(3)])
    writer.close(
        texts={"read": 300, "kept": 257, "dropped": 43}, groups=105, evaluation_texts=0, sources=[],
        largest_group={"group": 0, "texts": 3, "samples": []},
        origins={"made-up": {"licence": "none", "texts": 257}},
        drops=[{"reason": "duplicate", "origin": "made-up", "texts": 43, "samples": []}],
    )  # fmt: skip
    return Corpus.open(folder)


def german(corpus):
    batch = next(corpus.pair_batches())
    return [n for n, lang in enumerate(batch["target_lang"].to_pylist()) if lang == "de"]


@pytest.mark.parametrize("block", [40, 10**6])
def test_wrong_pairs_have_low_scores(corpus, monkeypatch, block):
    monkeypatch.setattr(agreement, "BLOCK", block)
    scores = pair_scores(corpus, embed, show_progress=False)
    rows = german(corpus)
    wrong = [scores[row] for n, row in enumerate(rows) if n in WRONG]
    right = [scores[row] for n, row in enumerate(rows) if n not in WRONG]
    if block == 40:  # the last twenty rows are too few to judge
        assert np.isnan(right[-10:]).all()
        wrong, right = [s for s in wrong if s == s], [s for s in right if s == s]
    assert max(wrong) < 1 < min(right)
    assert np.isnan(scores[-2:]).all()


def test_the_filtered_corpus_accounts_for_every_text(corpus, tmp_path):
    scores = pair_scores(corpus, embed, show_progress=False)
    out = tmp_path / "out"
    out.mkdir()
    manifest = write_filtered(corpus, scores, 1.0, out)
    filtered = Corpus.open(out)
    pairs = [row for batch in filtered.pair_batches() for row in batch.to_pylist()]
    assert len(pairs) == 152 - len(WRONG)
    assert all(row["source"].split()[1] == row["target"].split()[1] for row in pairs if row["target_lang"] != "ja")
    odd = sum(n % 2 for n in WRONG)  # English sentences without French
    drops = {drop["reason"]: drop["texts"] for drop in manifest["drops"]}
    assert drops == {"sides disagree": len(WRONG), "no translation left": odd, "duplicate": 43}
    assert manifest["texts"] == {"read": 300, "kept": 257 - len(WRONG) - odd, "dropped": 43 + len(WRONG) + odd}
    assert manifest["origins"]["made-up"]["texts"] == manifest["texts"]["kept"]
    assert sum(sum(counts) for counts in manifest["lengths"]["counts"].values()) == manifest["texts"]["kept"]
    assert "sides disagree" in (out / "report.html").read_text()


def test_command(corpus, tmp_path, monkeypatch, tiny_model, capsys):
    monkeypatch.setattr(Encoder, "encode", lambda self, texts: embed(texts))
    line = ["corpus", "filter", "--corpus", str(corpus.path), "--model", str(tiny_model)]
    assert main([*line, "--dry_run", "true"]) == 0
    out = capsys.readouterr().out
    assert "3.3 %" in out  # five of 152
    assert "Text 517" in out or "Text 505" in out
    assert list(tmp_path.iterdir()) == [corpus.path]
    assert main([*line, "--out", str(tmp_path / "new")]) == 0
    assert "147 of 152 pairs kept" in capsys.readouterr().out
    assert main(["corpus", "stats", str(tmp_path / "new")]) == 0
    assert main([*line, "--out", str(tmp_path / "new")]) == 2
    assert main(line) == 2
    assert "--out is missing" in capsys.readouterr().err
    assert main([*line, "--out", str(tmp_path / "other"), "--k", "0"]) == 2


def test_scores_do_not_depend_on_the_order_of_other_languages(corpus):
    again = pair_scores(corpus, embed, show_progress=False)
    chance = random.Random(0)
    texts = [f"text {n}" for n in range(100)]
    chance.shuffle(texts)
    np.testing.assert_allclose(agreement.margins(embed, texts, texts, 4) > 1, True)
    np.testing.assert_array_equal(again, pair_scores(corpus, embed, show_progress=False))
