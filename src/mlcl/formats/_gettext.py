"""Gettext catalogs: parsing them, and joining those of one document over their languages.

In: `Catalog`s (`_gettext_find`). Out: one multi-parallel record per message, the source
language first. Shared by the formats `gettext` (files and folders) and `gettext_package` (installed packages).

Plural messages give two records: the singular with each language's form for n = 1, the plural with its form for n = 5
(a plural in every language, unlike the last form: Latvian's last form is for zero), both found through the catalog's
`Plural-Forms` rule. A language with one form for both joins the plural record only.
"""

from __future__ import annotations

import gettext
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import polib

from mlcl.core.errors import UserError
from mlcl.core.files import RowCounter, read_bytes
from mlcl.core.languages import canonical
from mlcl.core.text import is_held_out
from mlcl.formats import Record
from mlcl.formats._gettext_find import Catalog, load_mo

_LINE_BREAKS = str.maketrans(dict.fromkeys("\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029\r", " "))  # polib splits lines there
_SURROGATE = re.compile("[\ud800-\udfff]")
DEV_PERCENT = 10
"""Share of the messages that `part="dev"` takes."""


@dataclass(frozen=True, slots=True)
class _Message:
    key: tuple[str, str, bool]  # context, msgid, whether it is the plural
    source: str
    target: str


def check_part(part: str) -> None:
    """Raise UserError unless `part` is empty, `train` or `dev`."""
    if part not in ("", "train", "dev"):
        raise UserError(f"part={part!r}", remedy="use train, dev, or leave it out for all messages")


def in_part(msgid: str, part: str) -> bool:
    """Whether a message belongs to a part: a stable hash of its msgid sends 90 % to `train`, 10 % to `dev`.

    The hash is `core.text.is_held_out` over the normalised msgid, so all languages, contexts, plurals and catalogs of
    one English text fall on the same side. The empty part takes all.
    """
    return not part or is_held_out(msgid, DEV_PERCENT, salt="gettext") == (part == "dev")


def read_catalogs(
    catalogs: Iterable[Catalog],
    rows: RowCounter,
    *,
    source_language: str = "en",
    languages: Sequence[str] | None = None,
    part: str = "",
) -> Iterator[Record]:
    """Join catalogs of the same document on (context, msgid); one document is in memory at a time."""
    check_part(part)
    wanted = None if languages is None else {canonical(language) for language in languages}
    documents: dict[str, list[Catalog]] = {}
    for catalog in catalogs:
        if wanted is None or catalog.language in wanted:
            documents.setdefault(catalog.document, []).append(catalog)
    for document in sorted(documents):
        joined: dict[tuple[str, str, bool], Record] = {}
        for catalog in sorted(documents[document], key=lambda c: (c.language, c.path)):
            for message in _messages(catalog, rows):
                if not in_part(message.key[1], part):
                    rows.skip(f"not in part {part!r}")
                    continue
                record = joined.setdefault(message.key, Record([(source_language, message.source)], document))
                record.texts.append((catalog.language, message.target))
                rows.good()
        yield from joined.values()


def _messages(catalog: Catalog, rows: RowCounter) -> Iterator[_Message]:
    """The usable translations of one catalog; the others are counted by reason."""
    entries, header = _parse(catalog.path, rows)
    one, five = _plural_forms(header)
    for line, entry in entries:
        if not entry.msgid:
            continue  # the header
        forms = entry.msgstr_plural or {0: entry.msgstr}
        if entry.obsolete:
            rows.skip("obsolete")
        elif "fuzzy" in entry.flags:
            rows.skip("fuzzy")
        elif not any(forms.values()):
            rows.skip("untranslated")
        elif _SURROGATE.search(entry.msgid + "".join(forms.values())):
            rows.bad_row(catalog.path, line, "invalid UTF-8")
        else:
            context = entry.msgctxt or ""
            if not entry.msgid_plural:
                yield _Message((context, entry.msgid, False), entry.msgid, forms[0])
                continue
            if five is None or five not in forms:
                singular, plural = (forms.get(0, "") if len(forms) > 1 else ""), forms[max(forms)]
            else:
                singular, plural = ("" if one == five else forms.get(one, "")), forms[five]
            if singular:
                yield _Message((context, entry.msgid, False), entry.msgid, singular)
            if plural:
                yield _Message((context, entry.msgid, True), entry.msgid_plural, plural)


def _plural_forms(header: dict[str, str]) -> tuple[int, int | None]:
    """Which form a catalog uses for n = 1 and for n = 5; None where the header has no valid rule."""
    rule = re.search(r"plural\s*=\s*([^;\\]+)", header.get("Plural-Forms", ""))
    if not rule:
        return 0, None
    try:
        form = gettext.c2py(rule[1].strip())  # type: ignore[attr-defined]  # the standard library's own evaluator
        return form(1), form(5)
    except (ValueError, ZeroDivisionError, OverflowError, RecursionError):
        return 0, None


def _parse(path: Path, rows: RowCounter) -> tuple[list[tuple[int, polib.POEntry]], dict[str, str]]:
    """The entries of a catalog with their line numbers, and its header."""
    if path.suffix == ".mo":
        catalog = load_mo(path)
        return [(0, entry) for entry in catalog], catalog.metadata
    text = _text(path)
    if _unclosed(text) is not None:  # polib would take the last character of such a line for its quote
        return _parse_blocks(text, path, rows)
    try:
        parsed = polib.pofile(text)
        return [(entry.linenum, entry) for entry in parsed], parsed.metadata
    except (OSError, ValueError):
        return _parse_blocks(text, path, rows)


def _parse_blocks(text: str, path: Path, rows: RowCounter) -> tuple[list[tuple[int, polib.POEntry]], dict[str, str]]:
    """Parse each blank-line separated entry alone, so that a malformed one costs only itself."""
    entries: list[tuple[int, polib.POEntry]] = []
    header: dict[str, str] = {}
    line = 1
    for block in re.split(r"(\n(?:[ \t]*\n)+)", text):
        if (unclosed := _unclosed(block)) is not None:
            rows.bad_row(path, line + unclosed, "unclosed quote")
        elif block.strip():
            try:
                parsed = polib.pofile(block + "\n")
            except (OSError, ValueError) as error:
                inner = re.search(r"\(?line (\d+)\)?(?:: (.*))?", str(error))
                reason = (inner and inner[2]) or "syntax error in entry"
                rows.bad_row(path, line + (int(inner[1]) - 1 if inner else 0), reason)
            else:
                header = header or parsed.metadata
                entries += [(line + entry.linenum - 1, entry) for entry in parsed]
        line += block.count("\n")
    return entries, header


def _unclosed(text: str) -> int | None:
    """Index of the first line with a quoted text that does not end with its quote."""
    for index, line in enumerate(text.split("\n")):
        line = line.strip()
        if line.startswith(('"', "msg")) and (line[-1] != '"' or line.count('"') < 2):
            return index
    return None


def _text(path: Path) -> str:
    """The file's text, in the charset of its header; undecodable bytes become surrogates, which `_messages` counts."""
    data = read_bytes(path).removeprefix(b"\xef\xbb\xbf")
    if not data.strip():
        raise UserError("the file is empty", path=path, remedy="remove it")
    charset = re.search(rb"charset=([\w.:-]+)", data[:8192])
    try:
        text = data.decode(charset[1].decode("ascii") if charset else "utf-8", "surrogateescape")
    except LookupError:  # the template's own CHARSET, or a name that nobody knows
        text = data.decode("utf-8", "surrogateescape")
    return text.translate(_LINE_BREAKS) + "\n"  # ends in a line break, so polib never takes it for a file name
