"""`tsv`, `jsonl`, `parquet` and `dataset`, which share `_fields`."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mlcl import formats
from mlcl.core.errors import UserError
from mlcl.core.files import RowCounter
from mlcl.formats import Record, dataset
from mlcl.formats._fields import Fields

ROWS = [{"english": "one", "german": "eins", "doc": "d1"}, {"english": "two", "german": "zwei", "doc": "d2"}]
WANTED = [Record([("en", "one"), ("de", "eins")], "d1"), Record([("en", "two"), ("de", "zwei")], "d2")]
OPTIONS = {"texts": {"en": "english", "de": "german"}, "document_field": "doc"}


def read(name: str, path: Path, **options: object) -> tuple[list[Record], RowCounter]:
    rows = RowCounter(max_bad_share=1)
    return list(formats.read(name, path, rows, **options)), rows


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
    return path


def jsonl(path: Path, *rows: object) -> Path:
    return write(path, "".join(row + "\n" if isinstance(row, str) else json.dumps(row) + "\n" for row in rows))


def test_tsv_with_a_header(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tsv.gz", "doc\tgerman\tenglish\r\nd1\teins\tone\r\nd2\tzwei\ttwo\r\n")
    assert read("tsv", path, **OPTIONS)[0] == WANTED


def test_tsv_by_number_keeps_quotes_and_unusual_line_separators(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tsv", 'a "quote\u2028b\tx\n')
    assert read("tsv", path, texts={"en": 1, "de": 2}, header=False)[0] == [
        Record([("en", 'a "quote\u2028b'), ("de", "x")])
    ]


def test_csv_with_quoting(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", 'text,label\n"one, ""two""\nthree",1\n')
    records, _ = read("tsv", path, fields=["text"], language="en", delimiter=",", quoting=True)
    assert records == [Record([("en", 'one, "two"\nthree')])]


def test_tsv_rows_with_missing_fields_are_bad(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tsv", "english\tgerman\none\teins\ntwo\n")
    records, rows = read("tsv", path, texts={"en": "english", "de": "german"})
    assert len(records) == 1
    assert rows.samples == [f"{path}:3: 1 fields, expected 2"]
    with pytest.raises(UserError, match=r"a.tsv:1: no column french \(columns: english, german\)"):
        read("tsv", path, texts={"fr": "french"})


def test_language_in_a_column_or_in_the_file_name(tmp_path: Path) -> None:
    path = write(tmp_path / "all.tsv", "language\ts1\ts2\nde\tA\tB\nxx-bad\tC\tD\n")
    records, rows = read("tsv", path, fields=["s1", "s2"], language_field="language")
    assert records == [Record([("de", "A")]), Record([("de", "B")])]
    assert rows.samples == [f"{path}:3: unknown language tag 'xx-bad'"]
    for code in ("swa", "deu"):
        write(tmp_path / f"f/{code}/dev.tsv.gz", f"s1\ns {code}\n")
    records, _ = read("tsv", tmp_path / "f", fields=["s1"], pattern="{language}/dev.tsv")
    assert records == [Record([("de", "s deu")]), Record([("sw", "s swa")])]
    records, _ = read("tsv", tmp_path / "f", fields=["s1"], pattern="{language}/dev.tsv", languages=["sw"])
    assert records == [Record([("sw", "s swa")])]
    with pytest.raises(UserError, match="no file matches the pattern"):
        read("tsv", tmp_path / "f", fields=["s1"], pattern="{language}/test.tsv")
    with pytest.raises(UserError, match=r"no file for fr \(found: deu, swa\)"):
        read("tsv", tmp_path / "f", fields=["s1"], pattern="{language}/dev.tsv", languages=["fr"])


def test_jsonl_translations_nested_too(tmp_path: Path) -> None:
    assert read("jsonl", jsonl(tmp_path / "a.jsonl.gz", *ROWS), **OPTIONS)[0] == WANTED
    path = jsonl(tmp_path / "b.jsonl", {"translation": {"en": "one", "de": "eins"}})
    assert read("jsonl", path, texts={"en": "translation.en", "de": "translation.de"})[0][0].texts == WANTED[0].texts


def test_jsonl_anchor_positive_negative(tmp_path: Path) -> None:
    rows = [{"anchor": "a", "positive": "p", "negative": "n"}, {"anchor": "b", "positive": "q", "negative": ["m", "o"]}]
    records, _ = read("jsonl", jsonl(tmp_path / "a.jsonl", *rows), language="en")
    assert records == [
        Record([("en", "a"), ("en", "p")], negatives=("n",)),
        Record([("en", "b"), ("en", "q")], negatives=("m", "o")),
    ]
    records, _ = read("jsonl", tmp_path / "a.jsonl", texts={"en": "anchor", "fr": "positive"}, negatives=["negative"])
    assert records[0] == Record([("en", "a"), ("fr", "p")], negatives=("n",))


def test_jsonl_bad_lines_are_counted_with_their_number(tmp_path: Path) -> None:
    path = jsonl(tmp_path / "a.jsonl", {"text": "ok"}, '{"text": ', "[1]", {"other": 1}, {"text": 5}, "", "[" * 100_000)
    records, rows = read("jsonl", path, language="en")
    assert records == [Record([("en", "ok")])]
    places = [sample.removeprefix(f"{path}:") for sample in rows.samples]
    assert places[0].startswith("2: malformed JSON")
    assert places[1:4] == ["3: not a JSON object", "4: no field 'text'", "5: field 'text' is not a text"]
    assert rows.bad.total() == 5
    assert rows.skipped == {"blank line": 1}
    rows.max_bad_share = 0.1
    with pytest.raises(UserError, match="5 of 6 rows are malformed, more than max_bad_share=0.1"):
        rows.check()


def test_parquet_file_and_folder(tmp_path: Path) -> None:
    for place, row in enumerate(ROWS):
        pq.write_table(pa.Table.from_pylist([row]), tmp_path / f"{place}.parquet")
    assert read("parquet", tmp_path, **OPTIONS)[0] == WANTED
    assert read("parquet", tmp_path / "0.parquet", **OPTIONS)[0] == WANTED[:1]
    with pytest.raises(UserError, match=r"0.parquet: no column text \(columns: english, german, doc\)"):
        read("parquet", tmp_path, fields=["text"], language="en")
    (tmp_path / "0.parquet").write_bytes(b"PAR1 nonsense")
    with pytest.raises(UserError, match=r"0.parquet: not a readable Parquet file"):
        read("parquet", tmp_path, **OPTIONS)


def test_datasets_on_disk_and_in_memory(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    data = datasets.Dataset.from_list(ROWS)
    data.save_to_disk(str(tmp_path / "one"))
    datasets.DatasetDict({"train": data, "dev": data.select([1])}).save_to_disk(str(tmp_path / "two"))
    assert read("dataset", tmp_path / "one", **OPTIONS)[0] == WANTED
    assert read("dataset", tmp_path / "two", split="dev", **OPTIONS)[0] == WANTED[1:]
    assert list(dataset.from_rows(data, Fields(**OPTIONS), RowCounter())) == WANTED
    with pytest.raises(UserError, match="no split 'test' .*train, dev"):
        read("dataset", tmp_path / "two", split="test", **OPTIONS)
    (tmp_path / "three").mkdir()
    with pytest.raises(UserError, match="no dataset written by save_to_disk"):
        read("dataset", tmp_path / "three", **OPTIONS)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"fields": ["text"]}, "the language of the texts is not given"),
        ({"fields": ["text"], "texts": {"en": "text"}}, "texts and fields are both set"),
        ({"texts": {"klingonish": "text"}}, "unknown language tag"),
        ({"fields": "text", "language": "en"}, "option fields='text' should be list"),
        ({"feilds": ["text"]}, "has no option feilds"),
    ],
)
def test_mistakes_in_the_options(tmp_path: Path, options: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        read("jsonl", jsonl(tmp_path / "a.jsonl", {"text": "x"}), **options)


def test_missing_option_and_unknown_format(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="'gettext_package' needs the option packages"):
        read("gettext_package", tmp_path)
    with pytest.raises(UserError, match="unknown format 'xlsx'"):
        read("xlsx", tmp_path)
