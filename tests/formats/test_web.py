"""`html`, `documents` and `warc`: documents become sentences with their document; what is left out is counted."""

from __future__ import annotations

import gzip

import pytest

from mlcl import formats
from mlcl.core.errors import UserError
from mlcl.core.files import RowCounter
from mlcl.formats import Record

pytest.importorskip("sentencex")

MENU = '<nav><ul><li><a href="/">Startseite</a></li><li><a href="/kontakt">Kontakt</a></li></ul></nav>'
SENTENCES = [
    "Der Ausschuss traf sich am Dienstag, um den neuen Haushalt für Schulen und Krankenhäuser zu beraten.",
    "Er wurde nach zwei Stunden mit großer Mehrheit angenommen.",
    "Die Opposition kündigte an, im Herbst einen eigenen Entwurf für die Schulen auf dem Land vorzulegen.",
]
PAGE = f"""<!DOCTYPE html><html lang="de"><head><title>Haushalt</title></head><body>{MENU}
<article><h1>Ein Haushalt für Schulen</h1><p>{SENTENCES[0]} {SENTENCES[1]}</p><p>{SENTENCES[2]}</p></article>
<footer>© 2020 Impressum</footer><script>var x = "kein Text";</script></body></html>"""


def read(name, path, **options):
    rows = RowCounter(max_bad_share=1)
    return list(formats.read(name, path, rows, **options)), rows


def texts(records):
    return [text for record in records for _, text in record.texts]


# --- html ------------------------------------------------------------------------------------------------------------


def test_html_gives_the_sentences_of_the_main_text(tmp_path):
    pytest.importorskip("trafilatura")
    (tmp_path / "news").mkdir()
    (tmp_path / "news/a.html.gz").write_bytes(gzip.compress(PAGE.encode()))
    (tmp_path / "b.htm").write_bytes(PAGE.replace('lang="de"', 'lang="Deutsch"').encode("utf-16"))
    records, rows = read("html", tmp_path)
    assert {record.document for record in records} == {"news/a.html.gz"}
    assert texts(records)[-3:] == SENTENCES
    assert {lang for record in records for lang, _ in record.texts} == {"de"}
    assert not {"Startseite", "Kontakt", "kein Text"} & set(texts(records))
    assert rows.skipped["boilerplate block"] >= 6  # three blocks in each of the two pages
    assert rows.skipped["document without a known language"] == 1
    assert rows.good_rows == len(records)


def test_html_language_by_option_path_and_identifier(tmp_path):
    pytest.importorskip("trafilatura")
    pytest.importorskip("py3langid")
    (tmp_path / "deu").mkdir()
    (tmp_path / "deu/a.html").write_text(PAGE.replace(' lang="de"', ""), encoding="utf-8")
    assert read("html", tmp_path)[0] == []
    found = [
        read("html", tmp_path, language="de-AT"),
        read("html", tmp_path, pattern="{language}/**/*.html"),
        read("html", tmp_path, identify="py3langid"),
    ]
    assert [records[0].texts[0][0] for records, _ in found] == ["de-AT", "de", "de"]
    records, rows = read("html", tmp_path, identify="py3langid", languages=["fr"])
    assert (records, rows.skipped["document in a language not asked for"]) == ([], 1)
    with pytest.raises(UserError, match="no file matches the pattern"):
        read("html", tmp_path, pattern="{language}/*.htm")
    with pytest.raises(UserError, match="unknown language identifier"):
        read("html", tmp_path, identify="oracle")


@pytest.mark.parametrize("page", [b"", b"   \n", b"\x00\x01\x02\x03" * 50, b"<html></html>", b"\x89PNG\r\n\x1a\n" * 9])
def test_html_without_text_is_counted(tmp_path, page):
    pytest.importorskip("trafilatura")
    (tmp_path / "x.html").write_bytes(page)
    records, rows = read("html", tmp_path, language="de")
    assert records == []
    assert rows.bad.total() + rows.skipped["document without text"] == 1


def test_html_with_nothing_there_or_damaged(tmp_path):
    with pytest.raises(UserError, match="no file that ends in .html"):
        read("html", tmp_path)
    (tmp_path / "x.html.gz").write_bytes(gzip.compress(PAGE.encode())[:-20])
    with pytest.raises(UserError, match=r"x.html.gz: truncated or damaged gzip"):
        read("html", tmp_path)


# --- documents -------------------------------------------------------------------------------------------------------


