"""`mlcl evaluate`: several models side by side, from folders to reports."""

from __future__ import annotations

import json
import sys
from types import SimpleNamespace

import numpy as np
import pytest

import layouts
from mlcl.core.errors import UserError
from mlcl.stages.evaluate import Config, run

TABLE = np.random.default_rng(0).normal(size=(400, 32)).astype(np.float32)


class FakeEncoder:
    """Stands for `mlcl.Encoder`: understands the made-up sentences unless its folder's name is `noise`."""

    loaded: list[str] = []

    @classmethod
    def from_pretrained(cls, path):
        cls.loaded.append(path)
        if "broken" in path:
            raise OSError("no config.json here\nand more")
        encoder = cls()
        encoder.noise = "noise" in path
        return encoder

    def encode(self, texts, batch_size=None, normalize=True, show_progress=False):
        if self.noise:
            return np.random.default_rng(2).normal(size=(len(texts), 32)).astype(np.float32)
        return TABLE[[layouts.meaning(text) for text in texts]]


@pytest.fixture
def root(tmp_path, monkeypatch):
    FakeEncoder.loaded = []
    monkeypatch.setitem(sys.modules, "mlcl.model.encoder", SimpleNamespace(Encoder=FakeEncoder))
    for name in ("good", "noise"):
        (tmp_path / name / "model").mkdir(parents=True)
        (tmp_path / name / "model" / "config.json").write_text("{}")
    info = {"languages": ["de", "en"], "settings": {"training": {"seed": 7}}}
    (tmp_path / "good" / "model" / "mlcl.json").write_text(json.dumps(info))
    return layouts.write_all(tmp_path / "data")


def config(root, **changes):
    models = [str(root.parent / name / "model") for name in ("good", "noise")]
    return Config(**{"model": [*models, "tfidf"], "data": str(root), "out": str(root.parent / "out"), **changes})


def test_models_side_by_side(root, capsys):
    out = run(config(root, options={"ntrex": {"documents": "80-92"}, "multiparallel": {"sets": ["pud"]}}))
    rows = json.loads((out / "results.json").read_text(encoding="utf-8"))
    assert list(rows[0]) == [
        "task", "split", "language", "code", "direction", "metric", "value", "low", "high", "n", "model", "seed",
        "train_language",
    ]  # fmt: skip
    assert {(row["model"], row["seed"]) for row in rows} == {("good", 7), ("noise", None), ("tfidf", None)}
    assert {row["task"] for row in rows} == {"tatoeba", "ntrex", "multiparallel", "stsb"}
    assert {row["split"] for row in rows if row["task"] == "ntrex"} == {"documents 80-92"}
    # Only the model whose training is known has averages over trained languages
    assert {row["model"] for row in rows if row["language"] == "avg:trained"} == {"good"}
    value = {
        (row["model"], row["language"]): row["value"]
        for row in rows
        if (row["task"], row["metric"], row["direction"]) == ("tatoeba", "accuracy", "mean")
    }
    assert value["good", "avg:all"] == 100
    assert value["noise", "avg:all"] < 50
    text = (out / "results.md").read_text(encoding="utf-8")
    assert "| deu | de | German | 8 | 100.0 [67.6, 100.0] |" in text
    assert "| cmn | zh-Hans | Chinese (Simplified) | 8 | 100.0 [67.6, 100.0] \\* |" in text
    page = (out / "report.html").read_text(encoding="utf-8")
    assert page.count("data:image/svg+xml") == 4  # bars of every task
    assert page.count("data:image/png") == 6  # heat-maps of the pairs: 3 models, pud and stsb
    printed = capsys.readouterr().out
    assert "tatoeba (test): averages" in printed
    assert str(out / "report.html") in printed.replace("\n", "")


def test_languages_are_measured_wherever_they_are(root, capsys):
    out = run(config(root, model=["tfidf"], languages=["de", "ko"], options={"stsb": {"languages": ["zh"]}}))
    rows = json.loads((out / "results.json").read_text(encoding="utf-8"))
    measured = {(row["task"], row["split"], row["language"]) for row in rows if not row["language"].startswith("avg")}
    assert {(task, language) for task, _, language in measured} == {
        ("tatoeba", "de"), ("ntrex", "de"), ("multiparallel", "de"), ("multiparallel", "ko"), ("stsb", "zh-Hans"),
        ("multiparallel", "en"),
    }  # fmt: skip
    assert not [row for row in measured if row[1:] == ("pud", "ko")]
    run(config(root, model=["tfidf"], languages=["ko"], overwrite=True, tasks=["tatoeba", "multiparallel"]))
    assert "tatoeba: left out, their data have none of ko" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"tasks": ["tatoeba", "tatobea"]}, "unknown task 'tatobea'.*tatoeba"),
        ({"tasks": []}, "no task"),
        ({"model": []}, "no model"),
        ({"options": {"xnlj": {}}}, "unknown task 'xnlj'"),
        ({"options": {"xnli": {"langauges": ["de"]}}}, "langauges"),
        ({"options": {"ntrex": {"document": "1"}}}, "document"),
        ({"options": {"ntrex": {"neighbours": "many"}}}, "options.ntrex"),
        ({"options": {"stsb": 3}}, "options.stsb must be a mapping"),
        ({"languages": ["de", "sw"]}, "'sw' is not here"),
        ({"options": {"stsb": {"languages": ["de", "ko"]}}}, "'ko' is not here"),
        ({"tasks": ["xsim"], "languages": ["ko"]}, "'ko' is not here"),
        ({"data": "nowhere"}, "no such file or folder"),
    ],
)
def test_mistakes_are_found_before_a_model_is_loaded(root, changes, message):
    with pytest.raises(UserError, match=message):
        run(config(root, **changes))
    assert FakeEncoder.loaded == []
    assert not (root.parent / "out").exists()


def test_a_configuration_of_many_tasks_serves_a_run_of_some(root, capsys):
    options = {"xnli": {"languages": ["de"]}, "stsb": {"languages": ["zh"]}}
    run(config(root, model=["tfidf"], tasks=["stsb"], options=options))
    assert "options of xnli have no effect" in capsys.readouterr().err


def test_an_output_that_exists_is_kept(root):
    (root.parent / "out").mkdir()
    (root.parent / "out" / "mine").touch()
    with pytest.raises(UserError, match="already exists"):
        run(config(root))
    assert (root.parent / "out" / "mine").exists()
    out = run(config(root, overwrite=True, tasks=["stsb"], model=["tfidf"]))
    assert not (out / "mine").exists()


def test_a_model_that_cannot_be_loaded(root):
    good = str(root.parent / "good" / "model")
    (root.parent / "broken").mkdir()
    for wrong, message in (("broken", "it has no config.json .model broken"), ("absent", "no such file or folder")):
        with pytest.raises(UserError, match=message):
            run(config(root, model=[good, str(root.parent / wrong)]))
    assert FakeEncoder.loaded == [], "nothing is measured where a later model is not there"
    (root.parent / "broken" / "config.json").write_text("{}")
    with pytest.raises(UserError, match="cannot load .*broken.*no config.json here \\("):
        run(config(root, model=[str(root.parent / "broken")]))
    assert not (root.parent / "out").exists()
