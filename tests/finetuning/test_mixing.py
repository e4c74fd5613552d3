"""The two sides of a pair in two languages: what is drawn, what is kept, what never comes in, and every mistake."""

from __future__ import annotations

from collections import Counter

import pytest

import labelled
import labelled_layouts
import layouts
from mlcl.core.errors import UserError
from mlcl.finetuning.data import labelled_task, read_data
from mlcl.finetuning.mixing import MIXED, check_mixable, mixed
from mlcl.tasks import pawsx, stsb_supervised, xnli, xquad
from mlcl.tasks._labelled import SPLITS, Example


@pytest.fixture
def root(tmp_path):
    return labelled_layouts.write_all(layouts.write_all(tmp_path))


def read(task, root, train=("all",), **more):
    data = read_data(task, root, train=list(train), evaluate=["all"], **more)
    check_mixable(data)
    return data


def mix(data, share, seed=0):
    return mixed(data.train, data.train, share, seed)


def language(text):
    """Of a sentence of `layouts`."""
    return text.rpartition(" ")[2]


@pytest.mark.parametrize("module", [xnli, pawsx, stsb_supervised])
def test_the_second_text_is_the_same_sentence_in_another_language(root, module):
    data = read(module.TASK, root)
    found, counts = mix(data, 1.0)
    assert len(found) == len(data.train)
    assert counts[MIXED] > 0.8 * len(found)
    for before, after in zip(data.train, found, strict=True):
        assert (after.text, after.label, after.unit, after.item) == (
            before.text, before.label, before.unit, before.item,
        )  # fmt: skip
        assert layouts.meaning(after.pair.strip('"')) == layouts.meaning(before.pair.strip('"'))
    languages = Counter((language(one.text), language(one.pair)) for one in found if one.pair not in ("", None))
    assert sum(n for (first, second), n in languages.items() if first != second) == counts[MIXED]
    assert len({second for first, second in languages if first == "en" and second != "en"}) > 1 or module is (
        stsb_supervised
    )


def test_a_share_is_drawn_by_the_seed(root):
    data = read(xnli.TASK, root)
    half, counts = mix(data, 0.5)
    assert sum(one is not other for one, other in zip(half, data.train, strict=True)) == counts[MIXED]
    assert counts[MIXED] == round(0.5 * len(data.train))
    assert mix(data, 0.5)[0] == half
    assert mix(data, 0.5, seed=1)[0] != half
    assert mix(data, 0.0) == (data.train, Counter())
    few = data.train_for(0, None, 10)
    assert mixed(few, data.train, 1.0, 0)[1] == {MIXED: 10}, "translations come from all that is trained on"


@pytest.mark.parametrize("module", [xnli, pawsx, stsb_supervised])
def test_nothing_that_is_held_out_comes_in(root, module):
    data = read(module.TASK, root, dev=["joint"])
    held_out = {text for part in (*data.dev, *data.tests) for one in part.examples for text in (one.text, one.pair)}
    for seed in range(3):
        assert not {one.pair for one in mix(data, 1.0, seed)[0]} & held_out - {one.pair for one in data.train}
    items = {one.item for part in (*data.dev, *data.tests) for one in part.examples}
    assert items
    assert not items & {one.item for one in data.train}


def test_translations_of_what_is_held_out_in_a_language_with_other_parts_are_left_out(root):
    """English has a test file of its own, so 90 % of its dev are trained on; of the German dev 30 % are the test."""
    rows = [
        labelled_layouts.xnli_row("en", "neutral", f"test {n} in en", f"then {n} in en", n, n) for n in range(9)
    ]  # fmt: skip
    layouts.write(root / "xnli" / "xnli.test.tsv", [labelled_layouts.XNLI_HEADER, *rows])
    data = read(xnli.TASK, root)
    held_out = {one.item for part in data.tests for one in part.examples}
    assert {item.partition(" ")[0] for item in held_out} == {"dev", "test"}
    assert not held_out & {one.item for one in data.train}
    assert any(one.item.startswith("dev") for one in data.train)
    results = xnli.load(root, xnli.Options())
    assert not {one.item for found in results.test.values() for one in found} & {one.item for one in results.train}
    assert results.rows.skipped["train: text also in dev or test of another language"] > 0


