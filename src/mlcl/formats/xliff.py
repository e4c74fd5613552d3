"""XLIFF 1.2 and 2.x, the exchange format of localisation (OASIS), plain or compressed.

In: a file. Out: one record per segment that has a source and a target; inline codes are taken out, the text inside them
stays. The document is the `original` of its `<file>`, or the `id`. The file is read as a stream, whatever its size.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from xml.etree.ElementTree import Element

from mlcl.core.errors import UserError
from mlcl.core.files import RowCounter, existing
from mlcl.core.languages import canonical
from mlcl.formats import Record
from mlcl.formats._xml import elements, local_name, text_of

_CODES = frozenset({"bpt", "ept", "it", "ph", "sub", "x", "bx", "ex", "sc", "ec", "cp"})
"""Inline elements whose content, if they have any, is mark-up of the original format (`sub` inside one is left out)."""
_UNFINISHED = frozenset({"new", "needs-translation", "needs-l10n", "needs-adaptation", "initial"})
_XML_LANG = "{http://www.w3.org/XML/1998/namespace}lang"


def read(
    path: Path, rows: RowCounter, *, languages: list[str] | None = None, unfinished: bool = False
) -> Iterator[Record]:
    """Read an XLIFF file.

    Args:
        path: The file.
        rows: Counts segments; those without a target, with one that is not translated yet, or not to be translated.
        languages: Files are kept when both of their languages are among these; all when not given.
        unfinished: Keep targets whose state says that they still need a translation.
    """
    path = existing(path)
    wanted = None if languages is None else {canonical(language) for language in languages}
    tags: tuple[str, str] = ("", "")
    document, found = "", False
    for event, element, parents in elements(path, {"trans-unit", "unit"}, opened={"xliff", "file"}):
        name = local_name(element)
        if event == "start":
            tags, document = _header(element, name, tags, document, path)
            continue
        found = True
        if not all(tags):
            raise UserError(
                "the languages are not given (source-language, target-language; srcLang, trgLang)", path=path
            )
        if wanted is not None and not wanted.issuperset(tags):
            rows.skip("language not asked for")
            continue
        if "no" in (element.get("translate"), *(parent.get("translate") for parent in parents)):
            rows.skip("not to be translated")
            continue
        for source, target, state in _segments(element):
            if not source or not target:
                rows.skip("no translation")
            elif state in _UNFINISHED and not unfinished:
                rows.skip(f"state {state}")
            else:
                rows.good()
                yield Record([(tags[0], source), (tags[1], target)], document)
    if not found:
        raise UserError("no <trans-unit> and no <unit> in this file", path=path, remedy="is it XLIFF 1.2 or 2?")


def _header(
    element: Element, name: str, tags: tuple[str, str], document: str, path: Path
) -> tuple[tuple[str, str], str]:
    """Languages (of the file in 1.2, of the whole in 2.x) and document, as an opening tag says them."""
    codes = [
        element.get("source-language") or element.get("srcLang"),
        element.get("target-language") or element.get("trgLang"),
    ]
    if any(codes) or name == "xliff":
        try:
            tags = (canonical(codes[0]) if codes[0] else "", canonical(codes[1]) if codes[1] else "")
        except UserError as error:
            raise UserError(error.what, path=path, remedy=error.remedy) from error
    if name == "file":
        document = element.get("original") or element.get("id") or ""
    return tags, document


def _segments(unit: Element) -> Iterator[tuple[str, str, str]]:
    """`(source, target, state)` of a `<trans-unit>` (1.2), or of the segments of a `<unit>` (2.x)."""
    if local_name(unit) == "trans-unit":
        target = _child(unit, "target")
        state = "" if target is None else target.get("state", "")
        yield _text(_child(unit, "source")), _text(target), state
        return
    for segment in unit.iter():
        if local_name(segment) == "segment":  # <ignorable> holds white space between segments
            yield _text(_child(segment, "source")), _text(_child(segment, "target")), segment.get("state", "")


def _child(element: Element, name: str) -> Element | None:
    return next((child for child in element if local_name(child) == name), None)


def _text(element: Element | None) -> str:
    return "" if element is None else text_of(element, _CODES)
