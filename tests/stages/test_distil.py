"""`mlcl pretrain` with a teacher: the student moves to it, alone or beside InfoNCE; mistakes come first."""

from __future__ import annotations

import json

import numpy as np
import pytest
import yaml

from mlcl.cli import main
from mlcl.model.encoder import Encoder
from mlcl.model.model import MLCModel


@pytest.fixture
def pretrain(tiny_settings, tmp_path):
    """Run `mlcl pretrain` for a few steps, with further flags."""
    tiny_settings["training"] |= {
        "max_steps": 40, "save_steps": 20, "queue_size": 0, "lm_weight": 0.0, "eval_strategy": "no",
        "gradient_accumulation_steps": 1, "learning_rate": 5.0e-3,
    }  # fmt: skip
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(tiny_settings), encoding="utf-8")
    return lambda *flags: main(["pretrain", "--config", str(tmp_path / "run.yaml"), *map(str, flags)])


def losses(run):
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text(encoding="utf-8").split("\n") if line]
    return [line for line in lines if "distillation" in line]


def closeness(student, teacher):
    """Mean cosine of the student's vectors of translations with the teacher's of the English original."""
    texts = {"en": "the cat sees the old dog", "de": "die katze sieht die alt hund"}
    goal = Encoder.from_pretrained(teacher, "cpu").encode([texts["en"]])
    made = Encoder.from_pretrained(student, "cpu").encode([*texts.values()])
    return float((made @ goal.T).mean())


@pytest.mark.parametrize("weight", [0.0, 1.0])
def test_the_student_moves_to_its_teacher(pretrain, tiny_model, tmp_path, weight):
    run = tmp_path / "run"
    distillation = "{distillation: {weight: 2.0, distance: mse}}"
    flags = ["--teacher.model", tiny_model, "--training.objectives", distillation]
    assert pretrain(*flags, "--training.info_nce_weight", weight) == 0
    first, last = losses(run)[0], losses(run)[-1]
    assert last["distillation"] < 0.7 * first["distillation"]
    assert ("info_nce" in last) == (weight > 0)
    assert closeness(run / "model", tiny_model) > 0.7
    weights = MLCModel.from_pretrained(run / "model").state_dict()
    assert not any("map" in name for name in weights)


def test_a_map_to_another_dimension_and_its_resumption(pretrain, minilm, tmp_path):
    flags = ["--teacher.model", minilm, "--training.objectives", "{distillation: {map: true}}"]
    flags += ["--training.lr_scheduler_type", "constant"]  # else the stopped run, which has fewer steps, decays faster
    steady, stopped = tmp_path / "steady", tmp_path / "stopped"
    for out in (steady, stopped):
        steps = 4 if out == steady else 2
        assert pretrain(*flags, "--training.max_steps", steps, "--training.save_steps", 2, "--out", out) == 0
    assert pretrain(*flags, "--training.max_steps", 4, "--training.save_steps", 2, "--out", stopped, "--resume") == 0
    texts = ["the cat sees", "die katze"]
    vectors = [Encoder.from_pretrained(run / "model", "cpu").encode(texts) for run in (steady, stopped)]
    assert vectors[0].shape == (2, 32)
    np.testing.assert_array_equal(*vectors)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--training.objectives", "{distillation: 1.0}"], "distillation needs a teacher (give teacher.model)"),
        (["--teacher.model", "TINY"], "teacher.model is given, but no term learns from it"),
        (["--teacher.model", "TINY", "--stream"], "a teacher needs an indexed corpus, not a stream"),
        (["--teacher.model", "./none", "--training.objectives", "{distillation: 1.0}"], "no such model folder"),
        (
            ["--teacher.model", "TINY", "--teacher.languages", "[fr]", "--training.objectives", "{distillation: 1.0}"],
            "the corpus has no sentence in fr",
        ),
        (["--teacher.model", "TINY", "--teacher.languages", "[]", "--training.objectives", "{distillation: 1.0}"],
         "teacher.languages is empty"),
        (["--teacher.model", "MINILM", "--training.objectives", "{distillation: 1.0}"],
         "the teacher's vectors have 384 values, those of the model 32 (set model.proj_size to 384"),
        (["--teacher.model", "TINY", "--training.objectives", "{distillation: {distance: l1}}"],
         "expected cosine or mse"),
    ],
)  # fmt: skip
def test_mistakes(pretrain, tiny_model, minilm, tmp_path, capsys, flags, message):
    places = {"TINY": str(tiny_model), "MINILM": str(minilm)}
    assert pretrain(*(places.get(word, word) for word in flags)) == 2
    assert message in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "run" / "model").exists()