def test_what_has_no_translation_is_kept_and_counted():
    pool = [
        Example("a en", "x", "b en", item="1"), Example("a de", "x", "b de", item="1"),
        Example("c en", "x", "d en", item="2"),
        Example("e en", "x", "f en", item="3"), Example("e de", "y", "f de", item="3"),
        Example("g en", "x", "same", item="4"), Example("g de", "x", "same", item="4"),
        Example("h en", "x", "i en"), Example("h de", "x", "i de"),
    ]  # fmt: skip
    found, counts = mixed(pool, pool, 1.0, 0)
    assert [one.pair for one in found] == ["b de", "b en", *(one.pair for one in pool[2:])]
    assert counts == {
        MIXED: 2, "kept: in no other language": 3, "kept: another label in other languages": 2,
        "kept: the same text in other languages": 2,
    }  # fmt: skip


def write_own(folder, columns="id\ttext\tpair\tlabel", ids=lambda code, n: n, codes=("en", "de"), label=None):
    for code in codes:
        for part, numbers in (("train", range(8)), ("test", range(20, 24))):
            rows = []
            for n in numbers:
                named = {"id": ids(code, n), "text": f"{part} {n} {code}", "pair": f"so {n} {code}"}
                named |= {"label": "yes" if n % 2 else "no", "score": str(n % 3)}
                rows.append("\t".join(str(named[name]) for name in columns.split("\t")))
            layouts.write(folder / code / f"{part}.tsv", [columns, *rows])
    return labelled_task(str(folder))


@pytest.mark.parametrize("columns", ["id\ttext\tpair\tlabel", "score\tid\ttext\tpair"])
def test_folders_of_ones_own_are_aligned_by_their_ids(tmp_path, columns):
    data = read(write_own(tmp_path / "mine", columns), tmp_path)
    found, counts = mix(data, 1.0)
    assert counts == {MIXED: len(data.train)}
    assert all({language(one.text), language(one.pair)} == {"en", "de"} for one in found)


def test_without_a_unit_a_cut_keeps_the_rows_of_an_id_together(tmp_path):
    for code in ("en", "de"):
        rows = [f"{n}\t{code} {n}\tso {n} {code}\t{'yes' if n % 2 else 'no'}" for n in range(60)]
        layouts.write(tmp_path / "mine" / code / "train.tsv", ["id\ttext\tpair\tlabel", *rows])
    data = read(labelled_task(str(tmp_path / "mine")), tmp_path, dev=["joint"])
    by_split = [{one.item for one in found} for found in (data.train, *([p.examples for p in data.dev + data.tests]))]
    assert len(by_split[0]) > 20
    assert by_split[1] == by_split[2] != by_split[3] == by_split[4]
    assert not by_split[0] & by_split[1]


@pytest.mark.parametrize(
    ("changes", "train", "message"),
    [
        ({"columns": "text\tlabel"}, ["all"], "mixed_sides is for pairs of texts, mine is a classification task"),
        ({}, ["en"], "needs two training languages or more, this run has en alone"),
        ({"columns": "text\tpair\tlabel"}, ["all"], "which rows of mine translate each other .*column id"),
        ({"ids": lambda code, n: f"{code}{n}"}, ["en,de"], "no row of mine is among the training examples of two"),
        ({"ids": lambda code, n: n // 2}, ["all"], r"mine en train has 2 rows with the id '0'"),
    ],
)
def test_mistakes(tmp_path, changes, train, message):
    task = write_own(tmp_path / "mine", **changes)
    with pytest.raises(UserError, match=message):
        read(task, tmp_path, train=train[0].split(","))


def test_tasks_that_do_not_say_what_translates_what():
    with pytest.raises(UserError, match="nothing says which rows of made_up translate each other"):
        read(labelled.task("pair"), "anywhere")
    with pytest.raises(UserError, match="made_up is a tagging task"):
        read(labelled.task("tagging"), "anywhere")


@pytest.mark.real_data
@pytest.mark.parametrize(
    ("module", "train", "missing"),
    [(xnli, ["en", "my", "sw"], 0), (pawsx, ["en", "de"], 44), (stsb_supervised, ["en", "pl"], 30),
     (xquad, ["en", "zh"], 0)],
)  # fmt: skip
def test_published_pairs_are_aligned(data_root, module, train, missing):
    data = read(module.TASK, data_root, train, most=50)
    found, counts = mix(data, 1.0)
    assert {one.label for one in data.train} == {one.label for one in found}
    assert counts["kept: another label in other languages"] == 0, "translations have one label"
    assert counts["kept: in no other language"] <= max(2, missing), "all but rows that one language left out"
    assert counts[MIXED] > 0.95 * len(found)
    second = {one.pair: number for number, part in enumerate(data.train_parts) for one in part.examples}
    parts = [number for number, part in enumerate(data.train_parts) for _ in part.examples]
    other = sum(second[one.pair] != number for one, number in zip(found, parts, strict=True))
    assert other > 0.9 * counts[MIXED]
    assert all(split in SPLITS for split in {one.item.partition(" ")[0] for one in found})
