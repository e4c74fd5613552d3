"""xsim and xsim++: an encoder of topics makes no error among plain sentences and many among changed ones."""

from __future__ import annotations

import re

import numpy as np
import pytest

import layouts
from mlcl.core.errors import UserError
from mlcl.tasks import xsim

TABLE = np.random.default_rng(0).normal(size=(400, 32)).astype(np.float32)


def perfect(texts):
    return TABLE[[layouts.meaning(text) for text in texts]]


def write(root, n=40):
    """Sentences whose topic is their number and whose detail is a weekday; every language says both."""
    days = "Monday Tuesday Wednesday Thursday Friday Saturday Sunday".split()
    english = [f"Topic{chr(97 + i // 26)}{chr(97 + i % 26)} is on {days[i % 7]}." for i in range(n)]
    layouts.write(root / "pud" / "pud.eng.txt", english)
    layouts.write(root / "pud" / "pud.deu.txt", [f"German: {text}" for text in english])
    layouts.write(root / "pud" / "pud.sent_id.txt", [f"n01001{i:03}" for i in range(n)])


def details(text):
    topic = re.search(r"Topic(\w\w)", text)[1]
    return topic, re.search(r"(\w+day)", text)[1], " not " in text


def encoder(*parts):
    """Sees some of topic (0), day (1) and negation (2); each part that it sees has its own random vector."""

    def embed(texts):
        rows = []
        for text in texts:
            seen = [str(details(text)[part]) for part in parts]
            rows.append(
                sum(np.random.default_rng([*map(ord, f"{p}{word}")]).normal(size=64) for p, word in enumerate(seen))
            )
        return np.array(rows)

    return embed


def values(results, code="deu"):
    return {r.metric: r.value for r in results if r.code == code and r.direction == "into en"}


def test_an_encoder_that_sees_everything_makes_no_error(tmp_path):
    write(tmp_path)
    found = values(xsim.evaluate(encoder(0, 1, 2), tmp_path, xsim.Options(sets=["pud"])))
    assert len(found) == 5
    assert set(found.values()) == {0}


def test_each_kind_of_distractor_finds_its_own_blindness(tmp_path):
    write(tmp_path)
    options = xsim.Options(sets=["pud"])
    no_days = values(xsim.evaluate(lambda t: encoder(0, 2)(t) + jitter(t), tmp_path, options))
    assert no_days["xsim_error"] == no_days["xsimpp_negation_error"] == 0
    assert no_days["xsimpp_numbers_error"] == pytest.approx(80, abs=20)  # 4 of 5 candidates are wrong
    no_negation = values(xsim.evaluate(lambda t: encoder(0, 1)(t) + jitter(t), tmp_path, options))
    assert no_negation["xsim_error"] == no_negation["xsimpp_numbers_error"] == 0
    assert no_negation["xsimpp_negation_error"] == pytest.approx(50, abs=25)
    assert no_negation["xsimpp_error"] == no_negation["xsimpp_negation_error"]


def jitter(texts):
    """So little that only texts with equal vectors change their order."""
    return np.array([np.random.default_rng([*map(ord, text)]).normal(size=64) * 1e-3 for text in texts])


def test_distractors_that_a_perfect_encoder_understands_do_no_harm(tmp_path):
    layouts.write_all(tmp_path)
    results = xsim.evaluate(perfect, tmp_path)
    assert {r.split for r in results} == {"ntrex documents 74-92", "pud"}
    assert {r.value for r in results} == {0}
    assert {r.code for r in results if r.split == "pud" and r.code} == {"deu", "zho"}


def test_wrong_options(tmp_path):
    layouts.write_all(tmp_path)
    with pytest.raises(UserError, match="unknown set 'flores'"):
        xsim.load(tmp_path, xsim.Options(sets=["flores"]))
    with pytest.raises(UserError, match="per_kind is 0"):
        xsim.load(tmp_path, xsim.Options(per_kind=0))


@pytest.mark.real_data
def test_ntrex_with_the_answers_and_with_noise(data_root):
    options = xsim.Options(sets=["ntrex"], languages=["de", "fr"])
    (one,) = xsim.load(data_root, options).values()
    assert len(one.english.texts) == 348
    assert {kind: len(texts) > 250 for kind, texts in one.changed.items()} == dict.fromkeys(one.changed, True)
    row = {text: place for side in [one.english, *one.others] for place, text in enumerate(side.texts)}
    table = np.random.default_rng(1).normal(size=(348, 32))

    def oracle(texts):
        far = np.random.default_rng(2).normal(size=(len(texts), 32))
        return np.array([table[row[text]] if text in row else other for text, other in zip(texts, far, strict=True)])

    found = values(xsim.evaluate(oracle, data_root, options))
    assert found["xsim_error"] == pytest.approx(0, abs=0.6)
    assert found["xsimpp_error"] == pytest.approx(0, abs=0.6)
    noise = values(xsim.evaluate(lambda t: np.random.default_rng(0).normal(size=(len(t), 8)), data_root, options))
    assert min(noise.values()) > 95
