"""Labels of one's own: every kind of file and of task, parts that are missing, and every mistake one clear line."""

from __future__ import annotations

import gzip
import json

import pytest

from mlcl.core.errors import UserError
from mlcl.core.files import RowCounter
from mlcl.finetuning.data import labelled_task, needs_data
from mlcl.tasks._labelled import Example, TaggedSentence


@pytest.fixture
def write(tmp_path):
    def write(name, text):
        file = tmp_path / "mine" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(gzip.compress(text.encode()) if name.endswith(".gz") else text.encode())
        return tmp_path / "mine"

    return write


def read(task, code, split="test"):
    rows = RowCounter()
    return task.read("", code, split, rows), rows


def test_classification_from_three_kinds_of_file(write):
    write("en/train.tsv", 'text\tlabel\na "quoted" text\tgood\nanother\tbad\n \tbad\none field\n')
    write("deu/test.csv.gz", 'id,label,text\n1,bad,"mit, Komma\nund Zeile"\n2,good,label\n')
    rows = [{"text": "x\u2028y", "label": "good", "n": 1}, {"label": "bad", "text": None}, {"label": "bad"}]
    folder = write("sw/test.jsonl", "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    task = labelled_task(str(folder))
    assert (task.name, task.kind, task.labels, task.metric) == ("mine", "classification", ("bad", "good"), "macro_f1")
    assert {(one.code, one.tag, one.splits) for one in task.languages("")} == {
        ("deu", "de", ("test",)), ("en", "en", ("train", "dev", "test")), ("sw", "sw", ("test",)),
    }  # fmt: skip
    parts = [example for split in ("train", "dev", "test") for example in read(task, "en", split)[0]]
    assert sorted(parts, key=lambda example: example.text) == [
        Example('a "quoted" text', "good"), Example("another", "bad"),
    ]  # fmt: skip
    _, counted = read(task, "en")
    assert (dict(counted.skipped), counted.bad.total()) == ({"empty text": 1}, 1)
    assert read(task, "deu")[0] == [
        Example("mit, Komma\nund Zeile", "bad", unit="1", item="test 1"),
        Example("label", "good", unit="2", item="test 2"),
    ]
    found, counted = read(task, "sw")
    assert found == [Example("x\u2028y", "good")]
    assert (counted.skipped["empty text"], counted.bad["no text"]) == (1, 1)


def test_pairs_keep_their_unit_on_one_side_in_every_language(write):
    for code in ("en", "de"):
        rows = [f"{code} {n} {m}\tpremise {n}\t{'yes' if m else 'no'}\t{n}" for n in range(40) for m in range(3)]
        folder = write(f"{code}/train.tsv", "text\tpair\tlabel\tunit\n" + "\n".join(rows) + "\n")
    task = labelled_task(str(folder))
    assert (task.kind, task.metric) == ("pair", "accuracy")
    units = {
        code: {split: {example.unit for example in read(task, code, split)[0]} for split in ("train", "dev", "test")}
        for code in ("en", "de")
    }
    assert units["en"] == units["de"]
    assert not units["en"]["train"] & units["en"]["test"]
    assert {*units["en"]["train"], *units["en"]["dev"], *units["en"]["test"]} == {str(n) for n in range(40)}


def test_scores_and_tags(write):
    folder = write("en/test.tsv", "text\tpair\tscore\na\tb\t4.5\n")
    task = labelled_task(str(folder))
    assert (task.kind, task.labels) == ("regression", ())
    assert read(task, "en")[0] == [Example("a", 4.5, "b")]
    (folder / "en" / "test.tsv").unlink()
    write("en/train.conll", "Ada\tB-PER\nsings\tO\n\nin\tO\nRome\tI-LOC\n")
    write("fi/test.conll", "Rooma\tB-LOC\n")
    task = labelled_task(str(folder))
    assert (task.kind, task.labels) == ("tagging", ("LOC", "PER"))
    assert read(task, "fi")[0] == [TaggedSentence(("Rooma",), ("B-LOC",))]


def test_a_file_of_labels_gives_their_order_and_those_that_training_lacks(write):
    write("labels.txt", "ugly\ngood\nbad\n")
    write("en/train.tsv", "text\tlabel\nx\tgood\n")
    folder = write("de/test.tsv", "text\tlabel\ny\tugly\n")
    task = labelled_task(str(folder))
    assert task.labels == ("ugly", "good", "bad")
    assert read(task, "de")[0] == [Example("y", "ugly")]


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"readme.tsv": "text\tlabel\n"}, r"holds no LANGUAGE/train\.tsv"),
        ({"en/train.tsv": "sentence\tclass\nx\ty\n"}, r"columns are sentence, class"),
        ({"en/train.tsv": ""}, "empty"),
        ({"en/train.jsonl": "{nonsense\n"}, "not JSON"),
        ({"en/train.tsv": "text\ttext\tlabel\nx\tz\ty\n"}, r"train\.tsv:1: the column 'text' comes twice"),
        ({"labels.txt": "\n", "en/train.tsv": "text\tlabel\nx\ty\n"}, r"labels\.txt: it holds no label"),
        ({"en/train.jsonl": "[1]\n"}, "not a JSON object"),
        (
            {"en/train.tsv": "text\tlabel\nx\ty\n", "de/test.conll": "x\tO\n"},
            r"test\.conll: this is a tagging task, en/train\.tsv a",
        ),
        ({"en/train.tsv": "text\tlabel\nx\ty\n", "en/train.csv": "text,label\nx,y\n"}, r"there is train\.\w+ too"),
    ],
)
def test_folders_that_are_no_task(write, files, message):
    for name, text in files.items():
        folder = write(name, text)
    with pytest.raises(UserError, match=message):
        labelled_task(str(folder))


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"de/test.tsv": "text\tlabel\nx\tunheard\n"}, r"test\.tsv.*label 'unheard' is unknown"),
        ({"de/train.tsv": "text\tlabel\nx\tgood\nz\t\n"}, r"train\.tsv:3: label '' is unknown"),
        ({"xx-unknown-tag/test.tsv": "text\tlabel\nx\tgood\n"}, "xx"),
    ],
)
def test_files_that_do_not_fit_the_others(write, files, message):
    write("en/train.tsv", "text\tlabel\nx\tgood\ny\tbad\n")
    for name, text in files.items():
        folder = write(name, text)
    task = labelled_task(str(folder))
    with pytest.raises(UserError, match=message):
        [read(task, language.code) for language in task.languages("") if language.code != "en"]


def test_scores_must_be_numbers(write):
    folder = write("en/test.tsv", "text\tpair\tscore\na\tb\thigh\n")
    with pytest.raises(UserError, match=r"score 'high' is no number"):
        read(labelled_task(str(folder)), "en")


def test_names_of_tasks_come_before_folders(write, monkeypatch):
    folder = write("xnli/en/train.tsv", "text\tlabel\nx\tgood\n")
    monkeypatch.chdir(folder)
    assert needs_data("xnli")
    assert not needs_data("./xnli")
    assert labelled_task("./xnli").kind == "classification"
    with pytest.raises(UserError, match="unknown task 'nowhere'"):
        labelled_task("nowhere")
