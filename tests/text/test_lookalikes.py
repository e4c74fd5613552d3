"""Words of two scripts whose letters look the same; Latin and Cyrillic letters are told apart by `unicodedata` here."""

from __future__ import annotations

import gzip
import unicodedata
from pathlib import Path

import pytest
import regex
from hypothesis import given
from hypothesis import strategies as st

from mlcl.text.lookalikes import one_script

SERBIAN = "када сам био мали, он је имао кућу"
LATIN_VOWELS = str.maketrans("аео", "aeo")  # what some keyboards and converters make of them
MIXED = regex.compile(r"(?=\p{L}*\p{Latin})(?=\p{L}*\p{Cyrillic})\p{L}+")


def test_a_cyrillic_text_with_latin_vowels_is_cyrillic_again():
    damaged = SERBIAN.translate(LATIN_VOWELS)
    assert damaged != SERBIAN
    assert one_script(damaged) == SERBIAN


def test_short_words_alone_follow_a_damaged_text_only():
    assert one_script("кaдa је o томе") == "када је о томе"
    assert one_script("o томе a не") == "o томе a не"


def test_the_letters_without_a_twin_decide():
    assert one_script("Gооgle") == "Google"  # Cyrillic о in an English word
    assert one_script("СD у Москви") == "CD у Москви"
    assert one_script("Αθήνa") == "Αθήνa"  # Latin a is no Greek alpha to the eye


@pytest.mark.parametrize(
    "text", ["µTorrent", "Weб", "Google је", "Sainsbury's", "β-blocker", "日本語 OK", "", "α-Wert"]
)
def test_what_needs_both_scripts_stays(text):
    assert one_script(text) == text


@given(st.text(alphabet="аеосжбпaeocbdгλον AB,1'", max_size=30))
def test_it_is_idempotent_and_changes_look_alikes_alone(text):
    repaired = one_script(text)
    assert one_script(repaired) == repaired
    assert len(repaired) == len(text)
    for before, after in zip(text, repaired, strict=True):
        assert before == after or {_script(before), _script(after)} <= {"CYRILLIC", "LATIN", "GREEK"}


def _script(letter: str) -> str:
    return unicodedata.name(letter).split()[0]


@pytest.mark.real_data
def test_the_serbian_of_ntrex(data_root: Path) -> None:
    path = data_root / "ntrex" / "NTREX-128" / "newstest2019-ref.srp-Cyrl.txt.gz"
    with gzip.open(path, "rt", encoding="utf-8") as file:
        lines = file.read().split("\n")
    before, after = (sum(len(MIXED.findall(line)) for line in version) for version in (lines, map(one_script, lines)))
    words = sum(len(regex.findall(r"\w+", line)) for line in lines)
    assert (words, before, after) == (31_893, 8_551, 4)  # docs/results.md
