"""Every gettext catalog inside installed Python packages: real translations in about a hundred languages, offline.

In: names of importable packages. Out: one record per message, English first, with every language that translates it.
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

from mlcl.core.errors import UserError
from mlcl.core.files import RowCounter
from mlcl.formats import Record
from mlcl.formats._gettext import read_catalogs
from mlcl.formats._gettext_find import Catalog, find


def read(
    path: Path,
    rows: RowCounter,
    *,
    packages: list[str],
    source_language: str = "en",
    languages: list[str] | None = None,
    part: str = "",
) -> Iterator[Record]:
    """Read the catalogs of packages.

    Args:
        path: Not used: a package is found by its name.
        rows: Counts translations; malformed entries with their line.
        packages: Import names, such as `django`.
        source_language: Language of the msgids.
        languages: Translations to keep; all when not given.
        part: `train` (90 % of the messages), `dev` (the other 10 %), or all when empty; see `_gettext.in_part`.
    """
    catalogs = [catalog for package in packages for catalog in _catalogs(package)]
    return read_catalogs(catalogs, rows, source_language=source_language, languages=languages, part=part)


def _catalogs(package: str) -> list[Catalog]:
    try:
        spec = find_spec(package)
    except (ImportError, ValueError):
        spec = None
    if spec is None or not spec.submodule_search_locations:
        raise UserError(f"the Python package {package!r} is not installed", remedy="pip install it, or leave it out")
    folders = [Path(folder) for folder in spec.submodule_search_locations]
    return [catalog for folder in folders for catalog in find(folder, folder.parent)]
