"""The recipe of docs/corpus.md: train, let the encoder judge the corpus that it was trained on, train again."""

from __future__ import annotations

import json
import random

import pytest
import yaml

from mlcl.cli import main
from mlcl.corpus.agreement import pair_scores
from mlcl.corpus.store import Corpus, CorpusWriter
from mlcl.model.encoder import Encoder

WRONG = 60


@pytest.fixture
def damaged(tiny_corpus, tmp_path):
    """The tiny corpus, in which every fifth English-German pair has the translation of another sentence."""
    rows = [row for batch in Corpus.open(tiny_corpus).pair_batches() for row in batch.to_pylist()]
    rows = [row for row in rows if row["target_lang"] == "de"]
    chance, wrong = random.Random(1), set(range(0, 5 * WRONG, 5))
    for number in sorted(wrong):
        rows[number]["target"] = rows[chance.choice([n for n in range(len(rows)) if n not in wrong])]["target"]
    writer = CorpusWriter(tmp_path / "damaged")
    writer.write_pairs(rows)
    writer.close(
        texts={"read": 600, "kept": 600, "dropped": 0}, groups=len(rows), evaluation_texts=0, drops=[], sources=[],
        largest_group={"group": 0, "texts": 2, "samples": []}, origins={"made-up": {"licence": "", "texts": 600}},
    )  # fmt: skip
    return tmp_path / "damaged", wrong


@pytest.mark.slow
def test_train_filter_train(damaged, tiny_settings, tmp_path):
    corpus, wrong = damaged

    def trained(folder, name):
        settings = {**tiny_settings, "corpus": str(folder), "out": str(tmp_path / name)}
        settings["training"] = {**settings["training"], "max_steps": 60, "save_steps": 60, "learning_rate": 5.0e-3}
        (tmp_path / "r.yaml").write_text(yaml.safe_dump(settings))
        assert main(["pretrain", "--config", str(tmp_path / "r.yaml")]) == 0
        return tmp_path / name / "model"

    first = trained(corpus, "first")
    scores = pair_scores(Corpus.open(corpus), Encoder.from_pretrained(first).encode, show_progress=False)
    good = [score for number, score in enumerate(scores) if number not in wrong]
    bad = [score for number, score in enumerate(scores) if number in wrong]
    higher = sum(a > b for a in good for b in bad) / (len(good) * len(bad))  # area under the ROC curve
    assert higher > 0.8  # the damage was not learned
    least = sorted(scores)[WRONG]
    words = ["corpus", "filter", "--corpus", str(corpus), "--model", str(first), "--out", str(tmp_path / "kept")]
    assert main([*words, "--least", str(least)]) == 0
    assert json.loads((tmp_path / "kept/manifest.json").read_text())["rows"]["pairs"] == len(scores) - WRONG
    assert (trained(tmp_path / "kept", "second") / "model.safetensors").exists()
