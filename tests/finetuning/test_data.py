"""What a fit reads, and every way in which data may not fit it."""

from __future__ import annotations

from pathlib import Path

import pytest

import labelled
from mlcl.core.errors import UserError
from mlcl.finetuning.data import labelled_task, read_data
from mlcl.finetuning.scoring import gold_of, headline, majority_rows
from mlcl.tasks._labelled import Example, TaggedSentence

HERE = Path("anywhere")


def read(task, **changes):
    return read_data(task, HERE, **{"train": ["en"], "evaluate": ["all"], **changes})


def test_dev_is_that_of_the_training_language_unless_joint_is_asked_for():
    task = labelled.task("classification")
    data = read(task)
    assert [part.name for part in data.dev] == ["made_up eng dev"]
    assert [part.language.tag for part in data.tests] == ["en", "de"]
    assert data.train == labelled.classification("en", "train")
    joint = read(task, dev=["joint"])
    assert [part.name for part in joint.dev] == ["made_up eng dev", "made_up deu dev"]
    assert [part.name for part in read(task, dev=["de"]).dev] == ["made_up deu dev"]
    both = read(task, train=["all"])
    assert len(both.train) == 2 * len(data.train)
    assert [language.tag for language in both.train_languages] == ["en", "de"]
    assert read(task, train=["deu"], evaluate=["de"]).train == labelled.classification("de", "train")


def test_fewer_examples_are_drawn_anew_for_each_seed():
    data = read(labelled.task("classification"))
    assert data.train_for(0, None, None) == data.train
    few = [data.train_for(seed, None, 10) for seed in (0, 0, 1)]
    assert few[0] == few[1] != few[2]
    assert len(few[0]) == 10
    assert len(data.train_for(0, 3, None)) == 6


def test_the_floor_of_a_further_task_is_the_label_of_training():
    def lopsided(language, split):
        return [Example(f"{language} {split} {n}", "a" if n < 3 else "b") for n in range(8 if split == "train" else 4)]

    data = read(labelled.task("classification", make=lopsided), further=[labelled.task("classification", "other")])
    rows = {(row.task, row.code, row.metric): row for row in majority_rows(data)}
    assert rows["made_up", "deu", "majority_accuracy"].value == 25, "b, where three of four are a"
    gold = gold_of(next(part for part in data.tests if part.task.name == "other"))
    assert rows["other", "eng", "majority_accuracy"].value == pytest.approx(100 * gold.count("b") / len(gold))


def test_texts_that_are_held_out_in_another_language_are_not_trained_on():
    def shared(language, split):
        if language == "de":
            return [Example("Same TEXT.", "a"), Example(f"nur {split}", "b")]
        return [Example(f"same text, {n}", label) for n, label in enumerate("ab")] + [Example("same  text.", "a")]

    data = read(labelled.task("classification", make=shared), train=["en"])
    assert [example.text for example in data.train] == ["same text, 0", "same text, 1"]
    assert len(data.tests[1].examples) == 2, "what is tested stays whole"
    assert len(read(labelled.task("classification", make=shared), evaluate=["en"]).train) == 3
    with pytest.raises(UserError, match="every text is also held out"):
        read(labelled.task("classification", make=lambda *_: [Example("x", "a"), Example("y", "b")]))


def test_a_sample_of_the_tests_is_the_same_in_every_run_and_language():
    task = labelled.task("retrieval")
    whole, sampled = read(task), read(task, most=5)
    assert sampled.train == whole.train
    assert sampled == read(task, most=5)
    assert [len(part.examples) for part in (*sampled.dev, *sampled.tests)] == [5, 5, 5]
    pairs = zip(sampled.tests, whole.tests, strict=True)
    places = [[every.examples.index(one) for one in few.examples] for few, every in pairs]
    assert places[0] == places[1] == sorted(places[0])
    assert read(task, most=999) == whole


