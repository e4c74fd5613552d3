from __future__ import annotations

import gzip
import hashlib
from pathlib import Path
from typing import Any

import pytest

from mlcl.core.errors import UserError
from mlcl.core.text import normalise_key
from mlcl.corpus.build import BuildSettings, build
from mlcl.corpus.clean import CleanSettings
from mlcl.corpus.sources import Source
from mlcl.corpus.store import Corpus


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A small data root: four-way pairs, overlapping pairs, raw text, and evaluation texts."""
    root = tmp_path / "data"
    root.mkdir()
    files = {
        "a.en": ["Good morning", "The cat sleeps", "The test sentence", "Yes", "See <b>%(x)s</b>", "One side only"],
        "a.de": ["Guten Morgen", "Die Katze schläft", "Der Testsatz", "Ja", "Siehe <b>%(x)s</b>", "One side only"],
        "a.fr": ["Bonjour", "Le chat dort", "La phrase de test", "Oui", "Voir <b>%(x)s</b>", "One side only"],
        "b.en": ["good morning!", "The dog barks", "The feline sleeps"],
        "b.de": ["Guten Morgen.", "Der Hund bellt", "Die Katze schläft"],
        "mono.de.txt": [
            "Der Mond scheint",
            "der mond scheint.",
            "Guten  Morgen",
            "DER TESTSATZ?",
            "12345",
            "Good night",
        ],
        "mono.en.txt": ["Good night", "Something else"],
        "eval.txt": ["der Testsatz"],
    }
    for name, lines in files.items():
        (root / name).write_text("".join(line + "\n" for line in lines), encoding="utf-8")
    return root


def settings(**changes: Any) -> BuildSettings:
    given: dict[str, Any] = {
        "sources": [
            Source("moses", "a", "first", "CC0"),
            Source("moses", "b", "second", "CC BY"),
            Source("text", ".", "raw", "CC0", options={"pattern": "mono.{language}.txt"}),
        ],
        "evaluation": [Source("text", "eval.txt", options={"language": "de"})],
    }
    return BuildSettings(**(given | changes))


def make(data: Path, out: Path, **changes: Any) -> Corpus:
    return build(settings(**changes), data, out, show_progress=False)


def pairs(corpus: Corpus) -> list[tuple[str, str, str]]:
    return [
        (row["source"], row["target_lang"], row["target"])
        for batch in corpus.pair_batches()
        for row in batch.to_pylist()
    ]


def mono(corpus: Corpus) -> list[tuple[str, str]]:
    return [(row["lang"], row["text"]) for batch in corpus.mono_batches() for row in batch.to_pylist()]


def test_what_is_kept(data: Path, tmp_path: Path) -> None:
    corpus = make(data, tmp_path / "out")
    assert pairs(corpus) == [
        ("Good morning", "de", "Guten Morgen"), ("Good morning", "fr", "Bonjour"),
        ("The cat sleeps", "de", "Die Katze schläft"), ("The cat sleeps", "fr", "Le chat dort"),
        ("Yes", "de", "Ja"), ("Yes", "fr", "Oui"),
        ("The dog barks", "de", "Der Hund bellt"), ("The feline sleeps", "de", "Die Katze schläft"),
    ]  # fmt: skip
    assert mono(corpus) == [
        ("de", "Der Mond scheint"),
        ("de", "Good night"),
        ("en", "Good night"),
        ("en", "Something else"),
    ]


def test_every_text_read_is_kept_or_counted_as_dropped(data: Path, tmp_path: Path) -> None:
    manifest = make(data, tmp_path / "out").manifest
    texts = manifest["texts"]
    assert texts["read"] == 6 * 3 + 3 * 2 + 8 == texts["kept"] + texts["dropped"]
    assert texts["kept"] == sum(facts["texts"] for facts in manifest["origins"].values())
    assert {(drop["reason"], drop["origin"]): drop["texts"] for drop in manifest["drops"]} == {
        ("evaluation text", "first"): 3, ("evaluation text", "raw"): 1,
        ("mostly mark-up", "first"): 3,
        ("identical sides", "first"): 2, ("no translation left", "first"): 1,
        ("duplicate", "second"): 2, ("duplicate", "raw"): 2,
        ("no letters", "raw"): 1,
    }  # fmt: skip
    [drop] = [d for d in manifest["drops"] if (d["reason"], d["origin"]) == ("evaluation text", "first")]
    assert drop["samples"] == ["de: Der Testsatz"]  # the version that was found, not its translations


def test_groups_span_languages_origins_and_raw_text(data: Path, tmp_path: Path) -> None:
    corpus = make(data, tmp_path / "out")
    group: dict[str, set[int]] = {}
    for batch in corpus.pair_batches():
        for row in batch.to_pylist():
            group.setdefault(row["source"], set()).add(row["group"])
    assert all(len(ids) == 1 for ids in group.values())
    assert group["The cat sleeps"] == group["The feline sleeps"]
    assert len({min(ids) for ids in group.values()}) == 4
    raw = {(row["lang"], row["text"]): row["group"] for batch in corpus.mono_batches() for row in batch.to_pylist()}
    assert raw["de", "Good night"] == raw["en", "Good night"] != raw["en", "Something else"]
    assert corpus.manifest["groups"] == 7
    assert corpus.manifest["largest_group"]["texts"] == 5


def test_manifest_says_where_the_texts_come_from(data: Path, tmp_path: Path) -> None:
    (data / "b.de").write_bytes((data / "b.de").read_bytes().replace(b"Der Hund bellt", b"Der \xff"))
    manifest = make(data, tmp_path / "out", max_bad_share=0.5).manifest
    assert manifest["origins"]["second"] == {"licence": "CC BY", "texts": 3}  # one English side stands alone
    source = manifest["sources"][1]
    assert source["rows_bad"] == {"invalid UTF-8": 1}
    assert source["rows_bad_samples"] == ["b.de:2: invalid UTF-8"]  # relative to the data root
    assert manifest["languages"]["de"] == {"pairs": 4, "mono": 2}
    assert manifest["languages"]["en"] == {"pairs": 4, "mono": 3}
    assert sum(manifest["lengths"]["counts"]["en"]) == 4 + 3


def digests(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_the_same_input_gives_the_same_bytes(data: Path, tmp_path: Path) -> None:
    make(data, tmp_path / "one")
    moved = data.rename(tmp_path / "elsewhere")
    make(moved, tmp_path / "two")
    files = digests(tmp_path / "one")
    assert files == digests(tmp_path / "two")
    assert set(files) == {"README.md", "manifest.json", "report.html", "pairs/00000.parquet", "mono/00000.parquet"}


def test_bounded_shards_hold_the_same_rows(data: Path, tmp_path: Path) -> None:
    whole, cut = make(data, tmp_path / "one"), make(data, tmp_path / "two", rows_per_shard=3)
    assert [shard["rows"] for shard in cut.manifest["shards"]] == [3, 3, 2, 3, 1]
    assert (pairs(cut), mono(cut)) == (pairs(whole), mono(whole))


def test_a_repaired_copy_of_an_evaluation_text_is_found(data: Path, tmp_path: Path) -> None:
    (data / "eval.txt").write_text("Schreib an a.b@example.org\nкaдa сaм биo мaли\n", encoding="utf-8")
    with (data / "mono.de.txt").open("a", encoding="utf-8") as file:
        file.write("Schreib an a.b@example.org!\nкада сам био мали\n")
    repairs = CleanSettings(personal_data="mask", fix_lookalikes=True, min_script_share=0)
    texts = [text for _, text in mono(make(data, tmp_path / "out", clean=repairs))]
    assert "Schreib an <EMAIL>!" not in texts
    assert "када сам био мали" not in texts
    assert "Der Mond scheint" in texts


def test_limit_counts_records(data: Path, tmp_path: Path) -> None:
    corpus = make(data, tmp_path / "out", sources=[Source("moses", "a", limit=2)])
    assert corpus.manifest["sources"][0]["records"] == 2
    assert len(pairs(corpus)) == 4
    assert corpus.manifest["origins"] == {"moses": {"licence": "", "texts": 6}}


def test_languages_and_clean_settings(data: Path, tmp_path: Path) -> None:
    corpus = make(data, tmp_path / "out", languages=["en", "fra"], clean=CleanSettings(min_length=10))
    assert set(corpus.languages) == {"en", "fr"}
    assert pairs(corpus) == [("The cat sleeps", "fr", "Le chat dort")]


def test_negatives_and_documents_reach_the_rows(data: Path, tmp_path: Path) -> None:
    lines = '{"anchor": "A sentence", "positive": "One sentence", "negative": ["No\\u0000 such ", ""], "doc": "d7"}\n'
    (data / "triples.jsonl").write_text(lines)
    source = Source("jsonl", "triples.jsonl", options={"language": "en", "document_field": "doc"})
    corpus = make(data, tmp_path / "out", sources=[source])
    [row] = [row for batch in corpus.pair_batches() for row in batch.to_pylist()]
    assert (row["source_lang"], row["target_lang"], row["document"], row["negatives"]) == (
        "en",
        "en",
        "d7",
        ["No such"],
    )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sources": []}, "no source is given"),
        ({"sources": [Source("moses", "nowhere")]}, "needs two languages or more"),
        ({"sources": [Source("text", "missing.txt", options={"language": "en"})]}, r"missing.txt: no such file"),
        ({"sources": [Source("moses", "a", limit=0)]}, "limit=0"),
        ({"languages": ["en", "ja"]}, "no source has a usable sentence in ja"),
        ({"languages": ["en", "nonsense-tag-here"]}, "unknown language tag"),
        ({"clean": CleanSettings(min_length=500)}, "no text is left"),
        ({"rows_per_shard": 0}, "rows_per_shard=0"),
    ],
)
def test_mistakes_leave_nothing_behind(data: Path, tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message) as error:
        make(data, tmp_path / "made" / "out", **changes)
    assert "\n" not in str(error.value)
    assert list((tmp_path / "made").glob("*")) == []


def test_damaged_sources_leave_nothing_behind(data: Path, tmp_path: Path) -> None:
    (data / "a.de").write_bytes(b"eins\n")
    with pytest.raises(UserError, match="6 lines, but a.de has 1"):
        make(data, tmp_path / "made" / "out")
    (data / "a.de").unlink()
    (data / "a.de.gz").write_bytes(gzip.compress(b"x" * 10_000)[:-5])
    with pytest.raises(UserError, match="truncated or damaged gzip"):
        make(data, tmp_path / "made" / "out")
    (data / "a.de.gz").write_bytes(gzip.compress(b"ok\n\xff\n\xff\n\xff\nok\nok\n"))
    with pytest.raises(UserError, match=r"3 of 9 rows are malformed.*a.de.gz:2: invalid UTF-8"):
        make(data, tmp_path / "made" / "out")
    assert list((tmp_path / "made").glob("*")) == []


def test_an_output_that_exists_is_kept_unless_told(data: Path, tmp_path: Path) -> None:
    make(data, tmp_path / "out")
    before = digests(tmp_path / "out")
    with pytest.raises(UserError, match="the output already exists"):
        make(data, tmp_path / "out", sources=[Source("moses", "b")])
    assert digests(tmp_path / "out") == before
    corpus = build(
        settings(sources=[Source("moses", "b")]), data, tmp_path / "out", overwrite=True, show_progress=False
    )
    assert len(pairs(corpus)) == 3


@pytest.mark.real_data
def test_no_training_text_of_real_data_is_an_evaluation_text(data_root: Path, tmp_path: Path) -> None:
    evaluation = [
        Source("stsb", "stsb", options={"split": "dev"}),
        Source("tatoeba", "tatoeba"),
        Source("multi30k", "multi30k", options={"split": "test_2016_flickr"}),
    ]
    sources = [
        Source("stsb", "stsb", options={"split": "train"}),
        Source("text", "mono/mono.tur.txt", options={"language": "tr"}),
    ]
    made = build(BuildSettings(sources, evaluation), data_root, tmp_path / "out", show_progress=False)

    from mlcl import formats
    from mlcl.core.files import RowCounter

    forbidden = {
        normalise_key(text)
        for source in evaluation
        for record in formats.read(source.format, data_root / source.path, RowCounter(), **source.options)
        for _, text in record.texts
    }
    trained = [text for source, _, target in pairs(made) for text in (source, target)] + [
        text for _, text in mono(made)
    ]
    assert len(trained) > 100_000
    assert forbidden.isdisjoint(map(normalise_key, trained))
    dropped = {d["origin"]: d["texts"] for d in made.manifest["drops"] if d["reason"] == "evaluation text"}
    assert set(dropped) == {"stsb", "text"}
    assert dropped["stsb"] > 2_000
