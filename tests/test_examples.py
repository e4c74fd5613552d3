"""Every example runs as its page says, on a tiny model, and prints what it promises."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import pytest

import layouts

ROOT = Path(__file__).resolve().parent.parent / "examples"


@pytest.fixture
def run(capsys):
    """Name of an example and its words -> what it prints."""

    def run(name, *words):
        spec = importlib.util.spec_from_file_location(f"example_{name}", ROOT / f"{name}.py")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        capsys.readouterr()
        module.main([str(word) for word in words])
        return capsys.readouterr().out.strip().split("\n")

    return run


def test_search_across_languages(run, tiny_model):
    printed = run("search_across_languages", "La page a été supprimée.", "--model", tiny_model, "--results", 3)
    assert len(printed) == 3
    assert re.fullmatch(r"1\.00  La page a été supprimée\.", printed[0])
    scores = [float(line[:5]) for line in printed]
    assert scores == sorted(scores, reverse=True)


def test_train_on_own_pairs(run, tiny_model, tmp_path):
    names = ["page", "Seite", "password", "your", "deleted", "wurde", "Enter", "The"]
    rows = [f"{first} {second}\t{second} {first} was" for first in names for second in names if first != second]
    (tmp_path / "pairs.tsv").write_text("anchor\tpositive\n" + "\n".join(rows) + "\n", encoding="utf-8")
    words = ["--pairs", tmp_path / "pairs.tsv", "--model", tiny_model, "--out", tmp_path / "out"]
    printed = run("train_on_own_pairs", *words, "--steps", 3, "--batch", 16)
    before, after = (line for line in printed if line.startswith(("before", "after")))
    assert re.fullmatch(r"before: \d+\.\d % of 6 unseen pairs found", before)
    assert re.fullmatch(r"after:  \d+\.\d %", after)
    assert (tmp_path / "out" / "model" / "model.safetensors").is_file()
    assert (tmp_path / "out" / "model" / "modules.json").is_file()


def test_classify_across_languages(run, tiny_model, tmp_path):
    words = ["--model", tiny_model, "--out", tmp_path / "out", "--method", "prototypes"]
    printed = run("classify_across_languages", *words)
    labels = "account|delivery|praise|refund"
    assert [bool(re.match(rf"({labels}) \(\d+%\)  ", line)) for line in printed[-4:]] == [True] * 4
    assert (tmp_path / "out" / "report.html").is_file()
    table = "\n".join(printed)
    for language in ("German", "Spanish", "French", "Swahili", "Chinese"):
        assert language in table


def test_mine_bitext(run, tiny_model, tmp_path):
    texts = ["The page was deleted.", "Enter your password", "Die Seite wurde gelöscht."]
    (tmp_path / "a.txt").write_text("\n".join(texts) + "\n", encoding="utf-8")
    (tmp_path / "b.txt").write_text("\n".join(reversed(texts)) + "\n", encoding="utf-8")
    words = ["--source", tmp_path / "a.txt", "--target", tmp_path / "b.txt", "--threshold", 0]
    printed = [line.split("\t") for line in run("mine_bitext", "--model", tiny_model, *words)]
    assert sorted(source for _, source, _ in printed) == sorted(texts)
    assert all(source == target for _, source, target in printed), "a text is nearest to itself"
    assert run("mine_bitext", "--model", tiny_model, "--threshold", 99) == [""]


def test_evaluate_sentence_transformer(run, tiny_model, tmp_path):
    pytest.importorskip("sentence_transformers")
    layouts.tatoeba(tmp_path)
    words = ["--model", tiny_model, "--data", tmp_path, "--tasks", "tatoeba", "--languages", "de,cmn"]
    printed = run("evaluate_sentence_transformer", *words)
    assert {line.partition(": ")[0] for line in printed} >= {"tatoeba de", "tatoeba zh-Hans", "tatoeba avg:all"}
    assert re.search(r"accuracy \d+\.\d \[\d+\.\d, \d+\.\d\], n = 8", printed[0])


def test_the_page_lists_every_example_and_this_file_runs_it():
    names = {path.stem for path in ROOT.glob("*.py")}
    listed = set(re.findall(r"^\| \[(\w+)\.py\]", (ROOT / "README.md").read_text(encoding="utf-8"), re.M))
    assert names == listed
    assert {f"test_{name}" for name in names} <= set(globals())


def test_the_data_of_the_examples_is_what_finetune_reads():
    from mlcl.core.files import RowCounter
    from mlcl.finetuning.data import labelled_task

    task = labelled_task(str(ROOT / "intents"))
    assert task.labels == ("account", "delivery", "praise", "refund")
    languages = {language.tag: language for language in task.languages("")}
    assert set(languages) == {"en", "de", "es", "fr", "sw", "zh-Hans"}
    rows = RowCounter()
    assert len(task.read("", "en", "train", rows)) == 48
    assert not rows.bad
    assert not rows.skipped
