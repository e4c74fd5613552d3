"""Web archives: WARC files with pages and WET files with their text, as Common Crawl publishes them (ISO 28500).

In: a file, or a folder of `.warc`, `.warc.gz`, `.warc.wet.gz` and so on. Out: one record per sentence of each page that
was answered with HTML (its main text), and of each text; the address of the page is its document. The archive is read
as a stream by fastwarc.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mlcl.core.errors import UserError, require
from mlcl.core.files import RowCounter, damage_is_reported, open_binary
from mlcl.formats import Record
from mlcl.formats._documents import MOST_BYTES, Documents, find_files
from mlcl.formats._main_text import main_text

_PAGES = ("text/html", "application/xhtml+xml")


def read(
    path: Path,
    rows: RowCounter,
    *,
    language: str = "",
    pattern: str = "",
    identify: str | None = None,
    languages: list[str] | None = None,
) -> Iterator[Record]:
    """Read web archives.

    Args:
        path: A file, or a folder.
        rows: Counts sentences, records that are left out, and blocks outside the main text.
        language: Language of all pages. Otherwise `WARC-Identified-Content-Language` says it, else `<html lang>`.
        pattern: Archives below the folder; all `.warc` and `.wet` when empty.
        identify: Identifier for pages that do not say their language: py3langid, fasttext, heliport.
        languages: Languages to keep; all when not given.
    """
    require("fastwarc", "web")
    documents = Documents(rows, language, identify, languages)
    for name, tag, file in find_files(path, pattern, (".warc", ".wet")):
        empty = True
        for number, record in enumerate(_records(file), start=1):
            empty = False
            body = _body(record, file, number, rows)
            if body is None:
                continue
            document = record.headers.get("WARC-Target-URI") or f"{name}#{number}"
            # Several languages, the most frequent first: `deu,eng`.
            said = tag or (record.headers.get("WARC-Identified-Content-Language") or "").partition(",")[0]
            if record.http_headers is None:
                yield from _text(documents, rows, file, number, document, said, body)
                continue
            found = main_text(body, record.http_charset or "")
            if found is None:
                rows.bad_row(file, number, f"record {number}: no HTML")
                continue
            rows.skip("boilerplate block", found.left_out)
            yield from documents.records(document, said or found.language, found.paragraphs)
        if empty:
            raise UserError("no page and no text in this archive", path=file, remedy="is it WARC or WET?")


def _records(file: Path) -> Iterator[Any]:
    """Responses and texts of an archive; Python decompresses, because fastwarc passes over a truncated end."""
    from fastwarc.warc import ArchiveIterator, WarcRecordType

    kinds = WarcRecordType.response | WarcRecordType.conversion
    with damage_is_reported(file), open_binary(file) as stream:
        try:
            yield from ArchiveIterator(stream, record_types=kinds, stream_detect=False)
        except OSError as error:
            if "WARC" not in str(error):  # of the stream: what damaged it is said above
                raise
            raise UserError(f"this is no web archive: {error}", path=file, remedy="fetch the file again") from error


def _body(record: Any, file: Path, number: int, rows: RowCounter) -> bytes | None:
    """The content of a record; None for one that has no page, which is counted."""
    answer = record.http_headers
    if answer is not None:
        if answer.status_code != 200:
            rows.skip("page that was not found or moved")
            return None
        if (record.http_content_type or "").lower() not in _PAGES:
            rows.skip("no web page")
            return None
    if record.content_length > MOST_BYTES:
        rows.skip(f"document of more than {MOST_BYTES >> 20} MiB")
        return None
    body: bytes = record.reader.read()
    if len(body) < record.content_length:
        raise UserError(f"record {number} is cut off", path=file, remedy="fetch the file again")
    return body


def _text(
    documents: Documents, rows: RowCounter, file: Path, number: int, name: str, said: str, body: bytes
) -> Iterator[Record]:
    """The sentences of a WET record."""
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError:
        rows.bad_row(file, number, f"record {number}: invalid UTF-8")
        return
    yield from documents.records(name, said, text.split("\n"))
