"""`mlcl benchmark`: every task whose data is there, from folders to reports; stopped, repeated, changed."""

from __future__ import annotations

import json
import shutil
import sys
import zlib
from types import SimpleNamespace

import numpy as np
import pytest

import layouts
from mlcl import cli
from mlcl.core.errors import UserError
from mlcl.stages import _vector_cache
from mlcl.stages.benchmark import Config, run

TABLE = np.random.default_rng(0).normal(size=(400, 32)).astype(np.float32)


class FakeEncoder:
    """Stands for `mlcl.Encoder`: understands the made-up sentences unless its folder's name is `noise`."""

    loaded: list[str] = []
    texts: list[str] = []
    stop_after: int | None = None

    @classmethod
    def from_pretrained(cls, path):
        cls.loaded.append(path)
        encoder = cls()
        encoder.noise = "noise" in path
        return encoder

    def encode(self, texts, batch_size=None, normalize=True, show_progress=False):
        if FakeEncoder.stop_after is not None and len(FakeEncoder.texts) > FakeEncoder.stop_after:
            raise KeyboardInterrupt
        FakeEncoder.texts += texts
        vectors = TABLE[[layouts.meaning(text) for text in texts]]
        if self.noise:
            blur = [np.random.default_rng(zlib.crc32(text.encode())).normal(size=32) for text in texts]
            return (0.2 * vectors + np.array(blur)).astype(np.float32)
        return vectors


@pytest.fixture
def root(tmp_path, monkeypatch):
    monkeypatch.setattr(FakeEncoder, "loaded", [])
    monkeypatch.setattr(FakeEncoder, "texts", [])
    monkeypatch.setattr(FakeEncoder, "stop_after", None)
    monkeypatch.setattr(_vector_cache, "_BLOCK", 16)
    monkeypatch.setitem(sys.modules, "mlcl.model.encoder", SimpleNamespace(Encoder=FakeEncoder))
    for name in ("good", "noise"):
        (tmp_path / name / "model").mkdir(parents=True)
        info = {"languages": ["de", "en"], "settings": {"training": {"seed": 7}}}
        (tmp_path / name / "model" / "mlcl.json").write_text(json.dumps(info))
        (tmp_path / name / "model" / "config.json").write_text("{}")
    data = tmp_path / "data"
    layouts.tatoeba(data, codes=("deu", "cmn", "dtp", "kzj", "fra", "spa", "ita"))
    layouts.ntrex(data)
    return data


def config(root, **changes):
    models = [f"{name}={root.parent / name / 'model'}" for name in ("good", "noise")]
    return Config(**{"model": models, "data": str(root), "out": str(root.parent / "out"), **changes})


def rows(out):
    return json.loads((out / "results.json").read_text(encoding="utf-8"))


def test_every_task_whose_data_is_there(root, capsys):
    out = run(config(root, model=[*config(root).model, "tfidf"]))
    found = rows(out)
    assert list(found[0]) == [
        "task", "split", "language", "code", "direction", "metric", "value", "low", "high", "n", "model", "seed",
        "train_language",
    ]  # fmt: skip
    assert {(row["model"], row["seed"]) for row in found} == {("good", 7), ("noise", 7), ("tfidf", None)}
    assert {"tatoeba", "ntrex"} == {row["task"] for row in found}
    beside = json.loads((out / "benchmark.json").read_text(encoding="utf-8"))
    assert beside["left_out"]["stsb"] == f"no stsb/ under {root}"
    assert "xquad" in beside["left_out"]
    compared = {(one["task"], one["second"]): one for one in beside["comparisons"]}
    better = compared["tatoeba", "noise"]
    assert (better["first"], better["n"], better["resampled"]) == ("good", 7, "languages")
    assert better["difference"] > 20
    assert better["p"] == 2 / 2**7 <= better["p_holm"]
    times = {(time["model"], time["task"]): time for time in beside["times"]}
    assert times["good", "tatoeba"]["texts"] == 64  # 8 sentences in 7 languages and English
    assert FakeEncoder.loaded == [str(root.parent / name / "model") for name in ("good", "noise")]
    printed = capsys.readouterr().out
    assert "tatoeba" in printed
    assert "7" in printed
    assert not list((out / "work").rglob("*.f32")), "vectors go when a model is done"
    assert "| noise | tatoeba | +" in (out / "results.md").read_text(encoding="utf-8")
    assert "LaBSE" in (out / "report.html").read_text(encoding="utf-8")


def test_a_stopped_run_goes_on_where_it_stopped_and_ends_the_same(root, capsys):
    whole = rows(run(config(root, out=str(root.parent / "whole"))))
    needed = len(FakeEncoder.texts)
    FakeEncoder.texts = []
    FakeEncoder.stop_after = 40
    with pytest.raises(KeyboardInterrupt):
        run(config(root))
    out = root.parent / "out"
    assert "repeat the command to go on" in capsys.readouterr().err.replace("\n", " ")
    assert [path.name for path in out.iterdir()] == ["work"]
    FakeEncoder.stop_after = None
    run(config(root))
    assert rows(out) == whole
    assert len(FakeEncoder.texts) == needed, "no text is encoded twice"

    FakeEncoder.texts, FakeEncoder.loaded = [], []
    before = (out / "report.html").read_text(encoding="utf-8")
    run(config(root))
    assert (FakeEncoder.texts, FakeEncoder.loaded) == ([], []), "a finished run needs no model"
    assert (out / "report.html").read_text(encoding="utf-8") == before


