"""Models by name, and what tells one from another."""

from __future__ import annotations

import json
import os
import shutil

import pytest

from mlcl.core.errors import UserError
from mlcl.stages._models import fingerprint, load_tokenizer, named_models


def names(*words):
    return [model.name for model in named_models(words)]


def test_models_get_short_distinct_names():
    assert names("runs/a/model", "runs/b/model", "/x/a", "org/name", "tfidf", "tfidf") == [
        "a", "b", "x/a", "name", "tfidf",
    ]  # fmt: skip
    assert names("one/m", "two/m") == ["m", "two/m"]


def test_a_name_can_be_chosen(tmp_path):
    (tmp_path / "lr=1").mkdir()
    models = named_models(["ours=runs/a/model", f"{tmp_path}/lr=1", f"again={tmp_path}/lr=1"])
    assert [(model.name, model.place) for model in models] == [
        ("ours", "runs/a/model"),
        ("lr=1", f"{tmp_path}/lr=1"),
        ("again", f"{tmp_path}/lr=1"),
    ]
    with pytest.raises(UserError, match="two models are called 'a'"):
        named_models(["a=x", "a=y"])
    for word in ("=x", "a="):
        with pytest.raises(UserError, match="NAME=FOLDER"):
            named_models([word])


def test_what_our_trainer_wrote_down_is_known(tmp_path):
    info = {"languages": ["de", "en"], "settings": {"training": {"seed": 7}}}
    (tmp_path / "mlcl.json").write_text(json.dumps(info))
    ours, foreign = named_models([str(tmp_path), str(tmp_path / "none")])
    assert (ours.languages, ours.seed) == (["de", "en"], 7)
    assert (foreign.languages, foreign.seed) == (None, None)


def test_a_fingerprint_follows_the_files_of_a_model(tiny_model, tmp_path):
    folder = shutil.copytree(tiny_model, tmp_path / "model")
    (model,) = named_models([str(folder)])
    before = fingerprint(model)
    (folder / "README.md").write_text("a card")
    assert fingerprint(model) == before
    weights = folder / "model.safetensors"
    os.utime(weights, ns=(0, weights.stat().st_mtime_ns + 1))  # other weights of the same size
    assert fingerprint(model) != before
    (baseline,) = named_models(["tfidf"])
    assert fingerprint(baseline) == "tfidf"
    with pytest.raises(UserError, match="no such file or folder"):
        fingerprint(named_models([str(tmp_path / "none")])[0])
    with pytest.raises(UserError, match="neither a folder here nor a model"):
        fingerprint(named_models(["nobody/no-such-model"])[0])


def test_tokenizers(tiny_model, tmp_path):
    (tmp_path / "config.json").write_text("{}")
    ours, bare, baseline = named_models([str(tiny_model), str(tmp_path), "tfidf"])
    assert load_tokenizer(ours)(["The page"])["input_ids"]
    assert load_tokenizer(bare) is None
    assert load_tokenizer(baseline) is None
