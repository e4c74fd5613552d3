from __future__ import annotations

import gzip
from pathlib import Path

import polib
import pytest

from mlcl import formats
from mlcl.core.errors import UserError
from mlcl.core.files import RowCounter
from mlcl.formats import Record

HEADER = 'msgid ""\nmsgstr ""\n"Language: {lang}\\n"\n"Content-Type: text/plain; charset=UTF-8\\n"\n{more}\n'
OPEN = 'msgid "b'  # a quote that is never closed
RUSSIAN = (
    '"Plural-Forms: nplurals=3; plural=(n%10==1 && n%100!=11 ? 0 : n%10>=2 && n%10<=4 && '
    '(n%100<10 || n%100>=20) ? 1 : 2);\\n"\n'
)


def write(path: Path, lang: str, body: str, more: str = "") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    data = (HEADER.format(lang=lang, more=more) + body).encode()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


def read(path: Path, **options: object) -> tuple[list[Record], RowCounter]:
    rows = RowCounter(max_bad_share=1)
    return list(formats.read("gettext", path, rows, **options)), rows


def test_joined_over_languages_on_context_and_msgid(tmp_path: Path) -> None:
    body = 'msgctxt "{c}"\nmsgid "May"\nmsgstr "{t}"\n\n'
    write(tmp_path / "app/locale/de/LC_MESSAGES/django.po", "de", body.format(c="month", t="Mai"))
    write(
        tmp_path / "app/locale/pt_BR/LC_MESSAGES/django.po", "pt_BR",
        body.format(c="month", t="Maio") + body.format(c="verb", t="Pode"),
    )  # fmt: skip
    records, rows = read(tmp_path / "app")
    assert [record.texts for record in records] == [
        [("en", "May"), ("de", "Mai"), ("pt-BR", "Maio")],
        [("en", "May"), ("pt-BR", "Pode")],
    ]
    assert {record.document for record in records} == {"app/locale/django"}
    assert rows.good_rows == 3


def test_fuzzy_obsolete_and_untranslated_entries_are_counted(tmp_path: Path) -> None:
    body = '#, fuzzy\nmsgid "a"\nmsgstr "A"\n\nmsgid "b"\nmsgstr ""\n\n#~ msgid "c"\n#~ msgstr "C"\n\n'
    body += 'msgid "d"\nmsgstr "D"\n'
    records, rows = read(write(tmp_path / "de.po", "de", body))
    assert [record.texts for record in records] == [[("en", "d"), ("de", "D")]]
    assert rows.skipped == {"fuzzy": 1, "untranslated": 1, "obsolete": 1}


def test_plural_forms_follow_the_rule_of_the_catalog(tmp_path: Path) -> None:
    plural = 'msgid "%d file"\nmsgid_plural "%d files"\n'
    write(
        tmp_path / "x/ru.po",
        "ru",
        plural + 'msgstr[0] "%d файл"\nmsgstr[1] "%d файла"\nmsgstr[2] "%d файлов"\n',
        RUSSIAN,
    )
    write(tmp_path / "x/ja.po", "ja", plural + 'msgstr[0] "%d 個"\n', '"Plural-Forms: nplurals=1; plural=0;\\n"\n')
    write(tmp_path / "x/de.po", "de", plural + 'msgstr[0] "%d Datei"\nmsgstr[1] "%d Dateien"\n')  # no rule
    records, _ = read(tmp_path / "x")
    assert [record.texts for record in records] == [
        [("en", "%d file"), ("de", "%d Datei"), ("ru", "%d файл")],
        [("en", "%d files"), ("de", "%d Dateien"), ("ja", "%d 個"), ("ru", "%d файлов")],
    ]


def test_a_malformed_entry_costs_only_itself(tmp_path: Path) -> None:
    body = 'msgid "a"\nmsgstr "A"\n\nmsgid "b\nmsgstr "B"\n\nmsgid "c"\nmsgstr "un"quoted"\n\nmsgid "d"\nmsgstr "D"\n'
    path = write(tmp_path / "de.po", "de", body)
    records, rows = read(path)
    assert [record.texts[0][1] for record in records] == ["a", "d"]
    assert sum(rows.bad.values()) == 2
    lines = path.read_text().split("\n")
    quoted = lines.index('msgstr "un"quoted"') + 1
    assert rows.samples[0] == f"{path}:{lines.index(OPEN) + 1}: unclosed quote"
    assert rows.samples[1] == f"{path}:{quoted}: unescaped double quote found"


def test_invalid_utf8_is_a_bad_row(tmp_path: Path) -> None:
    path = write(tmp_path / "de.po", "de", 'msgid "a"\nmsgstr "A"\n\nmsgid "b"\nmsgstr "B"\n')
    path.write_bytes(path.read_bytes().replace(b'"B"', b'"\xff"'))
    records, rows = read(path)
    assert [record.texts[0][1] for record in records] == ["a"]
    assert rows.bad == {"invalid UTF-8": 1}


def test_another_charset_and_a_bom(tmp_path: Path) -> None:
    text = HEADER.format(lang="de", more="").replace("UTF-8", "ISO-8859-1") + 'msgid "size"\nmsgstr "Größe"\n'
    (tmp_path / "de.po").write_bytes(text.encode("latin-1"))
    assert read(tmp_path / "de.po")[0][0].texts == [("en", "size"), ("de", "Größe")]
    (tmp_path / "fr.po").write_bytes(
        b"\xef\xbb\xbf" + HEADER.format(lang="fr", more="").encode() + b'msgid "a"\nmsgstr "b"\n'
    )
    assert read(tmp_path / "fr.po")[0][0].texts == [("en", "a"), ("fr", "b")]


