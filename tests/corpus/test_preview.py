"""The dry run: its drops are those of the build, each filter is shown alone, and nothing is written."""

from __future__ import annotations

import json

import pytest

from mlcl.cli import main
from mlcl.corpus.build import BuildSettings, build
from mlcl.corpus.clean import PAIR_FILTERS, TEXT_FILTERS, CleanSettings
from mlcl.corpus.preview import preview
from mlcl.corpus.quality import USUAL
from mlcl.corpus.sources import Source

PAIRS = [
    ("Good morning to all of you in room 12", "Guten Morgen euch allen in Raum 12"),
    ("Good morning to all of you in room 12", "Guten Morgen euch allen in Raum 12"),
    ("12345", "67890"),
    ("See the page on 24 August", "Siehe die Seite vom 25. August"),
    ("Write to me@example.org, my friend", "Schreib mir, mein Freund"),
]


@pytest.fixture
def data(tmp_path):
    for place, tag in enumerate(("en", "de")):
        (tmp_path / f"a.{tag}").write_text("".join(pair[place] + "\n" for pair in PAIRS), encoding="utf-8")
    (tmp_path / "c.yaml").write_text("sources:\n  - {format: moses, path: a}\nclean: {same_numbers: true}\n")
    return tmp_path


def test_drops_are_those_of_the_build_and_filters_stand_alone(data):
    settings = BuildSettings([Source("moses", "a")], clean=CleanSettings(same_numbers=True))
    before = sorted(data.iterdir())
    found = preview(settings, data, show_progress=False)
    assert sorted(data.iterdir()) == before
    manifest = build(settings, data, data / "out", show_progress=False).manifest
    assert (found.drops, found.texts, found.problem) == (manifest["drops"], manifest["texts"], None)
    alone = {drop["reason"]: drop["texts"] for drop in found.alone}
    assert alone == {
        "no letters": 2, "numbers differ": 2, "personal data (asleep; with personal_data: drop)": 1,
    }  # fmt: skip


def test_a_build_that_leaves_nothing_says_why(data):
    settings = BuildSettings([Source("moses", "a")], clean=CleanSettings(min_length=500))
    found = preview(settings, data, show_progress=False)
    assert "no text is left" in found.problem
    assert {drop["reason"] for drop in found.alone} >= {"too short"}


def test_the_command_writes_nothing(data, capsys):
    words = ["corpus", "build", "--config", str(data / "c.yaml"), "--data", str(data)]
    assert main([*words, "--dry_run", "true"]) == 0
    printed = capsys.readouterr().out
    assert "numbers differ" in printed
    assert "of 10 texts would be kept; nothing was written" in printed
    assert not list(data.glob("out*"))
    assert main(words) == 2
    assert "--out is missing" in capsys.readouterr().err


def test_every_usual_value_wakes_its_filter():
    filters = {check.__name__ for check in (*TEXT_FILTERS, *PAIR_FILTERS)}
    assert set(USUAL) <= filters
    for settings, _ in USUAL.values():
        assert all(getattr(CleanSettings(), name) != value for name, value in settings.items())
    assert json.dumps({name: settings for name, (settings, _) in USUAL.items()})
