"""`tmx` and `opus`, and files in every compression."""

from __future__ import annotations

import bz2
import gzip
import lzma
import zipfile

import pytest

from mlcl import formats
from mlcl.core.errors import UserError
from mlcl.core.files import RowCounter, existing, plain_name, read_bytes, read_lines
from mlcl.formats import Record

TMX = """<?xml version="1.0" encoding="UTF-8"?>
<tmx version="1.4"><header srclang="en" datatype="plaintext"/><body>
<tu><prop type="x-document">menu</prop>
 <tuv xml:lang="en"><seg>Press <bpt i="1">&lt;b&gt;</bpt><hi>Save</hi><ept i="1">&lt;/b&gt;</ept> now</seg></tuv>
 <tuv xml:lang="de-DE"><seg>Jetzt\n speichern</seg></tuv><tuv lang="fr"><seg>Enregistrer</seg></tuv></tu>
<tu><tuv xml:lang="en"><seg>alone</seg></tuv><tuv xml:lang="de"><seg> </seg></tuv></tu>
<tu><tuv><seg>no language</seg></tuv><tuv xml:lang="de"><seg>ohne Sprache</seg></tuv></tu>
<tu><tuv xml:lang="en"><seg>Cancel</seg></tuv><tuv xml:lang="ja"><seg>取り消し</seg></tuv></tu>
</body></tmx>
"""


def read(name, path, **options):
    rows = RowCounter(max_bad_share=1)
    return list(formats.read(name, path, rows, **options)), rows


def compressed(path, data):
    make = {".gz": gzip.compress, ".xz": lzma.compress, ".bz2": bz2.compress}.get(path.suffix, bytes)
    if path.suffix == ".zst":
        make = pytest.importorskip("backports.zstd").compress
    path.write_bytes(make(data))
    return path


def test_tmx(tmp_path):
    (tmp_path / "memory.tmx").write_text(TMX, encoding="utf-8")
    records, rows = read("tmx", tmp_path / "memory.tmx")
    assert records == [
        Record([("en", "Press Save now"), ("de-DE", "Jetzt speichern"), ("fr", "Enregistrer")], "menu"),
        Record([("en", "Cancel"), ("ja", "取り消し")]),
    ]
    assert rows.skipped == {"no translation": 1}
    assert rows.samples == [f"{tmp_path}/memory.tmx:3: translation unit 3: a version has no language (xml:lang)"]
    assert read("tmx", tmp_path / "memory.tmx", languages=["en", "ja"])[0] == records[1:]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (TMX.replace("</tu>", "", 1), r"memory.tmx:\d+: malformed XML"),
        ("<tmx><body/></tmx>", "no translation unit"),
        ("", "malformed XML"),
        ("plain text", "malformed XML"),
    ],
)
def test_tmx_mistakes(tmp_path, text, message):
    (tmp_path / "memory.tmx").write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match=message):
        read("tmx", tmp_path / "memory.tmx")


def archive(path, name="Books", first="de", second="en", left="eins\nzwei\n \n", right="one\ntwo\nthree\n"):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as made:
        made.writestr("README", "about")
        made.writestr(f"{name}.{first}-{second}.{first}", left)
        made.writestr(f"{name}.{first}-{second}.{second}", right)
        made.writestr(f"{name}.{first}-{second}.xml", "<linkGrp/>")
    return path


def test_opus(tmp_path):
    path = archive(tmp_path / "de-en.txt.zip")
    records, rows = read("opus", path)
    assert records == [Record([("de", "eins"), ("en", "one")]), Record([("de", "zwei"), ("en", "two")])]
    assert (rows.good_rows, rows.skipped) == (2, {"blank line": 1})
    archive(tmp_path / "en-zh_CN.txt.zip", first="en", second="zh_CN", left="one\n", right="一\n")
    assert read("opus", tmp_path)[0] == [*records, Record([("en", "one"), ("zh-Hans", "一")])]
    assert read("opus", tmp_path, languages=["en", "de"])[0] == records


def test_opus_mistakes(tmp_path):
    with pytest.raises(UserError, match="no zip file"):
        read("opus", tmp_path)
    path = archive(tmp_path / "x.zip", right="one\n")
    with pytest.raises(UserError, match=r"x.zip:2: one side ends"):
        read("opus", path)
    with pytest.raises(UserError, match="no archive of fr"):
        read("opus", path, languages=["fr"])
    archive(path, left=b"\xff\n", right="one\n")
    assert read("opus", path)[1].samples == [f"{path}:1: invalid UTF-8"]
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(UserError, match="damaged zip"):
        read("opus", path)
    with zipfile.ZipFile(path, "w") as made:
        made.writestr("something.xml", "")
    with pytest.raises(UserError, match="0 pairs of text files"):
        read("opus", path)


