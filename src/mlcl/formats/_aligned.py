"""Shared by the multi-parallel layouts: one file per language, line n is the same sentence in every file.

In: `{official code: file}`. Out: `Version`s, which keep the official code beside our tag, and `Record`s made of them.
The files are read whole, for layouts of evaluation size; `moses` streams large bitext.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from mlcl.core.errors import AbsentLanguage, UserError
from mlcl.core.files import RowCounter, existing, read_lines
from mlcl.core.languages import canonical
from mlcl.formats import Record


@dataclass(slots=True)
class Version:
    """The sentences of one language, aligned with those of the other versions.

    Attributes:
        code: The language code that the data set itself uses.
        tag: Our canonical tag. Two codes of a data set may share it.
        texts: One text per sentence; None where a line was malformed.
    """

    code: str
    tag: str
    texts: list[str | None]


def select(
    tags: Mapping[str, str], languages: Sequence[str] | None, path: Path, always: Sequence[str] = ()
) -> list[str]:
    """Official codes in reading order: English first, then by code.

    Args:
        tags: `{official code: canonical tag}` of what there is.
        languages: Official codes or tags to keep; None keeps all.
        path: Where it was looked for, for the message.
        always: Tags that are kept although `languages` does not name them.

    Raises:
        UserError: nothing there at all.
        AbsentLanguage: a language asked for is not there.
    """
    order = sorted(tags, key=lambda code: (tags[code] != "en", code))
    if not order:
        raise UserError("no language found in this folder", path=path, remedy="give the folder of the published layout")
    if languages is None:
        return order
    wanted = {code for code in order if tags[code] in always}
    for language in languages:
        found = [language] if language in tags else [code for code in order if tags[code] == canonical(language)]
        if not found:
            raise AbsentLanguage(language, path=path, there=order)
        wanted.update(found)
    return [code for code in order if code in wanted]


def read_aligned(files: Mapping[str, Path], tags: Mapping[str, str], rows: RowCounter | None = None) -> list[Version]:
    """Read line-aligned files whole.

    Args:
        files: `{official code: file}`.
        tags: `{official code: canonical tag}`.
        rows: Counts invalid lines; without it such a line is an error.

    Raises:
        UserError: the files do not have the same number of lines.
    """
    versions = [Version(code, tags[code], [text for _, text in read_lines(file, rows)]) for code, file in files.items()]
    for version in versions[1:]:
        check_same_length(version, versions[0], files[version.code])
    return versions


def check_same_length(version: Version, other: Version, path: Path) -> None:
    """Raise UserError unless two versions have the same number of sentences."""
    if len(version.texts) != len(other.texts):
        raise UserError(
            f"{len(version.texts)} rows, but {other.code} has {len(other.texts)}; row n must be the same sentence",
            path=path,
            remedy="fetch the files again",
        )


def records(versions: Sequence[Version], rows: RowCounter, documents: Sequence[str] | None = None) -> Iterator[Record]:
    """One record per sentence, with all languages that have a text there; blank versions are counted and left out."""
    for index in range(len(versions[0].texts) if versions else 0):
        texts = []
        for version in versions:
            text = version.texts[index]
            if text and not text.isspace():
                texts.append((version.tag, text))
            elif text is not None:  # None was counted as a bad row when it was read
                rows.skip("blank translation")
        if texts:
            rows.good()
            yield Record(texts, document=documents[index] if documents else "")


_LINE_ALIGNED = re.compile(r"(?:(?P<prefix>.+)\.)?(?P<code>[A-Za-z]{2,3}(?:[-_@][A-Za-z0-9]+)*)")
_ENDINGS = ("csv", "log", "tsv", "txt", "xml")  # codes of small languages as well, but not where a file name ends


def load_folder(path: Path, *, languages: Sequence[str] | None = None, always: Sequence[str] = ()) -> list[Version]:
    """All versions of any line-aligned set: `PREFIX.<code>`, `PREFIX.<code>.txt` or `<code>.txt`, plain or `.gz`.

    Args:
        path: The folder, when it holds one set, or `folder/PREFIX`. Files that do not end in a language are passed by.
        languages: Tags or official codes to keep; all when not given.
        always: Tags that are kept although `languages` does not name them.

    Raises:
        UserError: several sets in the folder, no language, files of different lengths, or invalid text.
    """
    folder, wanted = (path, None) if path.is_dir() else (existing(path.parent), path.name)
    sets: dict[str, dict[str, Path]] = {}
    for file in sorted(folder.iterdir()):
        match = _LINE_ALIGNED.fullmatch(file.name.removesuffix(".gz").removesuffix(".txt"))
        if match and file.is_file() and _is_language(match["code"]) and wanted in (None, match["prefix"] or ""):
            sets.setdefault(match["prefix"] or "", {})[match["code"]] = file
    if len(sets) > 1:
        raise UserError(
            "the folder holds several line-aligned sets",
            path=path,
            remedy=f"add one of {', '.join(name or '(none)' for name in sets)} to the path",
        )
    files = next(iter(sets.values()), {})
    tags = {code: canonical(code) for code in files}
    return read_aligned({code: files[code] for code in select(tags, languages, path, always)}, tags)


def _is_language(code: str) -> bool:
    """Whether the ending of a file names a language."""
    try:
        canonical(code)
    except UserError:
        return False
    return code not in _ENDINGS
