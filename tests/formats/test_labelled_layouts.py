"""The labelled layouts: their quirks, their labels, what bad files do, and the same texts as corpora."""

from __future__ import annotations

import pytest

import labelled_layouts
from labelled_layouts import XNLI_HEADER, xnli_row
from layouts import write
from mlcl.core.errors import UserError
from mlcl.core.files import RowCounter
from mlcl.formats import fakenews, pawsx, read, sib200, xnli
from mlcl.formats._iob2 import read_iob2, repair
from mlcl.formats._labelled import LabelledRow, checked, read_tsv


def records(name, path, **options):
    rows = RowCounter()
    return list(read(name, path, rows, **options)), rows


def test_xnli_reads_quotes_as_plain_characters_and_one_language_at_a_time(tmp_path):
    lines = [
        XNLI_HEADER,
        xnli_row("de", "neutral", '"Er', 'sagte" es.', 7, 21),
        xnli_row("en", "neutral", "a", "b", 7, 21),
    ]
    write(tmp_path / "xnli.dev.tsv", [*lines, "de\ttoo\tshort"])
    rows = RowCounter()
    assert list(xnli.labelled(tmp_path / "xnli.dev.tsv", "de", rows)) == [
        LabelledRow('"Er', "neutral", 'sagte" es.', "7", "21")
    ]
    assert rows.samples == [f"{tmp_path / 'xnli.dev.tsv'}:4: 3 fields, expected 19"]
    assert xnli.files(tmp_path) == dict.fromkeys(("de", "en"), {"dev": tmp_path / "xnli.dev.tsv"})
    write(tmp_path / "xnli.dev.tsv", [*lines, xnli_row("my", "neutral", "c", "d", 7, 21)])
    assert list(xnli.files(tmp_path)) == ["de", "en", "my"], "a changed file is read again"


def test_xnli_as_parallel_text(tmp_path):
    labelled_layouts.xnli(tmp_path, premises=2)
    found, rows = records("xnli", tmp_path / "xnli")
    assert len(found) == rows.good_rows == 2 + 6
    assert all([tag for tag, _ in record.texts] == ["en", "de", "zh-Hans"] for record in found)
    assert len(records("xnli", tmp_path / "xnli", languages=["zh"], parts=["test"])[0]) == 0


def test_pawsx_drops_rows_that_were_not_translated(tmp_path):
    header = "id\tsentence1\tsentence2\tlabel"
    folder = tmp_path / "x-final"
    write(folder / "en" / "dev_2k.tsv.gz", [header, '4\t"a\tb"\t1', "9\tc\td\t0", "12\te\tf\t0"])
    write(folder / "ko" / "dev_2k.tsv.gz", [header, "4\t가\x1c나\t다\t1", "9\tNS\t라\t0", "12\t마\tNS\t0"])
    rows = RowCounter()
    assert list(pawsx.labelled(folder / "ko" / "dev_2k.tsv.gz", rows)) == [LabelledRow("가\x1c나", "1", "다", "4", "4")]
    assert rows.skipped == {"not translated (NS)": 2}
    found, rows = records("pawsx", tmp_path)
    assert [record.texts for record in found][:2] == [[("en", '"a'), ("ko", "가\x1c나")], [("en", 'b"'), ("ko", "다")]]
    assert [len(record.texts) for record in found] == [2, 2, 1, 2, 2, 1]
    assert rows.skipped == {"not translated (NS)": 2}


def test_pawsx_ids_must_be_those_of_the_english_file(tmp_path):
    header = "id\tsentence1\tsentence2\tlabel"
    write(tmp_path / "x-final" / "en" / "dev_2k.tsv", [header, "4\ta\tb\t1"])
    write(tmp_path / "x-final" / "de" / "dev_2k.tsv", [header, "5\ta\tb\t1"])
    rows = RowCounter()
    assert list(pawsx.labelled(tmp_path / "x-final" / "de" / "dev_2k.tsv", rows)) == []
    assert rows.bad == {"the English file has no pair 5": 1}


def test_fakenews_folds_every_scheme_into_real_and_fake(tmp_path):
    labelled_layouts.fakenews(tmp_path, n=12)
    found = fakenews.files(tmp_path / "fakenews")
    assert {fakenews.tag(code) for code in found} == {"ar", "en", "es", "ur", "vi", "zh-Hans"}
    for code, parts in found.items():
        for file in parts.values():
            rows = list(fakenews.labelled(file, code, RowCounter()))
            assert [row.label for row in rows] == ["real", "fake"] * 6
            assert not any(row.text.endswith(("\r", " ")) for row in rows)
    liar = next(fakenews.labelled(found["en-LIAR"]["train"], "en-LIAR", RowCounter()))
    assert liar.text == '"one 0 in en'  # a quote is a plain character here
    vietnamese = next(fakenews.labelled(found["vi-VFND"]["train"], "vi-VFND", RowCounter()))
    assert (
        vietnamese.text == 'one 0 in vi two\r\nlines, "quoted"' or vietnamese.text == 'one 0 in vi two\nlines, "quoted"'
    )
    texts, rows = records("fakenews", tmp_path / "fakenews", languages=["es", "zh"], parts=["dev"])
    assert len(texts) == rows.good_rows == 24
    assert {record.texts[0][0] for record in texts} == {"es", "zh-Hans"}


