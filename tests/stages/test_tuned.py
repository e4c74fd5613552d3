"""Fine-tuning inside a benchmark: checked first, run once, its rows beside those of the probes."""

from __future__ import annotations

import json
import shutil
import sys
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import labelled_layouts
import layouts
from mlcl.core.errors import UserError
from mlcl.core.files import write_json
from mlcl.stages import _tuned, benchmark
from mlcl.stages._tuned import fits
from mlcl.tasks import Result

LABELS = ("positive", "neutral", "negative")


class FakeEncoder:
    """Stands for `mlcl.Encoder`."""

    @classmethod
    def from_pretrained(cls, path):
        return cls()

    def encode(self, texts, batch_size=None, normalize=True, show_progress=False):
        return np.array([[len(text), 1 + sum(map(ord, text)) % 97, 1] for text in texts], dtype=np.float32)


@pytest.fixture
def root(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "mlcl.model.encoder", SimpleNamespace(Encoder=FakeEncoder))
    data = tmp_path / "data"
    layouts.tatoeba(data)
    for code, rows in (("hau", 12), ("yor", 9)):
        for part in ("train", "dev", "test"):
            lines = [f"{layouts.sentence(code + part, i)}\t{LABELS[i % 3]}" for i in range(rows)]
            layouts.write(data / "afrisenti" / "data" / code / f"{part}.tsv.gz", ["tweet\tlabel", *lines])
    layouts.write(tmp_path / "model" / "config.json", ["{}"])
    return data


@pytest.fixture
def runs(monkeypatch):
    """What `mlcl finetune` was asked for; it writes rows as the real one does."""
    asked = []

    def run(config):
        asked.append(config)
        made = []
        for code in ("hau", "yor"):
            for metric, direction, value in (("macro_f1", "full", 60.0), ("majority_macro_f1", "floor", 20.0)):
                row = Result("afrisenti", "test", code[:2], code, direction, metric, value, value - 5, value + 5, 9)
                made.append({**asdict(row), "model": "m", "seed": 3, "train_language": "ha"})
        average = {**made[0], "language": "avg:all", "code": "", "n": 2}
        write_json(Path(config.out) / "results.json", [*made, average])

    monkeypatch.setattr(_tuned.finetune, "fit_and_test", run)
    return asked


def config(root, **changes):
    values = {"model": [str(root.parent / "model"), "tfidf"], "data": str(root), "out": str(root.parent / "out")}
    return benchmark.Config(**{**values, "tasks": ["tatoeba"], "finetune": ["afrisenti"], **changes})


def test_every_model_is_tuned_once_and_its_rows_are_kept(root, runs):
    out = benchmark.run(config(root))
    assert [run.model for run in runs] == [str(root.parent / "model")]  # not the baseline
    assert runs[0].train_language == ["hau"]  # no English here, and Hausa has most
    rows = json.loads((out / "results.json").read_text(encoding="utf-8"))
    tuned = [row for row in rows if row["task"] == "afrisenti"]
    assert {(row["model"], row["seed"], row["train_language"]) for row in tuned} == {(root.parent.name, 3, "ha")}
    beside = json.loads((out / "benchmark.json").read_text(encoding="utf-8"))
    assert beside["headlines"]["afrisenti"] == [["macro_f1", "full"]]
    assert "afrisenti (full)" in {time["task"] for time in beside["times"]}
    assert "| afrisenti (from ha) | macro f1, full | 2 | 9 | 20.0 | 60.0 [55.0, 65.0] |" in (
        out / "results.md"
    ).read_text(encoding="utf-8")
    benchmark.run(config(root))
    assert len(runs) == 1
    benchmark.run(config(root, finetune_options={"afrisenti": {"training": {"epochs": 2}}}))
    assert len(runs) == 2
    assert runs[1].training.epochs == 2
    assert not list((out / "work" / "finetune").iterdir()), "models are not kept"


def test_several_seeds_count_as_their_mean(root, runs, monkeypatch):
    def run(settings):
        made = []
        for seed, value in ((0, 50.0), (1, 70.0)):
            for code in ("hau", "yor"):
                row = Result("afrisenti", "test", code[:2], code, "full", "macro_f1", value, value - 5, value + 5, 9)
                made.append({**asdict(row), "model": "m", "seed": seed, "train_language": "ha"})
            made.append({**made[-1], "language": "avg:all", "code": "", "n": 2})
        write_json(Path(settings.out) / "results.json", made)

    monkeypatch.setattr(_tuned.finetune, "fit_and_test", run)
    folders = []
    for name in ("one", "other"):
        layouts.write(root.parent / name / "config.json", ["{}"])
        folders.append(str(root.parent / name))
    out = benchmark.run(config(root, model=folders))
    assert "| 60.0 [55.0, 65.0] |" in (out / "results.md").read_text(encoding="utf-8")
    rows = json.loads((out / "results.json").read_text(encoding="utf-8"))
    assert {row["seed"] for row in rows if row["task"] == "afrisenti"} == {0, 1}, "every seed is kept"
    (compared,) = [
        one
        for one in json.loads((out / "benchmark.json").read_text(encoding="utf-8"))["comparisons"]
        if one["task"] == "afrisenti"
    ]
    assert (compared["difference"], compared["n"]) == (0.0, 2)
    averaged = _tuned.means_over_seeds([row for row in rows if row["task"] == "afrisenti"])
    assert [(row["value"], row["low"], row["seed"]) for row in averaged] == [(60.0, 55.0, None)] * 6


