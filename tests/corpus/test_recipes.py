"""Corpora made from corpora: merge, split, sample and diff keep what they promise."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from mlcl.cli import main
from mlcl.corpus.build import BuildSettings, build
from mlcl.corpus.sources import Source
from mlcl.corpus.store import Corpus, CorpusWriter


def pair(source: str, target: str, group: int, document: str = "", origin: str = "a", lang: str = "de") -> dict:
    return {
        "source_lang": "en", "target_lang": lang, "source": source, "target": target, "group": group,
        "document": document, "origin": origin,
    }  # fmt: skip


def mono(text: str, group: int, lang: str = "en", document: str = "", origin: str = "m") -> dict:
    return {"lang": lang, "text": text, "group": group, "document": document, "origin": origin}


def make(folder: Path, pairs: list[dict], monos: list[dict] = (), licence: str = "CC0", **facts: Any) -> Corpus:
    writer = CorpusWriter(folder)
    writer.write_pairs(pairs)
    writer.write_mono(list(monos))
    texts = writer.texts_per_origin
    drops = facts.pop("drops", [])
    kept, dropped = texts.total(), sum(drop["texts"] for drop in drops)
    writer.close(
        texts={"read": kept + dropped, "kept": kept, "dropped": dropped},
        groups=len({row["group"] for row in [*pairs, *monos]}),
        largest_group={"group": 0, "texts": 1, "samples": []},
        evaluation_texts=facts.pop("evaluation_texts", 0),
        origins={name: {"licence": licence, "texts": count} for name, count in texts.items()},
        drops=drops,
        sources=[],
    )
    return Corpus.open(folder)


def rows(corpus: Corpus, kind: str = "pairs") -> list[dict]:
    batches = corpus.pair_batches() if kind == "pairs" else corpus.mono_batches()
    return [row for batch in batches for row in batch.to_pylist()]


def check_conserved(manifest: dict) -> None:
    texts = manifest["texts"]
    assert texts["read"] == texts["kept"] + texts["dropped"]
    assert texts["dropped"] == sum(drop["texts"] for drop in manifest["drops"])
    assert texts["kept"] == sum(origin["texts"] for origin in manifest["origins"].values())


# --- merge -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def two(tmp_path: Path) -> tuple[Path, Path]:
    drop = {"reason": "too long", "origin": "a", "texts": 2, "samples": ["en: x"]}
    make(
        tmp_path / "one",
        [pair("The page.", "Die Seite.", 0), pair("The page.", "La page.", 0, lang="fr"), pair("A cat", "Katze", 1)],
        [mono("Alone", 2)],
        drops=[drop],
        evaluation_texts=3,
    )
    make(
        tmp_path / "two",
        [
            pair("the page", "die Seite!", 0, origin="b"),  # a duplicate but for case and punctuation
            pair("The page", "Das Blatt", 0, origin="b"),  # the same first version: linked
            pair("A dog", "Ein Hund", 1, origin="b"),
            pair("Hello", "Hallo", 2, origin="a"),
        ],
        [mono("alone!", 5), mono("A dog", 6), mono("New", 7, origin="n")],
        licence="MIT",
        drops=[drop, drop | {"reason": "too short"}],
        evaluation_texts=4,
    )
    return tmp_path / "one", tmp_path / "two"


def test_merge_drops_what_came_before_and_links_what_is_the_same(two, tmp_path, capsys):
    out = tmp_path / "out"
    assert main(["corpus", "merge", *map(str, two), "--out", str(out)]) == 0
    assert Path(capsys.readouterr().out.strip().split("\n")[-1]) == out
    corpus = Corpus.open(out)
    found = [(row["source"], row["target"], row["origin"]) for row in rows(corpus)]
    assert found == [
        ("The page.", "Die Seite.", "a"), ("The page.", "La page.", "a"), ("A cat", "Katze", "a"),
        ("The page", "Das Blatt", "b"), ("A dog", "Ein Hund", "b"), ("Hello", "Hallo", "a"),
    ]  # fmt: skip
    assert [row["text"] for row in rows(corpus, "mono")] == ["Alone", "New"]
    group = {row["target"]: row["group"] for row in rows(corpus)}
    assert group["Die Seite."] == group["La page."] == group["Das Blatt"]
    assert len(set(group.values())) == 4, "groups of the two corpora that have one number are not one group"
    manifest = corpus.manifest
    check_conserved(manifest)
    drops = {(drop["reason"], drop["origin"]): drop["texts"] for drop in manifest["drops"]}
    assert drops == {
        ("too long", "a"): 4, ("too short", "a"): 2, ("duplicate", "b"): 2, ("duplicate", "m"): 2,
    }  # fmt: skip
    assert manifest["evaluation_texts"] == 7
    assert manifest["origins"]["a"]["licence"] == "CC0; MIT"
    assert manifest["origins"]["b"]["licence"] == "MIT"
    assert manifest["groups"] == 6


def test_merge_keeps_the_groups_that_the_corpora_had(tmp_path):
    one = make(tmp_path / "one", [pair("a", "b", 3), pair("c", "d", 3)])
    two = make(tmp_path / "two", [pair("e", "f", 3), pair("g", "h", 4)])
    assert main(["corpus", "merge", str(one.path), str(two.path), "--out", str(tmp_path / "out")]) == 0
    group = {row["source"]: row["group"] for row in rows(Corpus.open(tmp_path / "out"))}
    assert group == {"a": 0, "c": 0, "e": 1, "g": 2}


def test_merging_two_builds_equals_building_once(tmp_path):
    texts = [(f"Sentence number {i % 37}.", f"Satz Nummer {i % 37 if i % 5 else i}!") for i in range(120)]
    for name, part in (("first", texts[:60]), ("second", texts[60:])):
        for side, lang in enumerate(("en", "de")):
            (tmp_path / f"{name}.{lang}").write_text("".join(f"{line[side]}\n" for line in part))
    sources = {name: Source("moses", name, origin=name, licence="CC0") for name in ("first", "second")}
    whole = build(BuildSettings(list(sources.values())), tmp_path, tmp_path / "whole", show_progress=False)
    for name, source in sources.items():
        build(BuildSettings([source]), tmp_path, tmp_path / f"c-{name}", show_progress=False)
    words = ["corpus", "merge", str(tmp_path / "c-first"), str(tmp_path / "c-second"), "--out", str(tmp_path / "out")]
    assert main(words) == 0
    merged = Corpus.open(tmp_path / "out")
    assert rows(merged) == rows(whole)
    assert merged.manifest["drops"][0]["reason"] == "duplicate"
    check_conserved(merged.manifest)


# --- split -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def documents(tmp_path: Path) -> Corpus:
    pairs = [
        pair(f"s {d} {i}", f"t {d} {i}", 100 * d + i, document=f"d{d}", origin="ab"[d % 2])
        for d in range(30)
        for i in range(4)
    ]
    linked = pair("s 0 0", "t eleven", 0, document="d11", origin="b")  # ties document 11 to document 0
    no_document = [pair(f"u {i}", f"v {i}", 9000 + i // 2) for i in range(20)]
    chance = [mono("t 3 1", 9500, lang="de"), *(mono(f"w {i}", 9600 + i) for i in range(20))]
    return make(tmp_path / "corpus", [*pairs, linked, *no_document], chance)


@pytest.mark.parametrize("seed", range(3))
def test_no_group_document_or_text_is_on_both_sides_of_a_split(documents, tmp_path, seed):
    out = tmp_path / "out"
    words = ["corpus", "split", str(documents.path), "--dev_share", "0.3", "--seed", str(seed), "--out", str(out)]
    assert main(words) == 0
    parts = {name: Corpus.open(out / name) for name in ("train", "dev")}
    seen: dict[str, list[set]] = {"group": [], "document": [], "text": []}
    for corpus in parts.values():
        found = [*rows(corpus), *rows(corpus, "mono")]
        seen["group"].append({row["group"] for row in found})
        seen["document"].append({(row["origin"], row["document"]) for row in found if row["document"]})
        seen["text"].append({row.get(side) for row in found for side in ("source", "target", "text")} - {None})
        check_conserved(corpus.manifest)
    for train, dev in seen.values():
        assert train
        assert dev
        assert not train & dev
    total = sum(documents.manifest["rows"].values())
    dev = sum(parts["dev"].manifest["rows"].values())
    left_out = sum(drop["texts"] for drop in parts["dev"].manifest["drops"])
    assert 0.2 * total < dev <= 0.3 * total
    assert dev + sum(parts["train"].manifest["rows"].values()) + left_out >= total


def test_a_split_by_group_may_cut_documents_and_a_corpus_of_one_document_says_so(tmp_path, capsys):
    corpus = make(tmp_path / "c", [pair(f"s {i}", f"t {i}", i, document="one") for i in range(40)])
    words = ["corpus", "split", str(corpus.path), "--out", str(tmp_path / "out")]
    assert main(words) == 2
    assert "no document is small enough for dev" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    assert main([*words, "--by", "group"]) == 0
    assert Corpus.open(tmp_path / "out/dev").manifest["rows"]["pairs"] == 2


# --- sample ----------------------------------------------------------------------------------------------------------


def test_a_sample_is_reproducible_and_of_the_asked_rows(documents, tmp_path, capsys):
    words = ["corpus", "sample", str(documents.path), "--rows", "17", "--origin", "a"]
    for name in ("x", "y"):
        assert main([*words, "--language", "de", "--out", str(tmp_path / name)]) == 0
    x, y = (Corpus.open(tmp_path / name) for name in "xy")
    assert rows(x) == rows(y)
    assert len(rows(x)) == 17
    assert {row["origin"] for row in rows(x)} == {"a"}
    check_conserved(x.manifest)
    assert main([*words, "--seed", "1", "--out", str(tmp_path / "z")]) == 0
    assert rows(Corpus.open(tmp_path / "z")) != rows(x)
    capsys.readouterr()
    assert main(["corpus", "sample", str(documents.path), "--rows", "3", "--origin", "m", "--language", "de"]) == 0
    shown = capsys.readouterr().out
    assert "1 of 1 rows" in shown
    assert "t 3 1" in shown


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--language", "ja"], "no sentence in ja"),
        (["--origin", "q"], "no origin q"),
        (["--rows", "0"], "rows is 0"),
    ],
)
def test_mistakes_in_a_sample_are_one_line(documents, capsys, words, message):
    assert main(["corpus", "sample", str(documents.path), *words]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


# --- diff ------------------------------------------------------------------------------------------------------------


def test_diff_tells_what_came_went_and_changed(tmp_path, capsys):
    shared = [pair(f"s {i}", f"t {i}", i) for i in range(5)]
    a = make(
        tmp_path / "a",
        [*shared, pair("old", "alt", 10), pair("both", "falsch", 11)],
        [mono("gone", 12)],
        drops=[{"reason": "too long", "origin": "a", "texts": 2, "samples": []}],
    )
    b = make(
        tmp_path / "b",
        [*shared, pair("new", "neu", 20, origin="n"), pair("both", "richtig", 21), pair("s 0", "tz", 0, lang="fr")],
        licence="MIT",
        drops=[{"reason": "too long", "origin": "a", "texts": 5, "samples": []}],
    )
    out = tmp_path / "out"
    assert main(["corpus", "diff", str(a.path), str(b.path), "--out", str(out)]) == 0
    found = json.loads((out / "diff.json").read_text())
    assert found["same"] == 5
    assert (found["came"]["pairs"], found["went"]["pairs"], found["went"]["mono"]) == (2, 1, 1)
    assert found["came"]["languages"] == {"en": 2, "de": 1, "fr": 1}
    assert found["came"]["origins"] == {"n": 1, "a": 1}
    assert found["changed"]["pairs"] == 1
    assert found["changed"]["samples"] == [["a", "en: both ⇔ de: richtig"]]
    assert found["drops"] == {"too long": [2, 5]}
    assert found["licences"] == {"a": ["CC0", "MIT"], "m": ["CC0", None], "n": [None, "MIT"]}
    assert "richtig" in (out / "report.html").read_text()
    assert "5 rows are the same" in capsys.readouterr().out.replace("\n", " ")
    assert main(["corpus", "diff", str(a.path), str(a.path)]) == 0
    assert "0 translations changed" in capsys.readouterr().out.replace("\n", " ")


# --- mixtures --------------------------------------------------------------------------------------------------------


def test_stats_show_the_mixture_of_each_exponent(tmp_path, capsys):
    pairs = [pair(f"s {i}", f"t {i}", i, lang="de" if i < 64 else "sw") for i in range(68)]  # en 68, de 64, sw 4
    corpus = make(tmp_path / "c", pairs)
    assert main(["corpus", "stats", str(corpus.path), "--alphas", "1", "0"]) == 0
    (row,) = [line for line in capsys.readouterr().out.split("\n") if "2.94 %, 1.00 x" in line]
    assert "33.33 %, 11.33 x" in row  # 4 of 136 sentences, a third of the draws
    assert main(["corpus", "stats", str(corpus.path), "--alphas", "1.5"]) == 2


# --- data card -------------------------------------------------------------------------------------------------------


def test_every_build_writes_a_data_card_that_loads(tmp_path):
    lines = ["Write to ada@example.org today", "Call <PHONE> now please", "The page was deleted", "x"]
    (tmp_path / "t.en").write_text("".join(f"{line}\n" for line in lines))
    (tmp_path / "t.no").write_text("".join(f"{line} på norsk\n" for line in lines))
    source = Source("moses", "t", origin="mine", licence="CC BY 4.0")
    build(BuildSettings([source]), tmp_path, tmp_path / "out", show_progress=False)
    card = (tmp_path / "out/README.md").read_text(encoding="utf-8")
    header = yaml.safe_load(card.split("---\n")[1])
    assert header["language"] == ["en", "no"]
    assert [config["config_name"] for config in header["configs"]] == ["pairs"]
    assert "| mine | CC BY 4.0 | 6 |" in card
    assert "| too short | 1 | mine (1) |" in card
    assert "| email | 2 | 0 |\n| phone | 0 | 2 |" in card
    datasets = pytest.importorskip("datasets")
    pairs = datasets.load_dataset(str(tmp_path / "out"), "pairs", split="train", cache_dir=str(tmp_path / "cache"))
    assert len(pairs) == 3
    assert pairs[2]["source"] == "The page was deleted"


def test_a_card_that_fails_costs_no_corpus(tmp_path, monkeypatch, capsys):
    def fail(*_: object) -> str:
        raise ZeroDivisionError("ours")

    monkeypatch.setattr("mlcl.corpus.card.data_card", fail)
    for lang in ("en", "de"):
        (tmp_path / f"t.{lang}").write_text(f"One sentence {lang}\n")
    build(BuildSettings([Source("moses", "t")]), tmp_path, tmp_path / "out", show_progress=False)
    assert not (tmp_path / "out/README.md").exists()
    assert "no data card was written: ZeroDivisionError: ours" in capsys.readouterr().err