def test_a_dev_set_that_was_cut_from_too_few_rows_chooses_nothing(capsys):
    def few(language, split):
        return [] if (language, split) == ("en", "dev") else labelled.classification(language, split)

    assert read(labelled.task("classification", make=few)).dev == []
    assert "made_up: no dev examples in eng" in capsys.readouterr().err
    assert [part.name for part in read(labelled.task("classification", make=few), dev=["joint"]).dev] == [
        "made_up deu dev"
    ]


def test_without_a_dev_split_nothing_chooses():
    assert read(labelled.task("classification", splits=("train", "test"))).dev == []


def test_entity_types_that_only_one_task_knows():
    def dated(language, split):
        return [TaggedSentence((*s.words, "today"), (*s.tags, "B-DATE")) for s in labelled.tagging(language, split)]

    task = labelled.task("tagging")
    other = labelled.task("tagging", "other", labels=("LOC", "DATE"), make=dated)
    data = read(task, further=[other], evaluate=["de"])
    assert [part.name for part in data.tests] == ["made_up deu test", "other deu test"]
    assert data.tests[1].task.labels == ("LOC",)
    assert {tag for tags in gold_of(data.tests[1]) for tag in tags} == {"O", "B-LOC", "I-LOC"}
    with pytest.raises(UserError, match="cannot be tested with the labels of made_up"):
        read(task, further=[labelled.task("classification", "third")])
    with pytest.raises(UserError, match="cannot be tested"):
        read(labelled.task("classification"), further=[labelled.task("classification", "x", labels=("a", "c"))])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"train": ["fr"]}, "fr"),
        ({"evaluate": ["xx"]}, "xx"),
        ({"dev": ["sw"]}, "sw"),
        ({"train": ["en"], "evaluate": ["en", "sw"]}, "sw"),
    ],
)
def test_unknown_languages(changes, message):
    with pytest.raises(UserError, match=message):
        read(labelled.task("classification"), **changes)


def test_a_language_without_the_split():
    with pytest.raises(UserError, match="train"):
        read(labelled.task("classification", splits=("dev", "test")))


@pytest.mark.parametrize(
    ("kind", "examples", "message"),
    [
        ("classification", [Example("x", "a"), Example("y", "a")], "one label 'a'"),
        ("regression", [Example("x", 1.0, "y"), Example("y", 1.0, "z")], "one label 1.0"),
        ("tagging", [TaggedSentence(("x", "y"), ("O", "O"))], "one label 'O'"),
        ("classification", [Example("x", "a"), Example(" ", "b")], "example 2 is an empty text"),
        ("pair", [Example("x", "same", " "), Example("y", "other", "y")], "example 1 is an empty text"),
        ("tagging", [TaggedSentence(("x", "y"), ("O", "B-PER")), TaggedSentence((), ())], "example 2 is an empty"),
        ("classification", [], "no examples"),
    ],
)
def test_data_that_cannot_be_learned(kind, examples, message):
    with pytest.raises(UserError, match=message):
        read(labelled.task(kind, make=lambda language, split: examples))


def test_tasks_without_labels_are_refused():
    with pytest.raises(UserError, match="'tatoeba' has no labels to learn"):
        labelled_task("tatoeba")
    with pytest.raises(UserError, match="unknown task 'wikian'"):
        labelled_task("wikian")


def test_the_floor_is_the_majority_of_the_training_labels():
    def skewed(language, split):
        label = "a" if split == "train" else "b"
        return [Example(f"x {language}", label)] * 3 + [Example(f"y {language}", "b" if label == "a" else "a")]

    data = read(labelled.task("classification", make=skewed))
    values = {(row.code, row.metric): row.value for row in majority_rows(data)}
    assert values["eng", "majority_accuracy"] == 25
    assert headline(data.tests[0], ["b", "b", "b", "a"]) == 100
    assert {row.metric for row in majority_rows(read(labelled.task("tagging")))} == {"majority_span_f1"}
    assert majority_rows(read(labelled.task("regression"))) == []
