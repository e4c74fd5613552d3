"""The multi-parallel layouts: order, documents, joins, options, and what bad files do."""

from __future__ import annotations

import gzip

import pytest

import layouts
from mlcl.core.errors import UserError
from mlcl.core.files import RowCounter
from mlcl.formats import read
from mlcl.formats.ntrex import document_numbers


@pytest.fixture
def root(tmp_path):
    return layouts.write_all(tmp_path)


def records(name, path, **options):
    rows = RowCounter()
    return list(read(name, path, rows, **options)), rows


@pytest.mark.parametrize(
    ("name", "count", "tags"),
    [
        ("ntrex", 184, ["en", "de", "zh-Hans", "zh-Hant"]),
        ("pud", 6, ["en", "de", "zh-Hant"]),
        ("sib200", 60, ["en", "de", "ko"]),
        ("stsb", 64, ["en", "de", "zh-Hans"]),
        ("tatoeba", 32, None),
    ],
)
def test_english_comes_first_and_translations_belong_together(root, name, count, tags):
    found, rows = records(name, root / name)
    assert len(found) == rows.good_rows == count
    assert not rows.bad
    for record in found:
        assert record.texts[0][0] == "en"
        assert tags is None or [tag for tag, _ in record.texts] == tags
        assert len({layouts.meaning(text) for _, text in record.texts}) == 1
        assert not any(text.endswith("\r") for _, text in record.texts)


def test_ntrex_documents(root):
    found, rows = records("ntrex", root / "ntrex", documents="1-3,92", languages=["zho-TW", "en"])
    assert [record.document for record in found] == [f"doc.{n}" for n in (0, 0, 1, 1, 2, 2, 91, 91)]
    assert rows.skipped == {"document not selected": 176}
    assert [tag for tag, _ in found[0].texts] == ["en", "zh-Hant"]


@pytest.mark.parametrize("spec", ["0", "5-4", "1-93", "a", "1-", "1,,2", "-3"])
def test_wrong_document_numbers(spec):
    with pytest.raises(UserError, match="no such documents"):
        document_numbers(spec, 92)


def test_document_numbers():
    assert document_numbers("", 3) == {1, 2, 3}
    assert document_numbers(" 1 - 2, 7", 9) == {1, 2, 7}


def test_pud_documents_come_from_the_sentence_ids(root):
    assert [record.document for record in records("pud", root / "pud")[0]] == [
        "n01000", "n01000", "n01001", "n01001", "n01002", "n01002",
    ]  # fmt: skip


def test_two_official_codes_of_one_language_stay_two_sets(root):
    found, _ = records("tatoeba", root / "tatoeba", languages=["kzj"])
    assert {text for record in found for tag, text in record.texts if tag == "dtp"} == {
        layouts.sentence("kzj", i) for i in range(8)
    }
    assert len(records("tatoeba", root / "tatoeba", languages=["dtp"])[0]) == 8  # the code itself wins over the tag


def test_sib200_joins_by_index_and_reads_quotes(root):
    layouts.write(
        root / "sib200/data/annotated/deu_Latn/dev.tsv.gz",
        ["index_id\tcategory\ttext", "5\ttravel\tfive 5", "1\ttravel\tone 1", "9\ttravel\tnine 9", "2\ttravel\t "],
    )
    found, rows = records("sib200", root / "sib200", split="dev", languages=["de", "en"])
    assert dict(found[0].texts)["en"] == f'{layouts.sentence("eng_Latn", 0)}, "quoted"'
    both = [[layouts.meaning(text) for _, text in record.texts] for record in found if len(record.texts) == 2]
    assert both == [[1, 1], [5, 5]]
    assert found[-1].texts == [("de", "nine 9")]
    assert rows.skipped == {"blank translation": 1}


def test_stsb_takes_each_english_sentence_once(root):
    folder = root / "stsb" / "data"
    layouts.write(folder / "stsb-en-dev.csv.gz", ["a 1,b 2,5.0", "a 1,c 3,1.0"], "\r\n")
    layouts.write(folder / "stsb-de-dev.csv.gz", ["x 1,y 2,5.0", '"x, 1",z 3,1.0'], "\r\n")
    found, rows = records("stsb", root / "stsb", split="dev", languages=["de", "en"])
    assert [record.texts for record in found] == [
        [("en", "a 1"), ("de", "x 1")], [("en", "b 2"), ("de", "y 2")], [("en", "c 3"), ("de", "z 3")],
    ]  # fmt: skip
    assert rows.skipped == {"repeated sentence": 1}


def test_bad_rows_are_counted_and_the_others_stay_aligned(root):
    file = root / "pud" / "pud.deu.txt"
    lines = file.read_bytes().split(b"\n")
    lines[1] = b"\xff\xfe broken"
    file.write_bytes(b"\xef\xbb\xbf" + b"\n".join(lines))
    found, rows = records("pud", root / "pud")
    assert rows.bad == {"invalid UTF-8": 1}
    assert [len(record.texts) for record in found] == [3, 2, 3, 3, 3, 3]
    assert all(len({layouts.meaning(text) for _, text in record.texts}) == 1 for record in found)
    folder = root / "stsb" / "data"
    layouts.write(folder / "stsb-en-dev.csv.gz", ["a 1,b 2,5.0", "only 1", "c 3,d 4,0.0"])
    layouts.write(folder / "stsb-de-dev.csv.gz", ["a 1,b 2,5.0", "a 9,a 8,1", 'c 3,"d 4" x,0.0'])
    found, rows = records("stsb", root / "stsb", split="dev", languages=["de", "en"])
    assert rows.bad == {"1 fields, expected 3": 1, "',' expected after '\"'": 1}
    assert sorted(len(record.texts) for record in found) == [1, 1, 1, 1, 2, 2]


def test_unreadable_files_are_one_clear_error(root):
    cases = {
        "pud": ("pud/pud.deu.txt", b"one 1\n", "1 rows, but eng has 6"),
        "tatoeba": ("tatoeba/tatoeba.deu-eng.eng", b"", "the file is empty"),
        "ntrex": ("ntrex/DOCUMENT_IDS.tsv", b"doc\n", "1 lines, but the texts have 184"),
        "sib200": ("sib200/data/annotated/eng_Latn/train.tsv.gz", gzip.compress(b"id\tcategory\ttext\n"), "header"),
        "stsb": ("stsb/data/stsb-en-train.csv.gz", gzip.compress(b"a,b,1\n" * 50)[:-9], "truncated or damaged gzip"),
    }
    for name, (file, data, message) in cases.items():
        (root / file).write_bytes(data)
        with pytest.raises(UserError, match=message):
            records(name, root / name)


def test_a_language_that_is_not_there(root):
    for name in ("ntrex", "pud", "sib200", "stsb", "tatoeba"):
        with pytest.raises(UserError, match="'sw' is not here"):
            records(name, root / name, languages=["sw"])
        with pytest.raises(UserError, match="unknown language tag"):
            records(name, root / name, languages=["nonsense"])
    with pytest.raises(UserError, match="no language found"):
        records("stsb", root / "stsb", split="tset")
    with pytest.raises(UserError, match="no such file or folder"):
        records("pud", root / "nowhere")