@pytest.mark.parametrize("suffix", ["", ".gz", ".xz", ".bz2", ".zst"])
def test_every_compression_is_read(tmp_path, suffix):
    whole = "".join(f"Zeile {n}\n" for n in range(5000)).encode()
    path = compressed(tmp_path / f"text.de{suffix}", whole)
    assert existing(tmp_path / "text.de") == path
    assert plain_name(path) == "text.de"
    assert read_bytes(path) == whole
    assert list(read_lines(path))[-1] == (5000, "Zeile 4999")
    assert len(read("text", path, language="de")[0]) == 5000
    compressed(tmp_path / f"text.en{suffix}", whole.replace(b"Zeile", b"line"))
    assert read("moses", tmp_path / "text")[0][1] == Record([("en", "line 1"), ("de", "Zeile 1")])
    if suffix:
        path.write_bytes(path.read_bytes()[:-40])
        with pytest.raises(UserError, match=r"text.de.\w+:\d+: truncated or damaged"):
            list(read_lines(path))
        with pytest.raises(UserError, match=r"truncated or damaged"):
            read_bytes(path)


XLIFF_1 = """<?xml version="1.0"?><xliff version="1.2" xmlns="urn:oasis:names:tc:xliff:document:1.2">
<file original="menu.html" source-language="en-US" target-language="de" datatype="html"><header/><body>
<group><trans-unit id="1"><source>Press <g id="1">Save</g><ph id="2">&lt;br/&gt;</ph> now</source>
 <target state="final">Jetzt <g id="1">speichern</g></target>
 <alt-trans><target>Anders</target></alt-trans></trans-unit></group>
<trans-unit id="2"><source>Open</source></trans-unit>
<trans-unit id="3"><source>Close</source><target state="needs-translation">Close</target></trans-unit>
<group translate="no"><trans-unit id="4"><source>mlcl</source><target>mlcl</target></trans-unit></group>
</body></file>
<file original="b" source-language="en" target-language="fr"><body>
<trans-unit id="1"><source>Cancel</source><target>Annuler</target></trans-unit></body></file></xliff>
"""
XLIFF_2 = """<xliff version="2.0" xmlns="urn:oasis:names:tc:xliff:document:2.0" srcLang="en" trgLang="ja"><file id="f1">
<unit id="u1"><segment state="translated"><source>First <pc id="1">one</pc>.</source><target>最初。</target></segment>
<ignorable><source> </source></ignorable>
<segment><source>Second.</source><target>次。</target></segment><segment><source>Third.</source></segment></unit>
</file></xliff>
"""


def test_xliff(tmp_path):
    path = compressed(tmp_path / "a.xlf.gz", XLIFF_1.encode())
    records, rows = read("xliff", path)
    assert records == [
        Record([("en-US", "Press Save now"), ("de", "Jetzt speichern")], "menu.html"),
        Record([("en", "Cancel"), ("fr", "Annuler")], "b"),
    ]
    assert rows.skipped == {"no translation": 1, "state needs-translation": 1, "not to be translated": 1}
    assert read("xliff", path, languages=["en", "fr"])[0] == records[1:]
    assert len(read("xliff", path, unfinished=True)[0]) == 3
    (tmp_path / "b.xlf").write_text(XLIFF_2, encoding="utf-8")
    records, rows = read("xliff", tmp_path / "b.xlf")
    assert records == [
        Record([("en", "First one."), ("ja", "最初。")], "f1"), Record([("en", "Second."), ("ja", "次。")], "f1"),
    ]  # fmt: skip
    assert rows.skipped == {"no translation": 1}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (XLIFF_1[:-40], r"a.xlf:\d+: malformed XML"),
        (XLIFF_1.replace('target-language="de"', ""), "languages are not given"),
        (XLIFF_1.replace('target-language="de"', 'target-language="nonsense-x"'), "unknown language tag"),
        ("<xliff version='1.2'/>", "no <trans-unit>"),
        ("", "malformed XML"),
        ("<!DOCTYPE x [<!ENTITY a 'aaaaaaaaaa'>" + "".join(
            f"<!ENTITY {b} '{10 * f'&{a};'}'>" for a, b in zip("abcdefgh", "bcdefghi", strict=True)
        ) + "]><xliff><file>&i;</file></xliff>", "malformed XML"),
    ],
)  # fmt: skip
def test_xliff_mistakes(tmp_path, text, message):
    (tmp_path / "a.xlf").write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match=message):
        read("xliff", tmp_path / "a.xlf")


@pytest.mark.parametrize("layout", ["tmx", "xliff"])
def test_large_xml_is_read_as_a_stream(tmp_path, layout):
    import tracemalloc

    text, opens, closes = {"tmx": (TMX, "<tu>", "</tu>"), "xliff": (XLIFF_1, "<group>", "</group>")}[layout]
    start, end = text.index(opens), text.index(closes) + len(closes)
    tail = {"tmx": "</body></tmx>", "xliff": "</body></file></xliff>"}[layout]
    (tmp_path / "a.xml").write_text(text[:start] + text[start:end] * 20_000 + tail, encoding="utf-8")
    tracemalloc.start()
    count = sum(1 for _ in formats.read(layout, tmp_path / "a.xml", RowCounter()))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert count == 20_000
    assert peak < 2_000_000
