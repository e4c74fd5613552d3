from __future__ import annotations

import pytest

from mlcl.core.text import normalise_key
from mlcl.formats import ntrex
from mlcl.tasks._distractors import KINDS, distractors

SENTENCES = [
    "Phil Mickelson has played 47 matches since 10 September, the BBC says.",
    "It can't be 95, said Theresa May on Friday, who is in London.",
    "Jim Furyk did not lose to Real Madrid; he will not stop.",
    "But Boris Johnson met Jim Furyk and Phil Mickelson; Furyk had a house.",
    "Nothing but this.",
]


def made(number, kind, per_kind=50):
    return set(distractors(SENTENCES, per_kind)[number][kind])


def test_numbers_become_others_of_their_form():
    found = made(0, "numbers")
    assert SENTENCES[0].replace("47", "95") in found
    assert SENTENCES[0].replace("10 ", "47 ") in found
    assert SENTENCES[0].replace("September", "March") in found
    assert SENTENCES[1].replace("Friday", "Sunday") in made(1, "numbers")
    assert distractors(["There are 1,850 men."])[0]["numbers"] == ["There are 1,851 men."]  # no other of that form


def test_names_become_names_of_as_many_words():
    found = made(3, "entities")
    assert SENTENCES[3].replace("Boris Johnson", "Theresa May") in found
    assert SENTENCES[3].replace("Jim Furyk", "Real Madrid") in found
    assert SENTENCES[3].replace("Boris Johnson", "London") not in found
    assert not any(text.startswith(("London", "BBC")) for text in found), "But is no name"
    assert SENTENCES[2].replace("Jim Furyk", "Theresa May") in made(2, "entities")  # stands inside sentence 3


def test_negations_come_and_go():
    assert made(0, "negation") == {SENTENCES[0].replace("has played", "has not played")}
    assert made(1, "negation") == {SENTENCES[1].replace("can't", "can"), SENTENCES[1].replace("is in", "is not in")}
    assert made(2, "negation") == {SENTENCES[2].replace("did not", "did"), SENTENCES[2].replace("will not", "will")}
    assert not made(3, "negation"), "`had a house` takes no `not`"


def test_what_cannot_be_changed_stays_alone():
    assert distractors(SENTENCES)[4] == {kind: [] for kind in KINDS}
    assert distractors([]) == []


def test_no_distractor_is_a_sentence_of_the_set():
    sentences = ["He has 2 cats.", "He has 3 cats!", "He has 4 cats."]
    for versions in distractors(sentences):
        assert versions["numbers"] == []


@pytest.mark.real_data
def test_news_sentences(data_root):
    versions, _ = ntrex.load(data_root / "ntrex", documents="74-92", languages=["en"])
    sentences = versions[0].texts
    found = distractors(sentences)
    assert found == distractors(sentences)
    keys = {normalise_key(text) for text in sentences}
    for text, changed in zip(sentences, found, strict=True):
        for kind in KINDS:
            assert len(changed[kind]) <= 4
            assert len(set(changed[kind])) == len(changed[kind])
            assert not {normalise_key(other) for other in changed[kind]} & keys
            assert all(set(other.split()) & set(text.split()) for other in changed[kind])
    counts = {kind: sum(bool(changed[kind]) for changed in found) for kind in KINDS}
    assert counts["numbers"] > 80
    assert counts["entities"] > 180
    assert counts["negation"] > 180
