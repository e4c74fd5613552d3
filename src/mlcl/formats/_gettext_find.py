"""Finding gettext catalogs and telling their language and document.

In: a folder in any of the usual layouts. Out: its `Catalog`s, each with a language, and with a document
that is the same for all languages of one catalog.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import polib

from mlcl.core.errors import UserError
from mlcl.core.files import read_bytes
from mlcl.core.languages import base, canonical

_SUFFIXES = (".po", ".po.gz", ".mo")  # best first: a .mo file knows neither fuzzy entries nor line numbers


@dataclass(frozen=True, slots=True)
class Catalog:
    """One catalog file.

    Attributes:
        path: The file.
        language: Canonical tag of its translations.
        document: Its path with the language taken out; the same for all languages of one catalog.
    """

    path: Path
    language: str
    document: str


def find(folder: Path, root: Path, language: str = "") -> list[Catalog]:
    """All catalogs under a folder (or the one file), each once, in a stable order.

    Args:
        folder: Folder or file.
        root: Documents are named by the path below it.
        language: Language of all of them; found out from the path or the header when empty.

    Raises:
        UserError: nothing found, or a catalog whose language cannot be told.
    """
    files = [folder] if folder.is_file() else [path for path in folder.rglob("*") if path.name.endswith(_SUFFIXES)]
    best: dict[str, Path] = {}
    for path in sorted(files):
        stem = _stem(path)
        if stem not in best or _rank(path) < _rank(best[stem]):
            best[stem] = path
    if not best:
        raise UserError("no gettext catalog (.po, .po.gz or .mo) in this folder", path=folder)
    return _name([path for _, path in sorted(best.items())], root, language)


def _name(paths: Sequence[Path], root: Path, language: str) -> list[Catalog]:
    """Tell language and document of each catalog.

    The folder decides before the header, which is often left over from the catalog that was copied: `de/LC_MESSAGES`
    always, and a path part such as `docs-pt-br` when most headers below it agree.
    """
    catalogs: list[Catalog] = []
    open_cases: list[tuple[Path, tuple[str, ...], str | None]] = []
    for path in paths:
        folder = path.parent.relative_to(root).parts if path.parent.is_relative_to(root) else ()
        parts = (*folder, _stem(Path(path.name)))
        if "LC_MESSAGES" in parts[1:]:
            place = parts.index("LC_MESSAGES")
            code = language or parts[place - 1]
            catalogs.append(Catalog(path, canonical(code), "/".join(parts[: place - 1] + parts[place + 1 :])))
        elif language:
            catalogs.append(Catalog(path, canonical(language), "/".join(parts)))
        else:
            open_cases.append((path, parts, _header_language(path)))

    votes: dict[tuple[int, str, str], list[int]] = {}  # (place, part, code) -> headers that [disagree, agree]
    for _, parts, declared in open_cases:
        for place, part in enumerate(parts):
            for _, code in _language_suffixes(part):
                vote = votes.setdefault((place, part, code), [0, 0])
                if declared is not None:
                    vote[base(code) == base(declared)] += 1
    for path, parts, declared in open_cases:
        for place, part in enumerate(parts):
            agreed = [(head, code) for head, code in _language_suffixes(part) if _wins(code, votes[place, part, code])]
            if agreed:
                head, code = agreed[0]
                document = "/".join(p for p in (*parts[:place], head, *parts[place + 1 :]) if p)
                catalogs.append(Catalog(path, code, document))
                break
        else:
            if declared is None:
                raise UserError("cannot tell the catalog's language", path=path, remedy="set the option language")
            catalogs.append(Catalog(path, declared, "/".join(parts)))
    return catalogs


def load_mo(path: Path) -> polib.MOFile:
    """Parse a compiled catalog.

    Raises:
        UserError: it is none.
    """
    try:
        return polib.mofile(str(path))
    except (OSError, struct.error, UnicodeDecodeError, LookupError, ValueError) as error:
        raise UserError(f"not a valid .mo file: {error}", path=path, remedy="compile it again with msgfmt") from error


def _wins(code: str, vote: list[int]) -> bool:
    """Whether a path part is a language: most headers agree, or there is none and the code has two letters.

    Many short words are codes of three letters (`app`, `api`, `doc`).
    """
    disagree, agree = vote
    return agree >= disagree and (agree > 0 or len(code.partition("-")[0]) == 2)


def _header_language(path: Path) -> str | None:
    """The tag in a catalog's `Language:` header, None where it has none or no valid one."""
    if path.suffix == ".mo":
        code = load_mo(path).metadata.get("Language", "")
    else:
        match = re.search(rb'"Language:\s*([^"\\]*)', read_bytes(path)[:16384])
        code = match[1].decode("utf-8", "replace") if match else ""
    return _tag(code.strip())


def _language_suffixes(part: str) -> Iterator[tuple[str, str]]:
    """Readings of a path part as `head-LANGUAGE`: `docs-pt-br` -> (`docs`, `pt-BR`), longest code first."""
    for match in re.finditer(r"(?:^|(?<=[-_.]))(?=[A-Za-z]{2,3}(?:[-_@][A-Za-z]{2,10})*$)", part):
        if tag := _tag(part[match.start() :]):
            yield part[: match.start()].rstrip("-_."), tag


def _tag(code: str) -> str | None:
    try:
        return canonical(code) if code else None
    except UserError:
        return None


def _stem(path: Path) -> str:
    return str(path).removesuffix(".gz").removesuffix(".po").removesuffix(".mo")


def _rank(path: Path) -> int:
    return next(rank for rank, suffix in enumerate(_SUFFIXES) if path.name.endswith(suffix))
