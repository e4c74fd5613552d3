"""`mlcl analyse` on a real short run: what it reads, what it writes, what it refuses."""

from __future__ import annotations

import json
import random
import shutil

import numpy as np
import pytest
import yaml

from mlcl.cli import main
from mlcl.corpus.store import CorpusWriter
from mlcl.stages._analyse_measure import _near_copies, held_out

_WORDS = {
    tag: [first + second for first in firsts for second in ("ka", "lo", "mi", "nu", "re")]
    for tag, firsts in {
        "en": ["ba", "ce", "di", "fo"],
        "de": ["schu", "pfe", "tza", "gno"],
        "fi": ["ää", "yö", "uu", "ii"],
    }.items()
}


def write_corpus(folder):
    """300 sentences word for word in three languages, too long for any two of them to be alike."""
    chance, writer = random.Random(0), CorpusWriter(folder)
    for group in range(300):
        choice = [chance.randrange(20) for _ in range(chance.randint(7, 12))]
        text = {tag: " ".join(words[i] for i in choice) for tag, words in _WORDS.items()}
        place = {"group": group, "document": "", "origin": "made-up"}
        pair = {"source_lang": "en", "source": text["en"], **place}
        writer.write_pairs([{**pair, "target_lang": tag, "target": text[tag]} for tag in ("de", "fi")])
    writer.close()
    return folder


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run of 60 steps on a corpus of word-for-word translations."""
    folder = tmp_path_factory.mktemp("runs")
    corpus = write_corpus(folder / "corpus")
    backbone = {
        "hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 4, "intermediate_size": 64,
        "max_position_embeddings": 80,
    }  # fmt: skip
    settings = {
        "corpus": str(corpus),
        "tokenizer": {"vocab_size": 700},
        "model": {"backbone": backbone},
        "sampling": {"dev_groups": 30},
        "training": {
            "per_device_train_batch_size": 32, "max_steps": 60, "warmup_steps": 5, "learning_rate": 5e-3,
            "lm_weight": 0.1, "max_length": 32, "logging_steps": 3, "save_strategy": "no", "seed": 1, "bf16": False,
            "eval_strategy": "steps", "eval_steps": 20,
        },
    }  # fmt: skip
    config = folder / "settings.yaml"
    config.write_text(yaml.safe_dump(settings))
    assert main(["pretrain", "--config", str(config), "--out", str(folder / "run")]) == 0
    return folder / "run"


def test_a_healthy_run_gets_no_diagnosis_and_its_languages_are_measured(trained, capsys):
    assert main(["analyse", str(trained)]) == 0
    out = capsys.readouterr().out
    assert "0 of" in out
    assert str(trained / "analysis" / "report.html") in out.replace("\n", "")
    (row,) = json.loads((trained / "analysis" / "results.json").read_text())
    assert row["steps"] == 60
    assert [d["key"] for d in row["diagnoses"] if d["found"]] == []
    measures = row["measures"]
    assert measures["groups"] == 30
    assert sum(found["n"] for found in measures["accuracy"].values()) == 60  # three languages, one is the reference
    assert min(found["value"] for found in measures["accuracy"].values()) > 0.5
    assert 1 < measures["effective_rank"] <= measures["dimension"] == 30
    page = (trained / "analysis" / "report.html").read_text()
    assert "InfoNCE" in page
    assert "Nothing: " in page


def test_runs_side_by_side_and_without_corpus_or_settings(trained, tmp_path, capsys):
    bare = tmp_path / "bare"
    bare.mkdir()
    shutil.copy(trained / "metrics.jsonl", bare)
    with (bare / "metrics.jsonl").open("a") as file:
        file.write('{"step": 61, "lo')  # killed while it wrote
    out = tmp_path / "out"
    assert main(["analyse", str(trained), f"other={bare}", "--measure", "false", "--out", str(out)]) == 0
    first, second = json.loads((out / "results.json").read_text())
    assert (first["run"], second["run"]) == ("run", "other")
    assert second["last"] == first["last"]
    assert second["measures"] is None
    known = {d["key"] for d in second["diagnoses"] if d["found"] is not None}
    assert known >= {"not_finite", "diverging", "padding"}
    assert "stale_queue" not in known
    assert "its corpus is unknown" in capsys.readouterr().err
    assert main(["analyse", str(trained), "--out", str(out), "--measure", "false"]) == 2
    assert "already exists" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "no metrics.jsonl"),
        ('{"step": 1}\nnonsense\n{"step": 2}\n', "metrics.jsonl:2"),
        ('{"loss": 1}\n', "step"),
    ],
)
def test_what_is_no_run_is_one_clear_line(tmp_path, capsys, content, message):
    folder = tmp_path / "run"
    folder.mkdir()
    if content is not None:
        (folder / "metrics.jsonl").write_text(content)
    assert main(["analyse", str(folder)]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not (folder / "analysis").exists()
    assert main(["analyse", str(tmp_path / "none")]) == 2
    assert main(["analyse"]) == 2
    assert "missing: runs" in capsys.readouterr().err


class Store:
    """Sentences as token ids, as `TokenStore` gives them."""

    def __init__(self, sentences, language, group):
        self.tokens, self.language, self.group = sentences, np.array(language), np.array(group)

    def sentence(self, place):
        return np.array(self.tokens[place])


def test_near_copies_are_of_one_language_and_of_different_groups():
    text = [0, 10, 11, 12, 13, 14, 15, 16, 17, 2]
    almost = [0, 10, 11, 12, 13, 14, 15, 16, 99, 2]
    store = Store(
        [text, almost, text, [0, 20, 21, 22, 23, 2], [0, 5, 2], [0, 5, 2]],
        language=[0, 0, 1, 0, 0, 0],
        group=[1, 2, 3, 4, 5, 6],
    )
    found = _near_copies(store, np.arange(6), {0, 2})
    assert found.tolist() == [False] * 6  # 5 of 9 bigrams are shared
    store.tokens[1] = text
    assert _near_copies(store, np.arange(6), {0, 2}).tolist() == [True, True, False, False, False, False]
    store.group[1] = 1
    assert not _near_copies(store, np.arange(6), {0, 2}).any()


def test_held_out_sentences_take_turns_by_language():
    class Sampler:
        store = Store(
            [[1]] * 12, language=[0, 0, 0, 0, 1, 1, 1, 2, 0, 0, 1, 2], group=[0, 1, 2, 3, 0, 1, 2, 3, 9, 8, 9, 8]
        )
        index = type("Index", (), {"entries": np.arange(12)})
        dev_ids = np.array([0, 1, 2, 3])

    rows, groups, reference = held_out(Sampler, 6)
    assert groups[reference].tolist() == [0, 1, 2, 3]
    assert rows[reference].tolist() == [0, 1, 2, 3]  # language 0 has most of them
    assert len(rows) == 6
    assert set(rows[4:]) == {4, 7}  # one of language 1, one of language 2
    assert len(held_out(Sampler, 100)[0]) == 8


def test_analysing_does_not_change_the_run(trained):
    files = {
        path: path.stat().st_mtime_ns for path in trained.rglob("*") if "analysis" not in path.parts and path.is_file()
    }
    assert main(["analyse", str(trained)]) == 0
    again = {
        path: path.stat().st_mtime_ns for path in trained.rglob("*") if "analysis" not in path.parts and path.is_file()
    }
    assert files == again