def test_po_is_preferred_and_mo_is_read(tmp_path: Path) -> None:
    po = write(tmp_path / "de/LC_MESSAGES/app.po", "de", 'msgctxt "x"\nmsgid "a"\nmsgstr "A"\n')
    polib.pofile(str(po)).save_as_mofile(str(po.with_suffix(".mo")))
    assert len(read(tmp_path)[0]) == 1
    po.unlink()
    records, _ = read(tmp_path)
    assert [record.texts for record in records] == [[("en", "a"), ("de", "A")]]
    po.with_suffix(".mo").write_bytes(b"nonsense")
    with pytest.raises(UserError, match=r"app.mo: not a valid .mo file"):
        read(tmp_path)
    (tmp_path / "plain.mo").write_bytes(b"nonsense")
    with pytest.raises(UserError, match=r"plain.mo: not a valid .mo file"):
        read(tmp_path / "plain.mo")


def test_the_folder_decides_where_most_headers_agree_with_it(tmp_path: Path) -> None:
    body = 'msgid "a"\nmsgstr "A"\n'
    for name, lang in (("c-api/one", "es"), ("two", "es_ES"), ("three", "en_GB")):
        write(tmp_path / f"docs/manual-es/{name}.po.gz", lang, body)
    write(tmp_path / "docs/manual-pt-br/two.po", "", body)  # no language in the header
    write(tmp_path / "docs/manual-zh-cn/two.po", "zh_CN", body)
    records, _ = read(tmp_path / "docs")
    assert {record.document: [lang for lang, _ in record.texts] for record in records} == {
        "docs/manual/c-api/one": ["en", "es"],
        "docs/manual/two": ["en", "es", "pt-BR", "zh-Hans"],
        "docs/manual/three": ["en", "es"],
    }


def test_the_language_must_be_known(tmp_path: Path) -> None:
    path = write(tmp_path / "messages.po", "", 'msgid "a"\nmsgstr "A"\n')
    with pytest.raises(UserError, match="cannot tell the catalog's language .*option language"):
        read(path)
    assert read(path, language="swh")[0][0].texts[1] == ("sw", "A")
    with pytest.raises(UserError, match="cannot tell the catalog's language"):
        read(write(tmp_path / "app/doc/messages.po", "", 'msgid "a"\nmsgstr "A"\n').parent.parent)
    with pytest.raises(UserError, match="unknown language tag 'xx-none'"):
        read(path, language="xx-none")


def test_parts_split_messages_and_are_the_same_in_every_language(tmp_path: Path) -> None:
    body = "".join(f'msgid "message {n}"\nmsgstr "T {n}"\n\n' for n in range(1000))
    write(tmp_path / "x/de.po", "de", body)
    write(tmp_path / "x/fr.po", "fr", body)
    train, rows = read(tmp_path / "x", part="train")
    dev, _ = read(tmp_path / "x", part="dev")
    assert {r.texts[0][1] for r in train}.isdisjoint(r.texts[0][1] for r in dev)
    assert len(train) + len(dev) == 1000
    assert 60 < len(dev) < 140
    assert all(len(record.texts) == 3 for record in train + dev)
    assert rows.skipped == {"not in part 'train'": 2 * len(dev)}
    with pytest.raises(UserError, match="part='test' .*use train, dev"):
        read(tmp_path / "x", part="test")


def test_empty_folder_empty_file_and_truncated_gzip(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no gettext catalog"):
        read(tmp_path)
    (tmp_path / "de.po").write_text("")
    with pytest.raises(UserError, match=r"de.po: the file is empty"):
        read(tmp_path / "de.po", language="de")
    (tmp_path / "fr.po.gz").write_bytes(gzip.compress(b"msgid" * 1000)[:-12])
    with pytest.raises(UserError, match=r"fr.po.gz: truncated or damaged gzip file"):
        read(tmp_path / "fr.po.gz", language="fr")


def test_package_that_is_not_installed() -> None:
    with pytest.raises(UserError, match="package 'no_such_package_here' is not installed"):
        list(formats.read("gettext_package", Path(), RowCounter(), packages=["no_such_package_here"]))


def test_catalogs_of_an_installed_package() -> None:
    pytest.importorskip("django")
    rows = RowCounter()
    records = list(formats.read("gettext_package", Path(), rows, packages=["django"], languages=["de", "ja"]))
    [arabic] = [r for r in records if r.texts[0] == ("en", "Arabic") and r.document == "django/conf/locale/django"]
    assert arabic.texts[1:] == [("de", "Arabisch"), ("ja", "アラビア語")]
    assert {lang for record in records for lang, _ in record.texts} == {"en", "de", "ja"}
    assert not rows.bad


@pytest.mark.real_data
def test_python_documentation(data_root: Path) -> None:
    records, rows = read(data_root / "po")
    assert rows.good_rows == 63_219  # the number that the data's own description gives
    assert not rows.bad
    languages = {lang for record in records for lang, _ in record.texts}
    assert languages == {"en", "es", "fr", "hu", "id", "it", "ja", "ko", "pl", "pt-BR", "ro", "tr", "uk", "zh-Hans"}
