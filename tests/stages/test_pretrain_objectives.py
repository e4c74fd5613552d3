"""`mlcl pretrain` with further terms, made pairs and hard negatives; what they lack is one line before any work."""

from __future__ import annotations

import json

import pytest
import yaml

from mlcl.cli import main
from mlcl.corpus.store import Corpus, CorpusWriter


def run(settings: dict, tmp_path, *flags: str) -> int:
    config = tmp_path / "settings.yaml"
    config.write_text(yaml.safe_dump(settings))
    return main(["pretrain", "--config", str(config), *flags])


@pytest.fixture
def corpus_with_negatives(tiny_corpus, tmp_path):
    """The tiny corpus, each pair with the target of the next one as a hard negative."""
    folder = tmp_path / "negatives"
    folder.mkdir()
    writer, corpus = CorpusWriter(folder), Corpus.open(tiny_corpus)
    rows = [row for batch in corpus.pair_batches() for row in batch.to_pylist()]
    for row, other in zip(rows, rows[1:] + rows[:1], strict=True):
        row["negatives"] = [other["target"]]
    writer.write_pairs(rows)
    for batch in corpus.mono_batches():
        writer.write_mono(batch)
    writer.close()
    return folder


def test_everything_together_trains(tiny_settings, corpus_with_negatives, tmp_path):
    tiny_settings["corpus"] = str(corpus_with_negatives)
    tiny_settings["augmentation"] = {"simcse": 0.1, "code_switch": 0.2, "code_switch_pairs": 0.5}
    tiny_settings["model"]["hidden_dropout"] = 0.1
    tiny_settings["training"] |= {"max_steps": 2, "objectives": {"koleo": 0.1, "matryoshka": {"dims": [8, 16]}}}
    tiny_settings["training"] |= {"eval_strategy": "no", "save_strategy": "no", "logging_steps": 1}
    words = ["--training.objectives.adversarial", "0.1", "--training.objectives.cross_unmasking", "0.1"]
    assert run(tiny_settings, tmp_path, *words) == 0
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().split("\n") if line]
    steps = [line for line in lines if "info_nce" in line]
    assert len(steps) == 2
    for name in ("koleo", "matryoshka", "adversarial", "cross_unmasking"):
        assert all(line[name] == line[name] != 0 for line in steps)


def test_the_lm_term_leaves_the_sentences_of_infonce_whole(tiny_settings, tmp_path):
    """TLM joins two sentences, which need not fit into the longest input that is encoded afterwards."""
    tiny_settings["training"] |= {"queue_size": 0, "eval_strategy": "no", "save_strategy": "no", "logging_steps": 1}
    tiny_settings["training"] |= {"max_steps": 1, "gradient_accumulation_steps": 1}
    first = []
    for weight in (0.0, 0.5):
        tiny_settings["training"]["lm_weight"] = weight
        assert run(tiny_settings, tmp_path, "--out", str(tmp_path / f"run-{weight}")) == 0
        lines = (tmp_path / f"run-{weight}" / "metrics.jsonl").read_text().split("\n")
        first.append(json.loads(lines[0]))
    assert ["lm" in line for line in first] == [False, True]
    assert first[0]["info_nce"] == pytest.approx(first[1]["info_nce"], rel=1e-5)


@pytest.mark.parametrize(
    ("section", "values", "message"),
    [
        (
            "training",
            {"objectives": {"koleoo": 0.1}},
            "unknown term 'koleoo' (known: adversarial, alignment, context, ",
        ),
        ("training", {"objectives": {"koleo": {"wieght": 1}}}, "objectives.koleo.wieght (did you mean weight?)"),
        ("training", {"objectives": {"matryoshka": {"dims": [8, 99]}}}, "the model has 32 dimensions"),
        ("training", {"objectives": {"matryoshka": {"dims": [8, 8]}}}, "must be different numbers"),
        ("training", {"angular_margin": 3.0}, "angular_margin is 3.0, it must be in [0, pi/2)"),
        ("training", {"objectives": {"context": 0.1}}, "need documents, no pair of the corpus has one"),
        ("augmentation", {"simcse": 0.2}, "simcse needs dropout"),
        ("augmentation", {"code_swich": 0.2}, "did you mean code_switch?"),
        ("augmentation", {"code_switch": 2}, "augmentation.code_switch is 2.0, it must be in [0, 1]"),
    ],
)
def test_mistakes_are_one_clear_line_before_any_work(tiny_settings, tmp_path, capsys, section, values, message):
    tiny_settings[section] = tiny_settings.get(section, {}) | values
    assert run(tiny_settings, tmp_path) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not (tmp_path / "run").exists()