def test_the_encoder_before_tuning_is_no_headline(root, monkeypatch):
    def run(settings):
        row = asdict(Result("xquad", "test", "en", "en", "full", "map", 40.0, 30.0, 50.0, 9))
        floor = {**row, "direction": "floor", "metric": "untuned_map", "value": 20.0}
        write_json(Path(settings.out) / "results.json", [row, floor])

    monkeypatch.setattr(_tuned.finetune, "fit_and_test", run)
    fit = SimpleNamespace(settings=_tuned.finetune.Config("", "xquad", ""), task=None)
    record = _tuned._fitted(SimpleNamespace(place="m"), fit, root.parent / "fit")
    assert record["headlines"] == {"xquad": ["map", "full"]}


def test_probe_and_tuning_stand_side_by_side(root, runs):
    out = benchmark.run(config(root, tasks=["afrisenti"], model=[str(root.parent / "model")]))
    text = (out / "results.md").read_text(encoding="utf-8")
    assert "| afrisenti (linear, from ha) |" in text
    assert "| afrisenti (full, from ha) |" in text


@pytest.fixture
def named(root, monkeypatch):
    """A folder that also has names to tag, and an encoder that can."""
    labelled_layouts.wikiann(root)
    labelled_layouts.uner(root)
    monkeypatch.setattr(_tuned, "load_encoder", lambda place: None)
    return root


def probes(root, **changes):
    return config(root, **{"tasks": ["wikiann", "uner", "tatoeba"], "finetune": [], **changes})


def test_tagging_is_probed_by_a_head_over_frozen_states(named, runs):
    out = benchmark.run(probes(named))
    (asked,) = runs
    assert (asked.task, asked.tuning.method, asked.evaluate_tasks) == ("wikiann", "frozen", ["uner"])
    assert asked.train_language == ["en"]
    beside = json.loads((out / "benchmark.json").read_text(encoding="utf-8"))
    assert beside["left_out"] == {"wikiann (frozen) of tfidf": "n-grams have nothing to tune"}
    benchmark.run(probes(named))
    assert len(runs) == 1
    benchmark.run(probes(named, finetune_options={"wikiann": {"max_examples": 7}}))
    assert (runs[1].max_examples, runs[1].tuning.method) == (7, "frozen")
    layouts.write(named / "uner" / "UNER_German-PUD" / "de_pud-ud-test.iob2.gz", ["1\tX\tB-PER\t-\t-", ""])
    benchmark.run(probes(named))
    assert len(runs) == 3, "what the further task reads counts as well"
    benchmark.run(probes(named, finetune=["wikiann"], finetune_options={"wikiann": {"max_examples": 9}}))
    assert [(run.tuning.method, run.max_examples) for run in runs[3:]] == [("full", 9)], "the probe is as before"


def test_a_model_without_token_states_is_left_out_of_the_probe_alone(named, runs, monkeypatch):
    def refuse(place):
        raise UserError("it is a table of static vectors")

    monkeypatch.setattr(_tuned, "load_encoder", refuse)
    model = [str(named.parent / "model")]
    out = benchmark.run(probes(named, model=model))
    beside = json.loads((out / "benchmark.json").read_text(encoding="utf-8"))
    assert beside["left_out"] == {f"wikiann (frozen) of {named.parent.name}": "it is a table of static vectors"}
    assert {time["task"] for time in beside["times"]} == {"tatoeba"}
    assert "static vectors" in (out / "report.html").read_text(encoding="utf-8")
    monkeypatch.setattr(_tuned, "load_encoder", None)
    benchmark.run(probes(named, model=model))  # a finished run needs no model
    assert runs == []


def test_test_sets_without_their_training_sets(named, runs):
    with pytest.raises(UserError, match=r"uner has test sets alone \(add wikiann to --tasks"):
        benchmark.run(probes(named, tasks=["uner", "tatoeba"]))
    with pytest.raises(UserError, match=r"write finetune_options\.wikiann"):
        benchmark.run(probes(named, options={"wikiann": {"languages": ["de"]}}))
    shutil.rmtree(named / "wikiann")
    out = benchmark.run(probes(named, tasks=None))
    assert "wikiann, which it is fitted on" in json.loads((out / "benchmark.json").read_text())["left_out"]["uner"]


def test_settings_of_a_probe_that_is_not_run_are_no_mistake(root, capsys):
    assert fits([], {"wikiann": {"max_examples": 100}}, root) == []
    assert "finetune_options of wikiann have no effect" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("names", "options", "message"),
    [
        (["tatoeba"], {}, "no labels to fine-tune on"),
        (["afrisenti"], {"xnli": {}}, "finetune_options of xnli"),
        (["afrisenti"], {"afrisenti": {"trainin": {}}}, "trainin"),
        (["afrisenti"], {"afrisenti": {"train_language": ["sw"]}}, "sw"),
        (["afrisenti"], {"afrisenti": {"head": "cosine"}}, "cosine head does not fit a classification task"),
        (["afrisenti"], {"afrisenti": {"training": {"epochs": 0}}}, "training.epochs is 0"),
        (["afrisenti"], {"afrisenti": {"evaluate_tasks": ["tatoeba"]}}, "no labels to learn"),
        (["afrisenti"], {"afrisenti": {"mixed_sides": 0.5}}, "mixed_sides is for pairs of texts"),
    ],
)
def test_mistakes(root, names, options, message):
    with pytest.raises(UserError, match=message):
        fits(names, options, root)
