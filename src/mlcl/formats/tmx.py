"""TMX 1.4, the exchange format of translation memories, plain or compressed.

In: a file. Out: one record per translation unit, with every version that it has; tags inside a segment are taken out,
their text stays. The file is read as a stream, whatever its size.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from xml.etree.ElementTree import Element

from mlcl.core.errors import UserError
from mlcl.core.files import RowCounter, existing
from mlcl.core.languages import canonical
from mlcl.formats import Record
from mlcl.formats._xml import elements, text_of

_LANGUAGE = "{http://www.w3.org/XML/1998/namespace}lang"
_INLINE_CODE = {"bpt", "ept", "it", "ph", "ut"}  # their content is mark-up of the original format
_DOCUMENT = ("x-document", "document", "x-filename")


def read(path: Path, rows: RowCounter, *, languages: list[str] | None = None) -> Iterator[Record]:
    """Read a translation memory.

    Args:
        path: The file.
        rows: Counts units; those without a language, or with one version left, by their number.
        languages: Languages to keep; all when not given.
    """
    path = existing(path)
    wanted = None if languages is None else {canonical(language) for language in languages}
    number = 0
    for number, (_, unit, _) in enumerate(elements(path, {"tu"}), start=1):
        try:
            texts = [version for version in _versions(unit) if wanted is None or version[0] in wanted]
        except UserError as error:
            rows.bad_row(path, number, f"translation unit {number}: {error.what}")
            continue
        if len(texts) < 2:
            rows.skip("no translation" if wanted is None else "no translation in the languages asked for")
            continue
        rows.good()
        document = next((p.text for p in unit.iter("prop") if p.get("type") in _DOCUMENT and p.text), "")
        yield Record(texts, document)
    if not number:
        raise UserError("no translation unit (<tu>) in this file", path=path, remedy="is it TMX?")


def _versions(unit: Element) -> Iterator[tuple[str, str]]:
    """`(tag, text)` of the versions that are not blank."""
    for variant in unit.iter("tuv"):
        code = variant.get(_LANGUAGE) or variant.get("lang")
        if not code:
            raise UserError("a version has no language (xml:lang)")
        segment = variant.find("seg")
        text = "" if segment is None else text_of(segment, _INLINE_CODE)
        if text:
            yield canonical(code), text
