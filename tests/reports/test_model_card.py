"""The model card: valid front matter, what is known and nothing else, and no failure that would cost a run."""

from __future__ import annotations

import json

import numpy as np
import yaml
from safetensors.numpy import save_file

from mlcl.reports.model_card import model_card, write_model_card

MODEL = {"pooling": "cls", "proj_size": 64, "backbone": {"model_type": "bert", "hidden_size": 32, "vocab_size": 1000}}


def front_matter(card: str) -> dict:
    _, header, _ = card.split("---\n", 2)
    return yaml.safe_load(header)


def test_front_matter_is_what_the_hub_reads():
    header = front_matter(model_card(MODEL, {"languages": ["no", "zh-Hans", "zh-Hant", "pt-BR"], "license": "mit"}))
    assert header["language"] == ["no", "pt", "zh"]  # "no" must not become false
    assert header["license"] == "mit"
    assert "license_name" not in header
    assert header["pipeline_tag"] == "sentence-similarity"
    assert "mlcl" in header["tags"]
    assert front_matter(model_card({}, {}))["license"] == "other"


def test_facts_of_the_run_are_in_the_card():
    info = {
        "languages": ["de", "sw"],
        "sentences": {"de": 5, "sw": 12_345},
        "origins": {"a|b": {"licence": "CC0 1.0", "texts": 9}, "c": {"licence": "", "texts": 1}},
        "steps": 1200,
        "settings": {"training": {"lm_weight": 0.25, "run_name": None}},
        "results": [
            {"task": "t", "split": "test", "language": "de", "direction": "mean", "metric": "accuracy", "value": 40.0},
            {"task": "t", "split": "test", "language": "sw", "direction": "mean", "metric": "accuracy", "value": 60.0},
            {"task": "t", "split": "test", "language": "de", "direction": "de->en", "metric": "accuracy", "value": 1.0},
            {"task": "u", "split": "dev", "language": "de", "direction": "", "metric": "m", "value": 1.0},
            {
                "task": "u",
                "split": "dev",
                "language": "avg:trained",
                "direction": "",
                "metric": "m",
                "value": 7,
                "n": 3,
            },
        ],
    }
    card = model_card(MODEL, info)
    assert "| sw | Swahili | 12,345 |\n| de | German | 5 |" in card  # the largest first
    assert "| a\\|b | CC0 1.0 | 9 |\n| c | not stated | 1 |" in card
    assert "1,200 steps" in card
    assert "0.25 x LM" in card
    assert "vectors of 64 numbers" in card
    assert "| t | test | accuracy | mean | all | 2 | 50.00 |" in card
    assert "| u | dev | m |  | trained | 3 | 7.00 |" in card
    assert "de->en" not in card


def test_unknown_facts_are_left_out():
    card = model_card({}, {})
    assert not any(heading in card for heading in ("## Training", "## Data", "## Languages", "## Results", "None"))


def test_the_card_counts_the_weights(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps(MODEL))
    save_file({"a": np.zeros((1000, 1500), np.float32), "b": np.zeros(500_000, np.float32)}, tmp_path / "m.safetensors")
    path = write_model_card(tmp_path, {})
    assert path == tmp_path / "README.md"
    assert "parameters: 2.0 million" in path.read_text(encoding="utf-8")


def test_failure_is_a_warning_and_leaves_nothing(tmp_path, capsys):
    assert write_model_card(tmp_path, {}) is None  # no config.json
    (tmp_path / "config.json").write_text("{}")
    assert write_model_card(tmp_path, {"languages": 3}) is None
    assert "no model card was written" in capsys.readouterr().err
    assert [file.name for file in tmp_path.iterdir()] == ["config.json"]
