"""`start` of `mlcl pretrain`: layers of a trained model, also when the run is resumed; mistakes come first."""

from __future__ import annotations

import pytest
import torch
import yaml

from mlcl.cli import main
from mlcl.model.model import MLCModel


@pytest.fixture
def pretrain(tiny_settings, tiny_model, tmp_path):
    """Run `mlcl pretrain` from the tiny model for a few steps, with further flags."""
    tiny_settings.pop("tokenizer")
    tiny_settings["model"] = {"model_name": str(tiny_model)}
    tiny_settings["training"] |= {
        "max_steps": 2, "save_steps": 2, "queue_size": 0, "eval_strategy": "no", "gradient_accumulation_steps": 1
    }  # fmt: skip
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(tiny_settings), encoding="utf-8")
    return lambda *flags: main(["pretrain", "--config", str(tmp_path / "run.yaml"), *flags])


def test_a_deeper_model_and_its_resumption(pretrain, tiny_model, tmp_path, capsys):
    assert pretrain("--start.depth", "3", "--training.learning_rate", "0") == 0
    assert "layers 0, 1, 0 of 2" in capsys.readouterr().err
    made, old = MLCModel.from_pretrained(tmp_path / "run" / "model"), MLCModel.from_pretrained(tiny_model)
    assert made.config.backbone["num_hidden_layers"] == len(made.backbone.encoder.layer) == 3
    for place, number in enumerate([0, 1, 0]):
        for name, weight in old.backbone.encoder.layer[number].state_dict().items():
            torch.testing.assert_close(made.backbone.encoder.layer[place].state_dict()[name], weight)
    assert pretrain("--start.depth", "3", "--training.max_steps", "4", "--resume") == 0
    assert pretrain("--start.depth", "2", "--training.max_steps", "6", "--resume") == 2
    assert "num_hidden_layers is 3 there and 2 here" in capsys.readouterr().err


def test_a_shallower_model(pretrain, tmp_path):
    assert pretrain("--start.layers", "[1]") == 0
    assert len(MLCModel.from_pretrained(tmp_path / "run" / "model").backbone.encoder.layer) == 1


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--start.layers", "[0]", "--start.depth", "1"], "exclude each other"),
        (["--start.depth", "0"], "must be at least 1"),
        (["--start.layers", "[0,7]"], "there is no layer 7 (the model has the layers 0 to 1)"),
        (["--start.layers", "[]"], "no layer is chosen"),
        (["--start.depth", "2", "--model", "{pooling: mean}"], "there is none"),
        (["--start.deep", "2"], "start.deep"),
        (["--start.depth", "1", "--model.lora", "{rank: 2}"], "start chooses layers before there are adapters"),
    ],
)
def test_mistakes(pretrain, capsys, flags, message):
    assert pretrain(*flags) == 2
    assert message in " ".join(capsys.readouterr().err.split())
