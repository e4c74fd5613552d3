"""`moses`, `multi30k`, `lafand`, `text`, `conll` and `xquad`."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from mlcl import formats
from mlcl.core.errors import UserError
from mlcl.core.files import RowCounter
from mlcl.formats import Record


def read(name: str, path: Path, **options: object) -> tuple[list[Record], RowCounter]:
    rows = RowCounter(max_bad_share=1)
    return list(formats.read(name, path, rows, **options)), rows


def write(path: Path, data: str | bytes) -> Path:
    data = data.encode() if isinstance(data, str) else data
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


def test_moses_finds_all_languages_english_first(tmp_path: Path) -> None:
    write(tmp_path / "train.de", "\ufeffeins\u2028\r\nzwei\r\n")
    write(tmp_path / "train.en.gz", "one\ntwo\n")
    write(tmp_path / "train.swh", "moja\n \n")
    write(tmp_path / "train.README", "not a language code\n")
    records, rows = read("moses", tmp_path / "train")
    assert records == [
        Record([("en", "one"), ("de", "eins\u2028"), ("sw", "moja")]),
        Record([("en", "two"), ("de", "zwei")]),
    ]
    assert (rows.good_rows, rows.skipped) == (2, {"blank line": 1})
    assert read("moses", tmp_path / "train", languages=["de", "en"], document="d")[0][0] == Record(
        [("de", "eins\u2028"), ("en", "one")], "d"
    )


def test_moses_invalid_utf8_is_a_bad_row(tmp_path: Path) -> None:
    write(tmp_path / "x.en", "one\ntwo\n")
    write(tmp_path / "x.de", b"eins\n\xffzwei\n")
    records, rows = read("moses", tmp_path / "x")
    assert records[1] == Record([("en", "two")])
    assert rows.samples == [f"{tmp_path}/x.de:2: invalid UTF-8"]


def test_moses_misaligned_truncated_empty_missing(tmp_path: Path) -> None:
    write(tmp_path / "x.en", "one\ntwo\nthree\n")
    write(tmp_path / "x.de", "eins\nzwei\n")
    with pytest.raises(UserError, match=r"x.en: 3 lines, but x.de has 2; line n must be the same sentence"):
        read("moses", tmp_path / "x")
    (tmp_path / "x.de").unlink()
    whole = gzip.compress("".join(f"Zeile {n}\n" for n in range(10_000)).encode())
    (tmp_path / "x.de.gz").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "x.en").write_text("line\n" * 10_000)
    with pytest.raises(UserError, match=r"x.de.gz:\d+: truncated or damaged gzip file"):
        read("moses", tmp_path / "x")
    (tmp_path / "x.de.gz").unlink()
    (tmp_path / "x.de").write_text("")
    with pytest.raises(UserError, match=r"x.de: the file is empty"):
        read("moses", tmp_path / "x")
    (tmp_path / "x.de").write_bytes("eins\n".encode("utf-16"))
    with pytest.raises(UserError, match=r"x.de: the file is UTF-16"):
        read("moses", tmp_path / "x")
    with pytest.raises(UserError, match="needs two languages or more, here none"):
        read("moses", tmp_path / "nothing")
    with pytest.raises(UserError, match=r"x.fr: no such file"):
        read("moses", tmp_path / "x", languages=["en", "fr"])


def test_text_by_language_and_by_pattern(tmp_path: Path) -> None:
    write(tmp_path / "mono.deu.txt.gz", "eins\n\nzwei\n")
    write(tmp_path / "mono.fra.txt", "un\n")
    records, rows = read("text", tmp_path, pattern="mono.{language}.txt", file_is_document=True)
    assert records == [
        Record([("de", "eins")], "mono.deu.txt"), Record([("de", "zwei")], "mono.deu.txt"),
        Record([("fr", "un")], "mono.fra.txt"),
    ]  # fmt: skip
    assert rows.skipped == {"blank line": 1}
    assert read("text", tmp_path / "mono.fra.txt", language="fra")[0] == [Record([("fr", "un")])]
    with pytest.raises(UserError, match="language of the text is not given"):
        read("text", tmp_path / "mono.fra.txt")
    with pytest.raises(UserError, match="this is a folder .*set pattern"):
        read("text", tmp_path)


def test_lafand_drops_the_stray_heading(tmp_path: Path) -> None:
    folder = tmp_path / "data/text_files"
    write(folder / "en-zul/dev.en.gz", "Hello\nNews Crawl 2019\n")
    write(folder / "en-zul/dev.zul.gz", "Sawubona\nOkunye\n")
    records, rows = read("lafand", tmp_path, split="dev")
    assert records == [Record([("en", "Hello"), ("zu", "Sawubona")])]
    assert rows.good_rows == 1
    assert rows.skipped == {"heading 'News Crawl 2019' instead of the sentence": 1}
    with pytest.raises(UserError, match="no folder en-<language>"):
        read("lafand", tmp_path, split="dev", languages=["sw"])


def test_conll_tokens_comments_and_prefixes(tmp_path: Path) -> None:
    write(tmp_path / "a.txt", "Das O\nHaus B-LOC\n\n\n# O\n. O\n\nonly\n")
    assert [r.texts for r in read("conll", tmp_path / "a.txt", language="de")[0]] == [
        [("de", "Das Haus")], [("de", "# .")], [("de", "only")],
    ]  # fmt: skip
    write(tmp_path / "b.iob2", "# sent_id = 1\n# text = Don't go.\n1\tDo\tO\n2\tn't\tO\n\n1\tYes\tO\n")
    assert [r.texts for r in read("conll", tmp_path / "b.iob2", language="en", token_column=2)[0]] == [
        [("en", "Don't go.")], [("en", "Yes")],
    ]  # fmt: skip
    write(tmp_path / "w/de/dev.gz", "de:Das\tO\nde::\tO\n")
    records, _ = read("conll", tmp_path / "w", pattern="{language}/dev", strip_language=True)
    assert records == [Record([("de", "Das :")])]


def test_xquad_joins_languages_by_id(tmp_path: Path) -> None:
    for lang, context, question in (("en", "A text.", "What?"), ("de", "Ein Text.", "Was?")):
        data = {"data": [{"paragraphs": [{"context": context, "qas": [{"id": "q1", "question": question}]}]}]}
        write(tmp_path / f"xquad.{lang}.json.gz", json.dumps(data))
    assert [record.texts for record in read("xquad", tmp_path)[0]] == [
        [("en", "A text."), ("de", "Ein Text.")], [("en", "What?"), ("de", "Was?")],
    ]  # fmt: skip
    write(tmp_path / "xquad.de.json.gz", '{"data": [{}]}')
    with pytest.raises(UserError, match=r"xquad.de.json.gz: not SQuAD 1.1 JSON"):
        read("xquad", tmp_path)


@pytest.mark.real_data
@pytest.mark.parametrize(
    ("name", "folder", "options", "records", "languages"),
    [
        ("multi30k", "multi30k", {"split": "train"}, 29_000, "en cs de fr"),
        ("multi30k", "multi30k", {"split": "test_2016_flickr"}, 1_000, "en cs de fr"),
        ("lafand", "lafand", {"split": "train"}, 55_097, "en ha ig lg sw yo zu"),
        ("lafand", "lafand", {"split": "dev"}, 8_874 - 113, "en ha ig lg sw yo zu"),
        ("text", "mono", {"pattern": "ted.{language}.txt"}, 50_761, "bn ml mr te"),
        ("conll", "uner/UNER_German-PUD/de_pud-ud-test.iob2", {"language": "de", "token_column": 2}, 1_000, "de"),
        ("conll", "wikiann/panx_dataset", {"pattern": "{language}/dev", "strip_language": True}, 60_000,
         "de en es nl pl ru"),
        ("xquad", "xquad", {}, 240 + 1_190, "en de es ru zh-Hans ar hi tr"),
        ("tsv", "xnli/xnli.dev.tsv", {"fields": ["sentence1"], "language_field": "language"}, 15 * 2_490,
         "ar bg de el en es fr hi ru sw th tr ur vi zh-Hans"),
    ],
)  # fmt: skip
def test_real_layouts(
    data_root: Path, name: str, folder: str, options: dict[str, object], records: int, languages: str
) -> None:
    found, rows = read(name, data_root / folder, **options)
    assert len(found) == records
    assert {lang for record in found for lang, _ in record.texts} == set(languages.split())
    assert not rows.bad


# --- bad input -------------------------------------------------------------------------------------------------------


def test_a_line_that_never_ends_is_passed_over_in_bounded_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import tracemalloc

    from mlcl.core import files

    monkeypatch.setattr(files, "MOST_LINE_BYTES", 1 << 20)
    with gzip.open(tmp_path / "x.txt.gz", "wb", compresslevel=1) as made:
        made.write(b"first\n")
        for _ in range(64):
            made.write(b"a" * (1 << 20))
        made.write(b"\nlast\n")
    tracemalloc.start()
    records, rows = read("text", tmp_path / "x.txt.gz", language="en")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert [record.texts[0][1] for record in records] == ["first", "last"]
    assert rows.samples == [f"{tmp_path}/x.txt.gz:2: a line of more than 1 MiB"]
    assert peak < 8 << 20
    with pytest.raises(UserError, match=r"x.txt.gz:2: a line of more than 1 MiB"):
        files.read_text_lines(tmp_path / "x.txt.gz")


def test_lines_at_the_limit_are_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from mlcl.core import files

    monkeypatch.setattr(files, "MOST_LINE_BYTES", 8)
    lines = [b"1234567\n", b"12345678\n", b"1234567890123456\n", b"12345678901234567\n", b"\n", b"123456789"]
    write(tmp_path / "x.txt", b"".join(lines))
    with (tmp_path / "x.txt").open("rb") as handle:
        assert list(files.bounded_lines(handle)) == [line if len(line) <= 8 else None for line in lines]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (gzip.compress(b"text"), "this is a gzip file; its name should end in .gz"),
        (b"PK\x03\x04rest", "this is a zip archive"),
        (b"%PDF-1.7\n", "this is a PDF file"),
        ("ohne Marke\n".encode("utf-16-le"), "binary, or UTF-16 without a mark"),
        (bytes(4) + b"\x01\x02" + bytes(50), "binary, or UTF-16 without a mark"),
    ],
    ids=["gzip", "zip", "pdf", "utf-16", "binary"],  # a gzip header has the time, and workers must see equal names
)
def test_files_that_are_no_text_are_named(tmp_path: Path, data: bytes, message: str) -> None:
    write(tmp_path / "x.txt", data)
    with pytest.raises(UserError, match=message):
        read("text", tmp_path / "x.txt", language="de")


def test_mixed_encodings_and_nul_characters_line_by_line(tmp_path: Path) -> None:
    write(tmp_path / "x.txt", "gr\u00fcn\n".encode() + "gr\u00fcn\n".encode("latin-1") + b"nul\x00 inside\n")
    records, rows = read("text", tmp_path / "x.txt", language="de")
    assert [record.texts[0][1] for record in records] == ["gr\u00fcn", "nul\x00 inside"]  # cleaning takes it out
    assert rows.samples == [f"{tmp_path}/x.txt:2: invalid UTF-8"]