def test_what_changes_is_made_anew_and_nothing_else(root):
    run(config(root))

    def files():
        return {file.name: file.stat().st_mtime_ns for file in (root.parent / "out" / "work" / "results").iterdir()}

    def made(**changes):
        before = files()
        run(config(root, **changes))
        return sorted(name.partition("-")[0] for name in files().keys() - before.keys())

    assert made() == []
    assert made(options={"tatoeba": {"neighbours": 3}}) == ["tatoeba", "tatoeba"]
    assert made(trained_languages=["fr"]) == ["ntrex", "ntrex", "tatoeba", "tatoeba"]
    model = root.parent / "noise" / "model"
    (model / "more.bin").touch()
    assert made() == ["ntrex", "tatoeba"]
    lines = [layouts.sentence("deu", i) for i in range(8)]
    layouts.write(root / "tatoeba" / "tatoeba.deu-eng.deu", lines)
    assert made() == [], "the same content again is no change"
    layouts.write(root / "tatoeba" / "tatoeba.deu-eng.deu", [*lines[:-1], "seven 7 otherwise"])
    assert made() == ["tatoeba", "tatoeba"]


def test_kept_vectors_serve_other_options(root):
    run(config(root, keep_vectors=True))
    FakeEncoder.texts = []
    run(config(root, keep_vectors=True, options={"tatoeba": {"neighbours": 3}}))
    assert FakeEncoder.texts == []


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"tasks": ["tatoeba", "stsb"]}, "data folder 'stsb' is missing"),
        ({"options": {"stsb": {"split": "dev"}}}, "data folder 'stsb' is missing"),
        ({"tasks": ["tatobea"]}, "unknown task 'tatobea'"),
        ({"model": []}, "no model"),
        ({"model": ["tfidf", "./absent"]}, "no such file or folder"),
        ({"options": {"tatoeba": {"neighbour": 1}}}, "neighbour"),
        ({"data": "nowhere"}, "no such file or folder"),
        ({"finetune": ["tatoeba"]}, "tatoeba has no labels to fine-tune on"),
        ({"finetune": ["xnli"]}, "data folder 'xnli' is missing"),
        ({"finetune_options": {"xnli": {}}}, "finetune_options of xnli"),
    ],
)
def test_mistakes_are_found_before_a_model_is_loaded(root, changes, message):
    with pytest.raises(UserError, match=message):
        run(config(root, **changes))
    assert FakeEncoder.loaded == []
    assert not (root.parent / "out").exists()


def test_malformed_data_is_not_absent_data(root):
    (root / "tatoeba" / "tatoeba.deu-eng.deu").write_text("one line\n")
    with pytest.raises(UserError, match=r"tatoeba\.deu-eng"):
        run(config(root))
    shutil.rmtree(root / "tatoeba")
    shutil.rmtree(root / "ntrex")
    with pytest.raises(UserError, match="no task has its data here"):
        run(config(root))
    assert not (root.parent / "out").exists()


def test_an_output_that_is_something_else_is_kept(root):
    out = root.parent / "out"
    out.mkdir()
    (out / "mine").touch()
    with pytest.raises(UserError, match="already exists"):
        run(config(root))
    run(config(root, tasks=["tatoeba"], overwrite=True))
    assert (out / "mine").exists()
    FakeEncoder.texts = []
    run(config(root, tasks=["tatoeba"], overwrite=True))
    assert FakeEncoder.texts, "everything is measured anew"


def test_a_model_that_cannot_be_loaded_leaves_nothing_behind(root, capsys):
    assert cli.main(["benchmark", "--model", "./absent", "--data", str(root), "--out", str(root.parent / "out")]) == 2
    assert "no such file or folder" in capsys.readouterr().err
    assert not (root.parent / "out").exists()


def test_fertility_beside_the_score(root, tiny_model, monkeypatch):
    from mlcl.stages import _fertility

    monkeypatch.setattr(_fertility, "load_tokenizer", lambda model: _tokenizer(tiny_model))
    out = run(config(root))
    found = json.loads((out / "benchmark.json").read_text(encoding="utf-8"))["fertility"]
    assert {(row["model"], row["task"], row["language"]) for row in found} == {
        (model, "ntrex", tag) for model in ("good", "noise") for tag in ("de", "zh-Hans", "zh-Hant")
    }
    assert all(row["premium"] > 0 for row in found)
    assert {row["score"] for row in found if row["model"] == "good"} == {100.0}
    assert "Tokens and quality" in (out / "report.html").read_text(encoding="utf-8")


def _tokenizer(folder):
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(folder)