def test_liar_degrees(tmp_path):
    folder = tmp_path / "en-LIAR"
    degrees = ["true", "mostly-true", "half-true", "barely-true", "false", "pants-fire"]
    write(folder / "train.tsv", ["\t".join(["1.json", degree, "text", *["x"] * 11]) for degree in degrees])
    found = fakenews.labelled(folder / "train.tsv", "en-LIAR", RowCounter())
    assert [row.label for row in found] == ["real"] * 3 + ["fake"] * 3
    write(folder / "train.tsv", ["\t".join(["1.json", "mostly-false", "text", *["x"] * 11])])
    with pytest.raises(UserError, match=r"train.tsv:1: label 'mostly-false' is unknown \(labels: true, mostly-true"):
        list(fakenews.labelled(folder / "train.tsv", "en-LIAR", RowCounter()))
    write(tmp_path / "ar-ans" / "data" / "claim" / "train.csv", ["claim,fake", "x,1"])
    with pytest.raises(UserError, match=r"train.csv:1: the header is not claim_s,fake_flag"):
        list(fakenews.labelled(tmp_path / "ar-ans" / "data" / "claim" / "train.csv", "ar-ans", RowCounter()))


def test_sib200_topics(tmp_path):
    file = tmp_path / "train.tsv"
    write(file, ["index_id\tcategory\ttext", '7\thealth\t"a ""b""\nc"', "8\ttravel\t "])
    rows = RowCounter()
    assert list(sib200.labelled(file, rows)) == [LabelledRow('a "b"\nc', "health", None, "7")]
    assert rows.skipped == {"empty text": 1}
    write(file, ["index_id\tcategory\ttext", '7\thealth\t"a\nb"', "8\tlove\tx"])
    with pytest.raises(UserError, match=r"train.tsv:4: label 'love' is unknown"):
        list(sib200.labelled(file, RowCounter()))


def test_tables_with_labels(tmp_path):
    write(tmp_path / "a.tsv", ["tweet\tlabel", 'so "good\tpositive', "bad", "", " \tnegative"], "\r\n")
    rows = RowCounter()
    numbered = ((line, LabelledRow(*fields)) for line, fields in read_tsv(tmp_path / "a.tsv", ("tweet", "label"), rows))
    found = list(checked(numbered, ("positive", "negative"), tmp_path / "a.tsv", rows))
    assert found == [LabelledRow('so "good', "positive")]
    assert rows.bad == {"1 fields, expected 2": 2}
    assert rows.skipped == {"empty text": 1}
    with pytest.raises(UserError, match="a.tsv:1: the header is not text label by tabs"):
        list(read_tsv(tmp_path / "a.tsv", ("text", "label"), RowCounter()))


def tagged(path, lines, **options):
    write(path, lines)
    rows = RowCounter()
    return list(read_iob2(path, rows, labels=("PER", "LOC"), **options)), rows


def test_tagged_words(tmp_path):
    wikiann = ["", "de:als\tO", "de:de:\tO", "", "", "de:Bad Ems\tB-LOC", "de:\u200b\tI-LOC"]
    found, rows = tagged(tmp_path / "train.gz", wikiann, prefix="de:")
    assert found == [(("als", "de:"), ("O", "O")), (("Bad Ems", "\u200b"), ("B-LOC", "I-LOC"))]
    assert not rows.skipped
    found, _ = tagged(tmp_path / "test.txt", ["# B-PER", "Ade I-PER", "  ", "# O"], separator=" ")
    assert found == [(("#", "Ade"), ("B-PER", "I-PER")), (("#",), ("O",))]
    uner = ["# text = a b", "1\t#\tO\t-\t-", "2\tUlm\tB-LOC\t-\t-"]
    found, _ = tagged(tmp_path / "x.iob2", uner, columns=(1, 2), comment="#")
    assert found == [(("#", "Ulm"), ("O", "B-LOC"))]


def test_entities_that_begin_with_i_are_repaired_and_counted(tmp_path):
    lines = ["a\tI-PER", "b\tI-PER", "c\tI-LOC", "", "d\tI-LOC", "e\tO", "f\tI-LOC"]
    found, rows = tagged(tmp_path / "a", lines)
    assert [tags for _, tags in found] == [("B-PER", "I-PER", "B-LOC"), ("B-LOC", "O", "B-LOC")]
    assert rows.skipped == {"I- tag that starts an entity (kept as B-)": 4}
    assert repair(["O", "B-PER", "B-PER", "I-PER"]) == ("O", "B-PER", "B-PER", "I-PER")


def test_words_without_a_known_tag_are_a_clear_error(tmp_path):
    with pytest.raises(UserError, match=r"a:2: 1 columns: every word needs a tag"):
        tagged(tmp_path / "a", ["x\tO", "y"])
    for tag in ("B-MISC", "PER", "E-PER", ""):
        with pytest.raises(UserError, match=rf"a:1: tag '{tag}' is unknown \(tags: O, and B- or I- of PER, LOC\)"):
            tagged(tmp_path / "a", [f"x\t{tag}"])
