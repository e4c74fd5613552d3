"""The tasks on the published data: the right sizes, 100 % for an encoder that knows the answer, chance for noise."""

from __future__ import annotations

import numpy as np
import pytest

from mlcl.core.languages import canonical
from mlcl.formats import ntrex as ntrex_layout
from mlcl.formats import pud as pud_layout
from mlcl.formats import tatoeba as tatoeba_layout
from mlcl.retrieval.tfidf import TfidfEncoder
from mlcl.tasks import multiparallel, ntrex, stsb, tatoeba

pytestmark = pytest.mark.real_data


def noise(texts):
    return np.random.default_rng(0).normal(size=(len(texts), 16)).astype(np.float32)


def oracle(groups):
    """An encoder that gives the texts of a group one vector; a text of two groups gets the last one's."""
    vectors = np.random.default_rng(1).normal(size=(len(groups), 24)).astype(np.float32)
    of = {text: row for row, group in enumerate(groups) for text in group}
    return lambda texts: vectors[[of[text] for text in texts]]


def headline(results, task, language="avg:all"):
    return [r for r in results if (r.metric, r.direction) == task.HEADLINE and r.language == language]


def test_tatoeba(data_root):
    options = tatoeba.Options(trained_languages=["de", "zh-Hans", "sw"])
    results = tatoeba.evaluate(noise, data_root, options)
    (everything,) = headline(results, tatoeba)
    assert everything.n == 92
    assert everything.value < 1  # 1 in 104 at best
    (trained,) = headline(results, tatoeba, "avg:trained")
    assert trained.n == 2  # deu and cmn; there is no Swahili
    codes = {r.code for r in results if r.code}
    assert {"kzj", "dtp"} <= codes
    sizes = {r.code: r.n for r in results if r.metric == "accuracy"}
    assert (min(sizes[code] for code in codes), max(sizes[code] for code in codes)) == (104, 1000)


def test_tatoeba_with_the_answers(data_root):
    sides = {other.code: (english, other) for english, other in tatoeba_layout.pairs(data_root / "tatoeba")}
    english, german = sides["deu"]
    encoder = oracle(list(zip(english.texts, german.texts, strict=True)))
    results = tatoeba.evaluate(encoder, data_root, tatoeba.Options(languages=["deu"]))
    values = {r.metric: r.value for r in results if r.direction == "mean" and r.code == "deu"}
    repeated = 1000 - min(len(set(english.texts)), len(set(german.texts)))
    assert values["accuracy"] >= 100 - repeated / 10
    assert values["xsim_error_cosine"] <= repeated / 10


def test_ntrex_and_pud_with_the_answers_and_with_ngrams(data_root):
    versions, documents = ntrex_layout.load(data_root / "ntrex", documents="74-92")
    assert (len(versions), len(documents), len(set(documents))) == (65, 348, 19)
    results = ntrex.evaluate(oracle(list(zip(*(v.texts for v in versions), strict=True))), data_root)
    (everything,) = headline(results, ntrex)
    assert (everything.n, everything.value) == (64, pytest.approx(100, abs=0.5))

    versions, _ = pud_layout.load(data_root / "pud")
    assert (versions[0].tag, len(versions), len(versions[0].texts)) == ("en", 19, 1000)
    chosen = multiparallel.Options(sets=["pud"], languages=["deu", "swe", "zho", "tha"])
    results = multiparallel.evaluate(TfidfEncoder(), data_root, chosen)
    values = {r.language: r.value for r in headline_rows(results)}
    assert set(values) == {"de", "sv", "zh-Hant", "th"}
    assert min(values["de"], values["sv"]) > 60 > 30 > max(values["zh-Hant"], values["th"]) > 5


def headline_rows(results):
    return [r for r in results if (r.metric, r.direction) == multiparallel.HEADLINE and r.code]


def test_sib200_sets(data_root):
    results = multiparallel.evaluate(noise, data_root, multiparallel.Options(sets=["sib200-dev"], all_pairs=False))
    (everything,) = headline(results, multiparallel)
    assert everything.n == 47
    assert 0 < everything.value < 4  # chance is 1 in 99
    assert {r.n for r in results if r.code} == {99}
    assert canonical("kor_Hang") == "ko"


def test_stsb(data_root):
    (within,) = headline(stsb.evaluate(noise, data_root, stsb.Options(languages=["en", "de"])), stsb)
    assert abs(within.value) < 8
    results = stsb.evaluate(TfidfEncoder(), data_root, stsb.Options(languages=["en", "de", "fr"]))
    (within,) = headline(results, stsb)
    assert within.value > 65
    assert {r.n for r in results if r.code} == {1500}
    across = next(r for r in results if (r.language, r.direction) == ("avg:all", "across"))
    assert 5 < across.value < within.value - 20
