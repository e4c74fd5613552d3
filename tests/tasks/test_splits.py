"""How splits are cut where a data set publishes too few parts, and that nothing leaks between them."""

from __future__ import annotations

from collections import Counter

import pytest

import labelled_layouts
import layouts
from mlcl.core import plugins
from mlcl.core.errors import UserError
from mlcl.core.files import RowCounter
from mlcl.tasks import afrisenti, masakhaner, pawsx, sib200, stsb_supervised, uner, wikiann, xnli
from mlcl.tasks._labelled import SPLITS
from mlcl.tasks._splits import plan
from mlcl.tasks._tagging import restricted


def splits(task, root, code):
    counters = {split: RowCounter() for split in SPLITS}
    return {split: task.read(root, code, split, counters[split]) for split in SPLITS}, counters


@pytest.mark.parametrize(
    ("parts", "train", "dev", "test"),
    [
        ("train dev test", ("train", 100), ("dev", 100), ("test", 100)),
        ("train dev", ("train", 90), ("train", 10), ("dev", 100)),
        ("train test", ("train", 90), ("train", 10), ("test", 100)),
        ("dev test", ("dev", 90), ("dev", 10), ("test", 100)),
        ("train", ("train", 60), ("train", 10), ("train", 30)),
        ("dev", ("dev", 60), ("dev", 10), ("dev", 30)),
    ],
)
def test_the_plan_covers_every_published_row_once(parts, train, dev, test):
    found = plan(parts.split(" "))
    assert {split: (part, len(share)) for split, (part, share) in found.items()} == {
        "train": train,
        "dev": dev,
        "test": test,
    }
    for part in parts.split(" "):
        covered = Counter(value for of, share in found.values() if of == part for value in share)
        assert covered == Counter(range(100))


def test_a_lone_test_part_stays_whole():
    assert plan(["test"]) == {"test": ("test", range(100))}


@pytest.mark.parametrize(
    ("module", "codes"), [(xnli, ("de", "en", "zh")), (pawsx, ("de", "en", "ko")), (sib200, ("deu_Latn", "eng_Latn")),
                          (stsb_supervised, ("de", "en"))]
)  # fmt: skip
def test_a_unit_is_on_the_same_side_in_every_language(tmp_path, module, codes):
    labelled_layouts.write_all(layouts.write_all(tmp_path))
    sides: dict[str, set[str]] = {}
    for code in codes:
        found, _ = splits(module.TASK, tmp_path, code)
        for split, examples in found.items():
            for example in examples:
                sides.setdefault(example.unit, set()).add(split)
    # In the two data sets with train and dev, the numbers of the rows of dev begin again at 0
    assert all(len(side) == 1 or side == {"train", "test"} and module is stsb_supervised for side in sides.values())
    assert {split for side in sides.values() for split in side} == set(SPLITS)


def test_pairs_that_share_an_english_sentence_are_one_unit(tmp_path):
    folder = tmp_path / "pawsx" / "x-final"
    header = "id\tsentence1\tsentence2\tlabel"
    layouts.write(folder / "en" / "dev_2k.tsv", [header, "1\ta\tb\t1", "2\tx\ty\t0", "3\tc\ta\t0", "4\tb\td\t1"])
    layouts.write(folder / "de" / "dev_2k.tsv", [header, "1\tA\tB\t1", "2\tX\tY\t0", "3\tC\tNS\t0", "4\tB\tD\t1"])
    rows = RowCounter()
    found = [e for split in SPLITS for e in pawsx.TASK.read(tmp_path, "de", split, rows)]
    assert {example.text: example.unit for example in found} == {"A": "1", "X": "2", "B": "1"}
    (folder / "en" / "dev_2k.tsv").unlink()
    with pytest.raises(UserError, match="the en file of this part is missing"):
        pawsx.TASK.read(tmp_path, "de", "test", RowCounter())


def test_texts_of_test_are_left_out_of_train_and_dev_and_counted(tmp_path):
    folder = tmp_path / "afrisenti" / "data" / "hau"
    for part, tweets in (("train", ["A b!", "c", "d", "e"]), ("dev", ["c", "f", "D"]), ("test", ["a B", "F?", "g"])):
        layouts.write(folder / f"{part}.tsv", ["tweet\tlabel", *(f"{tweet}\tneutral" for tweet in tweets)])
    found, counters = splits(afrisenti.TASK, tmp_path, "hau")
    assert {split: [e.text for e in examples] for split, examples in found.items()} == {
        "train": ["e"],
        "dev": ["c", "D"],
        "test": ["a B", "F?", "g"],
    }
    assert counters["train"].skipped == {"train: text also in dev": 2, "train: text also in test": 1}
    assert counters["dev"].skipped == {"dev: text also in test": 1}
    assert [counters[split].good_rows for split in SPLITS] == [1, 2, 3]


def test_official_parts_are_not_cut(tmp_path):
    labelled_layouts.write_all(layouts.write_all(tmp_path))
    found, _ = splits(masakhaner.TASK, tmp_path, "swa")
    assert [len(found[split]) for split in SPLITS] == [20, 20, 21], "one sentence is in all three"
    layouts.write(
        tmp_path / "wikiann" / "panx_dataset" / "de" / "test", ["de:Bonn\tB-LOC", "", "de:ab\tO", "de:Ulm\tI-LOC"]
    )
    found, _ = splits(wikiann.TASK, tmp_path, "de")
    assert [len(found[split]) for split in SPLITS] == [60, 60, 2]
    assert found["test"][1].tags == ("O", "B-LOC")


def test_test_only_languages_say_so(tmp_path):
    labelled_layouts.uner(tmp_path)
    assert [(one.code, one.tag, one.splits) for one in uner.TASK.languages(tmp_path)] == [
        ("en_pud", "en", ("test",)),
        ("de_pud", "de", ("test",)),
    ]
    with pytest.raises(UserError, match="uner: the data set has no train part"):
        uner.TASK.read(tmp_path, "en_pud", "train", RowCounter())
    fitted_on = plugins.load("mlcl.tasks", uner.FITTED_ON).TASK
    assert fitted_on.labels == uner.TASK.labels


def test_entity_types_can_be_restricted(tmp_path):
    labelled_layouts.masakhaner(tmp_path)
    task = restricted(masakhaner.TASK, wikiann.TASK.labels)
    assert task.labels == ("PER", "ORG", "LOC")
    rows = RowCounter()
    for one, whole in zip(
        task.read(tmp_path, "amh", "test", rows), masakhaner.TASK.read(tmp_path, "amh", "test", rows), strict=True
    ):
        assert one.words == whole.words
        assert one.tags == tuple("O" if tag == "B-DATE" else tag for tag in whole.tags)
    with pytest.raises(UserError, match="has no entity type MISC"):
        restricted(masakhaner.TASK, ["PER", "MISC"])
    with pytest.raises(UserError, match="xnli is no tagging task"):
        restricted(xnli.TASK, ["PER"])
