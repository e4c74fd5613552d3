"""Gettext catalogs in a file or a folder: `.po`, `.po.gz`, `.mo`, in any layout.

In: a catalog, or a folder searched through all its levels. Out: one record per message, English first, with every
language that translates it. Fuzzy, obsolete and untranslated entries are skipped and counted.

The language of a catalog is the option `language`, else its folder (`de/LC_MESSAGES/`, `docs-pt-br/`) where that agrees
with the catalog's `Language` header, else that header.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from mlcl.core.files import RowCounter, existing
from mlcl.formats import Record
from mlcl.formats._gettext import read_catalogs
from mlcl.formats._gettext_find import find


def read(
    path: Path,
    rows: RowCounter,
    *,
    language: str = "",
    source_language: str = "en",
    languages: list[str] | None = None,
    part: str = "",
) -> Iterator[Record]:
    """Read catalogs.

    Args:
        path: A catalog or a folder.
        rows: Counts translations; malformed entries with their line.
        language: Language of all catalogs; found out from path and header when empty.
        source_language: Language of the msgids.
        languages: Translations to keep; all when not given.
        part: `train` (90 % of the messages), `dev` (the other 10 %), or all when empty; see `_gettext.in_part`.
    """
    path = existing(path)
    catalogs = find(path, path.parent, language)
    return read_catalogs(catalogs, rows, source_language=source_language, languages=languages, part=part)
