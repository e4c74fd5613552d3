"""The labelled tasks on the published files: the sizes that their descriptions give, and a probe on a slice of each."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from mlcl.core import plugins
from mlcl.core.files import RowCounter
from mlcl.formats import fakenews as fakenews_layout
from mlcl.retrieval.tfidf import TfidfEncoder
from mlcl.tasks import afrisenti, masakhaner, pawsx, sib200, stsb_supervised, uner, wikiann, xnli, xquad
from mlcl.tasks._labelled import SPLITS

pytestmark = pytest.mark.real_data


def sizes(task, root, code):
    """Sizes of the splits, and one counter of everything that was left out."""
    rows = [RowCounter() for _ in SPLITS]
    found = [task.read(root, code, split, counter) for split, counter in zip(SPLITS, rows, strict=True)]
    return [len(examples) for examples in found], rows


def headline(results, module, language):
    return next(r for r in results if (r.metric, r.direction, r.language) == (*module.HEADLINE, language))


def test_xnli(data_root):
    assert len(xnli.TASK.languages(data_root)) == 16
    units = []
    for code in ("en", "my"):
        found = {split: xnli.TASK.read(data_root, code, split, RowCounter()) for split in SPLITS}
        assert sum(map(len, found.values())) == 2490
        units.append({split: {example.unit for example in examples} for split, examples in found.items()})
        assert Counter(e.label for examples in found.values() for e in examples) == dict.fromkeys(xnli.TASK.labels, 830)
    assert units[0] == units[1]
    assert [round(len(units[0][split]) / 830, 1) for split in SPLITS] == [0.6, 0.1, 0.3]


def test_pawsx_has_as_many_untranslated_rows_as_its_description_says(data_root):
    for code, untranslated in {"de": 68, "es": 38, "ko": 35, "ja": 20, "zh": 16, "fr": 8, "en": 0}.items():
        numbers, rows = sizes(pawsx.TASK, data_root, code)
        assert [counter.skipped["not translated (NS)"] for counter in rows] == [untranslated] * 3
        dropped = sum(rows[0].skipped.values()) + rows[1].skipped["dev: text also in test"] - untranslated
        assert sum(numbers) == 2000 - untranslated - dropped
        assert dropped <= 1
    korean = pawsx.TASK.read(data_root, "ko", "train", RowCounter()) + pawsx.TASK.read(
        data_root, "ko", "test", RowCounter()
    )
    assert sum("\x1c" in example.text + example.pair for example in korean) == 1


def test_wikiann(data_root):
    numbers, (train, dev, test) = sizes(wikiann.TASK, data_root, "de")
    left_out = train.skipped["train: text also in test"] + dev.skipped["dev: text also in test"]
    assert numbers[2] == test.good_rows == 10_000
    assert numbers[0] + numbers[1] + left_out == 20_000
    assert 250 < left_out < 3_000
    first = wikiann.TASK.read(data_root, "de", "train", RowCounter())[0]
    assert (first.words[:4], first.tags[3:5]) == (("als", "Teil", "der", "Savoyer"), ("B-LOC", "I-LOC"))


def test_masakhaner_repairs_as_many_tags_as_its_description_says(data_root):
    repaired = Counter()
    sentences = 0
    for language in masakhaner.TASK.languages(data_root):
        _, rows = sizes(masakhaner.TASK, data_root, language.code)
        repaired[language.code] = sum(counter.skipped["I- tag that starts an entity (kept as B-)"] for counter in rows)
        sentences += sum(c.good_rows for c in rows) + sum(
            number for c in rows for reason, number in c.skipped.items() if "text also in" in reason
        )
    assert (repaired.pop("kin"), repaired.pop("zul"), sum(repaired.values())) == (16, 10, 6)
    assert len(repaired) == 7
    assert sentences == 74_969


def test_xquad(data_root):
    articles = {}
    for code in ("en", "zh"):
        found = {split: xquad.TASK.read(data_root, code, split, RowCounter()) for split in SPLITS}
        assert sum(map(len, found.values())) == 1190
        assert len({example.label for examples in found.values() for example in examples}) == 240
        articles[code] = {split: {example.unit for example in examples} for split, examples in found.items()}
    assert articles["en"] == articles["zh"]
    assert len(set().union(*articles["en"].values())) == sum(map(len, articles["en"].values())) == 48


def test_uner(data_root):
    for code in ("en_pud", "de_pud"):
        sentences = uner.TASK.read(data_root, code, "test", RowCounter())
        assert len(sentences) == 1000
        assert {tag for one in sentences for tag in one.tags} == set(uner.TASK.tags)


def test_afrisenti(data_root):
    total = 0
    for language in afrisenti.TASK.languages(data_root):
        numbers, rows = sizes(afrisenti.TASK, data_root, language.code)
        total += sum(numbers) + sum(sum(counter.skipped.values()) for counter in rows)
        assert not any(counter.bad for counter in rows)
    assert total == 66_300
    data = afrisenti.load(data_root, afrisenti.Options(languages=["swa"]))
    assert data.train_language == "ha"  # no English here, and Hausa has most


def test_fakenews(data_root):
    rows = {
        code: [sum(1 for _ in fakenews_layout.labelled(file, code, RowCounter())) for file in files.values()]
        for code, files in fakenews_layout.files(data_root / "fakenews").items()
    }
    assert rows == {
        "ar-ans": [3185, 906],
        "en-LIAR": [10_269, 1284],
        "es-FakeNewsCorpusSpanish": [676, 295],
        "ur-BendTheTruth": [638],
        "vi-VFND": [226],
        "zh-CHECKED": [1485, 212],
    }
    chinese = fakenews_layout.files(data_root / "fakenews")["zh-CHECKED"]["train"]
    labels = Counter(row.label for row in fakenews_layout.labelled(chinese, "zh-CHECKED", RowCounter()))
    assert labels == {"real": 1183, "fake": 302}


def test_sib200_and_stsb(data_root):
    assert len(sib200.TASK.languages(data_root)) == 48
    for code in ("eng_Latn", "kor_Hang"):
        numbers, _ = sizes(sib200.TASK, data_root, code)
        assert (numbers[2], numbers[0] + numbers[1]) == (99, 701)
    numbers, rows = sizes(stsb_supervised.TASK, data_root, "en")
    assert numbers[2] == 1500
    assert numbers[0] + numbers[1] + sum(sum(counter.skipped.values()) for counter in rows) == 5749


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("xnli", {"languages": ["en", "my"]}),
        ("pawsx", {"languages": ["de", "ko"]}),
        ("afrisenti", {"languages": ["swa"], "train_languages": ["swa"]}),
        ("fakenews", {"languages": ["ur"], "train_languages": ["ur"]}),
        ("sib200", {"languages": ["en", "ko"]}),
        ("stsb_supervised", {"languages": ["en"]}),
    ],
)
def test_a_probe_on_a_slice(data_root, name, options):
    task = plugins.load("mlcl.tasks", name)
    lexical = TfidfEncoder()

    def narrow(texts):
        """Character n-grams, projected to 128 dimensions, which is quicker and enough."""
        rows = lexical(texts)
        return rows @ np.random.default_rng(0).normal(size=(rows.shape[1], 128)).astype(np.float32)

    results = task.evaluate(narrow, data_root, task.Options(max_train_examples=500, strengths=[10.0], **options))
    first = task.TASK.languages(data_root)[0].tag if options["languages"][0] == "en" else results[0].language
    own = headline(results, task, first)
    assert own.low <= own.value <= own.high
    if name in ("afrisenti", "fakenews", "sib200"):  # character n-grams know something about these, in one language
        floor = next(r for r in results if r.metric == f"majority_{task.TASK.metric}" and r.language == first)
        assert own.value > floor.value
    if name == "stsb_supervised":
        assert own.value > 40