def test_documents_become_sentences(tmp_path):
    (tmp_path / "en").mkdir()
    (tmp_path / "en/b.txt").write_text("It rained. Mr. Smith left.\n\nHe came back\nlate at night.\n", encoding="utf-8")
    (tmp_path / "en/a.txt").write_text("", encoding="utf-8")
    (tmp_path / "en/c.txt").write_text(" \n\n", encoding="utf-8")
    records, rows = read("documents", tmp_path, pattern="{language}/*.txt")
    assert records[0] == Record([("en", "It rained.")], "en/b.txt")
    assert texts(records) == ["It rained.", "Mr. Smith left.", "He came back", "late at night."]
    assert rows.skipped == {"document without text": 2}
    wrapped, _ = read("documents", tmp_path, language="en", wrapped=True)
    assert texts(wrapped)[-1] == "He came back late at night."
    (tmp_path / "en/d.txt").write_bytes(b"Good one.\nBad \xff one.\n")
    assert read("documents", tmp_path, language="en")[1].samples == [f"{tmp_path}/en/d.txt:2: invalid UTF-8"]
    assert read("documents", tmp_path / "en/b.txt")[1].skipped == {"document without a known language": 1}


def test_documents_too_large_are_left_out(tmp_path, monkeypatch):
    for module in ("documents", "_documents"):
        monkeypatch.setattr(f"mlcl.formats.{module}.MOST_BYTES", 1 << 20)
    (tmp_path / "a.txt").write_text("word " * 300_000, encoding="utf-8")
    assert read("documents", tmp_path, language="en")[1].skipped == {"document of more than 1 MiB": 1}


# --- warc ------------------------------------------------------------------------------------------------------------


def record(kind, body, content, **headers):
    lines = {"WARC-Type": kind, "WARC-Target-URI": "https://example.org/a", "WARC-Date": "2020-01-01T00:00:00Z",
             "WARC-Record-ID": "<urn:uuid:00000000-0000-0000-0000-000000000001>", "Content-Type": content,
             **{name.replace("_", "-"): value for name, value in headers.items()},
             "Content-Length": str(len(body))}  # fmt: skip
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    return b"WARC/1.0\r\n" + head.encode() + b"\r\n" + body + b"\r\n\r\n"


def answer(page, status="200 OK", content="text/html; charset=iso-8859-1"):
    body = f"HTTP/1.1 {status}\r\nContent-Type: {content}\r\n\r\n".encode() + page
    return record("response", body, "application/http; msgtype=response")


def test_warc_pages_and_texts(tmp_path):
    pytest.importorskip("fastwarc")
    pytest.importorskip("trafilatura")
    parts = [
        record("warcinfo", b"software: x\r\n", "application/warc-fields"),
        answer(PAGE.encode("iso-8859-1")),
        answer(b"gone", status="404 Not Found"),
        answer(b"%PDF-1.4", content="application/pdf"),
        record("conversion", b"Il pleut. Il fait froid.\nMenu", "text/plain",
               WARC_Identified_Content_Language="fra,eng"),
        record("conversion", b"caf\xe9", "text/plain"),
    ]  # fmt: skip
    (tmp_path / "a.warc.gz").write_bytes(b"".join(map(gzip.compress, parts)))
    records, rows = read("warc", tmp_path)
    assert texts(records)[-6:-3] == SENTENCES
    assert records[-3:] == [
        Record([("fr", text)], "https://example.org/a") for text in ("Il pleut.", "Il fait froid.", "Menu")
    ]
    assert rows.skipped["page that was not found or moved"] == 1
    assert rows.skipped["no web page"] == 1
    assert rows.skipped["boilerplate block"] >= 3
    assert rows.bad == {"record 5: invalid UTF-8": 1}


def test_warc_damage(tmp_path):
    pytest.importorskip("fastwarc")
    whole = record("conversion", b"It rained. " * 400, "text/plain", WARC_Identified_Content_Language="eng")
    path = tmp_path / "a.warc.wet.gz"
    path.write_bytes(gzip.compress(whole)[:-30])
    with pytest.raises(UserError, match=r"a.warc.wet.gz: truncated or damaged gzip"):
        read("warc", path)
    path.unlink()
    path = tmp_path / "a.wet"
    path.write_bytes(whole[:-30])
    with pytest.raises(UserError, match=r"a.wet: record 1 is cut off"):
        read("warc", path)
    path.write_bytes(bytes(range(256)) * 20)
    with pytest.raises(UserError, match="this is no web archive"):
        read("warc", path)
    path.write_bytes(b"")
    with pytest.raises(UserError, match="no page and no text"):
        read("warc", path)
