"""`mlcl finetune`: from a folder of data to model, tables and report; interrupted runs; every mistake one line."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import replace

import pytest

import labelled
from mlcl.cli import main
from mlcl.finetuning import data
from mlcl.finetuning.prediction import Predictor
from mlcl.model.encoder import Encoder


@pytest.fixture(autouse=True)
def tasks(monkeypatch):
    """Made-up tasks beside the real ones."""
    known = {kind: labelled.task(kind, f"made_up_{kind}") for kind in labelled.MAKERS}
    real = data.labelled_task
    monkeypatch.setattr(
        "mlcl.finetuning.data.labelled_task",
        lambda name: known[name.removeprefix("made_up_")] if name.startswith("made_up_") else real(name),
    )
    return known


@pytest.fixture
def words(tiny_model, tmp_path):
    def words(task="made_up_tagging", *more):
        return [
            "finetune", "--model", str(tiny_model), "--task", task, "--data", str(tmp_path), "--out",
            str(tmp_path / "out"), "--training.epochs", "3", "--training.batch-size", "8",
            "--training.learning-rate", "2e-3", "--training.head-learning-rate", "1e-2", *more,
        ]  # fmt: skip

    return words


def read(path):
    return json.loads(path.read_text(encoding="utf-8"))


def test_train_in_one_language_test_in_all(words, tmp_path, capsys, tiny_model):
    longer = ["--training.epochs", "8", "--training.patience", "0"]
    assert main(words("made_up_tagging", "--seeds", "2", "--keep", "all", *longer)) == 0
    out = tmp_path / "out"
    assert sorted(path.name for path in out.iterdir()) == [
        "model-0", "model-1", "report.html", "results.json", "results.md", "runs.json",
    ]  # fmt: skip
    assert not (tmp_path / "out.unfinished").exists()
    rows = read(out / "results.json")
    assert list(rows[0]) == [
        "task", "split", "language", "code", "direction", "metric", "value", "low", "high", "n", "model", "seed",
        "train_language",
    ]  # fmt: skip
    fitted = [row for row in rows if row["direction"] == "full"]
    assert {row["seed"] for row in fitted} == {0, 1}
    assert {row["train_language"] for row in fitted} == {"en"}
    by_language = {row["language"]: row["value"] for row in fitted if row["metric"] == "span_f1" and row["seed"] == 0}
    assert by_language["en"] > 20, "the floor is 0"
    gap = [row["value"] for row in fitted if row["metric"] == "transfer_gap_span_f1" and row["seed"] == 0][0]
    assert gap == pytest.approx(by_language["en"] - by_language["de"])
    assert by_language["avg:transfer"] == by_language["de"]
    floor = [row for row in rows if row["direction"] == "floor"]
    assert {(row["metric"], row["value"], row["seed"]) for row in floor} == {("majority_span_f1", 0.0, None)}
    runs = read(out / "runs.json")
    assert [run["seed"] for run in runs] == [0, 1]
    assert all(run["updates"] == 48 and run["peak_memory_bytes"] > 0 for run in runs)
    text = (out / "results.md").read_text(encoding="utf-8")
    assert "| eng | English (trained) | 24 |" in text
    assert "±" in text
    assert "cut by hand" in text
    assert "chosen on made_up_tagging eng dev" in text
    page = (out / "report.html").read_text(encoding="utf-8")
    assert page.count("data:image/svg+xml") == 1
    assert "German" in page
    predictor = Predictor.from_pretrained(out / "model-1")
    assert len(predictor.predict([["the", "page"]])[0]) == 2
    printed = capsys.readouterr()
    assert printed.out.strip().endswith(str(out))
    assert "dev " in printed.err
    # A folder that was fitted is an encoder to start from
    again = words("made_up_classification", "--overwrite")
    again[again.index(str(tiny_model))] = str(out / "model-1")
    again[again.index(str(out))] = str(tmp_path / "second")
    assert main(again) == 0
    assert read(tmp_path / "second" / "model" / "mlcl.json")["labels"] == ["a", "b"]


@pytest.mark.parametrize(
    ("task", "flags", "direction", "train_language"),
    [
        ("classification", ["--tuning.method", "frozen"], "frozen", "en"),
        ("classification", ["--tuning.method", "prototypes", "--shots", "4"], "prototypes, 4 shots", "en"),
        ("classification", ["--tuning.method", "zero-shot"], "zero-shot", None),
        ("classification", ["--train-language", "all", "--dev", "joint"], "full", "all"),
        ("pair", ["--head", "bi-encoder", "--shots", "5", "--train-language", "en,de"], "full, 5 shots", "en+de"),
        ("regression", ["--tuning.freeze-layers", "1", "--max-examples", "20"], "full above layer 1", "en"),
        ("pair", ["--max-test-examples", "7"], "full", "en"),
        ("classification", ["--dev", "de", "--tuning.method", "frozen"], "frozen", "en"),
    ],
)
def test_ways_of_fitting(words, tmp_path, task, flags, direction, train_language):
    assert main(words(f"made_up_{task}", *flags)) == 0
    rows = [row for row in read(tmp_path / "out" / "results.json") if row["direction"] != "floor"]
    assert {row["direction"] for row in rows} == {direction}
    assert {row["train_language"] for row in rows} == {train_language}
    split = "test (joint dev)" if "joint" in flags else "test (dev de)" if "de" in flags else "test"
    assert {row["split"] for row in rows} == {split}
    assert {row["code"] for row in rows} >= {"eng", "deu"}
    assert {row["n"] for row in rows if row["code"]} == {7 if "7" in flags else 24}
    assert ("at most 7" in (tmp_path / "out" / "results.md").read_text(encoding="utf-8")) == ("7" in flags)
    if split != "test" and train_language != "all":
        assert "no zero-shot transfer" in (tmp_path / "out" / "results.md").read_text(encoding="utf-8")


@pytest.fixture
def pairs(tasks, monkeypatch):
    """Pairs that are parallel over the two languages; the training set of German lacks one."""

    def make(language, split):
        found = labelled.pairs("en", split)
        other = labelled.pairs(language, split)
        items = [
            replace(one, label=english.label, item=f"{split} {n}")
            for n, (one, english) in enumerate(zip(other, found, strict=True))
        ]
        return items[1:] if (language, split) == ("de", "train") else items

    tasks["pair"] = labelled.task("pair", "made_up_pair", make=make)


@pytest.mark.parametrize("method", ["full", "frozen"])
def test_mixed_sides(words, pairs, tmp_path, capsys, method):
    flags = ["--train-language", "all", "--mixed-sides", "1", "--training.epochs", "1", "--seeds", "2"]
    assert main(words("made_up_pair", *flags, "--tuning.method", method)) == 0
    out = tmp_path / "out"
    rows = [row for row in read(out / "results.json") if row["direction"] != "floor"]
    assert {row["direction"] for row in rows} == {f"{method}, 1 mixed sides"}
    assert {row["split"] for row in rows} == {"test"}
    said = "second text of another language, 1 x kept: in no other language"
    assert capsys.readouterr().err.count(said) == 2
    text = (out / "results.md").read_text(encoding="utf-8")
    assert "For 100 % of the training examples" in text
    assert "1 x kept: in no other language" in text


def test_each_seed_mixes_anew_and_none_takes_the_features_of_another(words, pairs, monkeypatch):
    from mlcl.stages import _finetune_seeds

    fitted, fit = [], _finetune_seeds.fit

    def watched(model, train, *more, **named):
        fitted.append([tuple(map(tuple, one.ids)) for one in train])
        assert named["cache"] is None
        return fit(model, train, *more, **named)

    monkeypatch.setattr(_finetune_seeds, "fit", watched)
    flags = ["--train-language", "all", "--mixed-sides", "0.5", "--training.epochs", "1", "--seeds", "2"]
    assert main(words("made_up_pair", *flags, "--tuning.method", "frozen")) == 0
    assert fitted[0] != fitted[1]


def test_few_shot_methods_choose_no_checkpoint(words, tmp_path):
    assert main(words("made_up_classification", "--tuning.method", "prototypes", "--shots", "4")) == 0
    assert "checkpoint was chosen" not in (tmp_path / "out" / "results.md").read_text(encoding="utf-8")


def test_retrieval_makes_an_encoder(words, tmp_path, capsys):
    assert main(words("made_up_retrieval", "--seeds", "2")) == 0
    out = tmp_path / "out"
    rows = read(out / "results.json")
    metrics = {row["metric"] for row in rows if row["direction"] == "full" and row["code"]}
    assert metrics == {"map", "accuracy", "map_own_language", "own_language_top1"}
    floor = [row for row in rows if row["direction"] == "floor"]
    assert [(row["metric"], row["code"]) for row in floor] == [("untuned_map", "eng"), ("untuned_map", "deu")]
    text = (out / "results.md").read_text(encoding="utf-8")
    assert "encoder before tuning" in text
    assert "mAP, all languages in one pool" in text
    capsys.readouterr()
    vectors = Encoder.from_pretrained(out / "model").encode(["page the", "seite"])
    assert vectors.shape == (2, 32)
    assert "lm_head" not in capsys.readouterr().err, "no word about weights that retrieval has no use for"
    assert (out / "model" / "modules.json").is_file(), "sentence-transformers loads it too"


def test_labels_of_ones_own(tiny_model, tmp_path, capsys):
    for name, rows in {
        "en/train": [
            f"{word} number {n}\t{label}" for n in range(12) for word, label in (("page", "a"), ("your", "b"))
        ],
        "de/test": ["seite gelöscht\ta", "passwort\tb"],
    }.items():
        file = tmp_path / "mine" / f"{name}.tsv"
        file.parent.mkdir(parents=True)
        file.write_text("\n".join(["text\tlabel", *rows]) + "\n", encoding="utf-8")
    flags = ["finetune", "--model", str(tiny_model), "--task", str(tmp_path / "mine"), "--training.epochs", "1"]
    assert main([*flags, "--out", str(tmp_path / "out")]) == 0
    rows = [row for row in read(tmp_path / "out" / "results.json") if row["direction"] != "floor"]
    assert {row["task"] for row in rows} == {"mine"}
    assert {(row["code"], row["train_language"]) for row in rows} >= {("en", "en"), ("de", "en")}
    assert Predictor.from_pretrained(tmp_path / "out" / "model").predict(["seite"])[0] in ("a", "b")
    with (tmp_path / "mine" / "de" / "test.tsv").open("a", encoding="utf-8") as file:
        file.write("noch eine\tc\n")
    capsys.readouterr()
    assert main([*flags, "--out", str(tmp_path / "again"), "--train-language", "fr"]) == 2
    assert "error: mine: language 'fr' is not here (there are: en, de)" in capsys.readouterr().err
    assert main([*flags, "--out", str(tmp_path / "again")]) == 2
    assert "test.tsv:4: label 'c' is unknown (labels: a, b)" in capsys.readouterr().err
    flags[flags.index("--task") + 1] = "xnli"
    assert main([*flags, "--out", str(tmp_path / "again")]) == 2
    assert "--data is not given" in capsys.readouterr().err


def test_label_descriptions_come_from_a_file(words, tmp_path, capsys):
    file = tmp_path / "labels.yaml"
    file.write_text("a: [the page was deleted, die seite]\nb: your password\n", encoding="utf-8")
    flags = ["--tuning.method", "zero-shot", "--label-descriptions", str(file)]
    assert main(words("made_up_classification", *flags)) == 0
    for text in ("a: the page\n", "a: the page\nb:\n", "a: the page\nb: []\n"):
        file.write_text(text, encoding="utf-8")
        capsys.readouterr()
        assert main(words("made_up_classification", *flags, "--overwrite", "--model", "nowhere/at/all")) == 2
        assert "b not described" in capsys.readouterr().err, "before a model is looked for"


def test_a_run_that_is_stopped_goes_on(words, tasks, tiny_model, tmp_path, capsys, monkeypatch):
    tiny_copy = shutil.copytree(tiny_model, tmp_path / "start")
    steady = words("made_up_tagging", "--seeds", "2", "--model", str(tiny_copy))
    assert main(steady) == 0
    expected = read(tmp_path / "out" / "results.json")
    model = (tmp_path / "out" / "model" / "model.safetensors").read_bytes()
    shutil.rmtree(tmp_path / "out")

    from mlcl.finetuning.fit import Dev

    calls, score = [], Dev.__call__

    def interrupted(self, model):
        calls.append(1)
        if len(calls) == 5:  # in the second epoch of the second seed
            raise KeyboardInterrupt
        return score(self, model)

    monkeypatch.setattr(Dev, "__call__", interrupted)
    capsys.readouterr()
    assert main(steady) == 130
    error = capsys.readouterr().err
    assert "continue with --resume" in error
    assert not (tmp_path / "out").exists()
    assert main(steady) == 2
    assert "an unfinished run lies here" in capsys.readouterr().err
    assert main([*steady, "--resume", "--training.epochs", "4"]) == 2
    assert "started with another training" in capsys.readouterr().err
    assert main([*steady, "--resume", "--keep", "all"]) == 2, "the model of the first seed alone was kept"
    assert "started with another keep" in capsys.readouterr().err
    for wrong in (["--overwrite", "--head", "cosine"], ["--overwrite", "--evaluate", "sw"]):
        assert main([*steady, *wrong]) == 2
        assert list((tmp_path / "out.unfinished").glob("seed-0/done.json")), "a mistake deletes nothing"
    with monkeypatch.context() as changed:
        fewer = tasks["tagging"].read
        changed.setitem(
            tasks, "tagging", replace(tasks["tagging"], read=lambda *where: fewer(*where)[1:])
        )  # a sentence has been taken out
        capsys.readouterr()
        assert main([*steady, "--resume"]) == 2
        assert "started with another data (files have changed)" in capsys.readouterr().err
    weights = tiny_copy / "model.safetensors"
    written = weights.stat().st_mtime_ns
    os.utime(weights, ns=(0, written + 1))  # other weights of the same size
    assert main([*steady, "--resume"]) == 2
    assert "started with another model (files have changed)" in capsys.readouterr().err
    os.utime(weights, ns=(0, written))
    calls.clear()
    assert main([*steady, "--resume"]) == 0
    assert len(calls) == 2, "the first seed and the first epoch of the second are done"
    assert read(tmp_path / "out" / "results.json") == expected
    assert (tmp_path / "out" / "model" / "model.safetensors").read_bytes() == model
    assert not (tmp_path / "out.unfinished").exists()


@pytest.mark.parametrize(
    ("task", "flags", "message"),
    [
        ("made_up_tagging", ["--head", "cosine"], "cosine head does not fit a tagging task"),
        ("made_up_tagging", ["--tuning.method", "prototypes"], "is for classification"),
        ("made_up_tagging", ["--shots", "4"], "shots are examples of a label"),
        ("made_up_classification", ["--shots", "40"], "shots is 40, but the training set has"),
        ("made_up_classification", ["--shots", "4", "--max-examples", "9"], "exclude each other"),
        ("made_up_classification", ["--train-language", "sw"], "sw"),
        ("made_up_classification", ["--evaluate", "en,nope"], "nope"),
        ("made_up_classification", ["--tuning.layer-decay", "2"], "tuning.layer_decay is 2"),
        ("made_up_classification", ["--training.epochs", "0"], "training.epochs is 0"),
        ("made_up_classification", ["--seeds", "0"], "seeds is 0"),
        ("made_up_classification", ["--max-test-examples", "0"], "max_test_examples is 0"),
        ("made_up_classification", ["--label-descriptions", "x.yaml"], "for --tuning.method zero-shot"),
        ("made_up_classification", ["--tuning.method", "prototypes", "--head", "token"], "makes a sentence head"),
        ("made_up_classification", ["--resume"], "no run to resume"),
        ("made_up_classification", ["--seed", "-1"], "seed is -1"),
        ("made_up_classification", ["--train-language", "[]"], "train_language names no language"),
        ("made_up_classification", ["--evaluate", "[]"], "evaluate names no language"),
        ("made_up_classification", ["--max-examples", "1"], "1 training examples of seed 0 have the one label"),
        ("made_up_regression", ["--max-examples", "1"], "have the one label"),
        ("made_up_classification", ["--tuning.method", "prototypes", "--dev", "joint"], "no checkpoints to choose"),
        ("made_up_pair", ["--mixed-sides", "1.5"], "mixed_sides is 1.5, it must be in [0, 1]"),
        ("made_up_pair", ["--mixed-sides", "-0.1"], "mixed_sides is -0.1, it must be in [0, 1]"),
        ("made_up_pair", ["--mixed-sides", ".nan"], "mixed_sides is nan, it must be in [0, 1]"),
        ("made_up_pair", ["--mixed-sides", "0.5"], "needs two training languages or more, this run has eng alone"),
        ("made_up_pair", ["--mixed-sides", "0.5", "--train-language", "all"], "which rows of made_up_pair translate"),
        ("made_up_tagging", ["--mixed-sides", "0.5", "--train-language", "all"], "made_up_tagging is a tagging task"),
        ("made_up_classification", ["--tuning.method", "zero-shot", "--label-descriptions", "no.yaml"], "no such file"),
        ("tatoeba", [], "'tatoeba' has no labels to learn"),
        ("made_up_regression", ["--training.class-weights", "true"], "class_weights weigh labels"),
        ("made_up_retrieval", ["--tuning.method", "frozen"], "leaves nothing to train"),
        ("made_up_retrieval", ["--head", "cosine"], "cosine head does not fit a retrieval task"),
        ("made_up_regression", ["--tuning.method", "frozen", "--head", "cosine"], "leaves nothing to train"),
        ("made_up_classification", ["--model", "tfidf"], "nothing to tune"),
        ("made_up_classification", ["--model", "nowhere/at/all"], "no such model folder"),
    ],
)
def test_mistakes_are_one_clear_line(words, tmp_path, capsys, task, flags, message):
    assert main(words(task, *flags)) == 2
    lines = capsys.readouterr().err.strip().split("\n")
    assert message in lines[-1]
    assert not (tmp_path / "out").exists()
    assert not (tmp_path / "out.unfinished").exists()


def test_an_output_that_exists_is_kept(words, tmp_path, capsys):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").touch()
    assert main(words("made_up_classification")) == 2
    assert "already exists" in capsys.readouterr().err
    assert (tmp_path / "out" / "mine").exists()
