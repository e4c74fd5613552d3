"""Shared by the formats whose rows are documents: files of a folder, and a document's sentences.

In: a folder and a pattern; a document's paragraphs, its name and language. Out: files with the language that their path
tells; records of one sentence each, which carry the name of the document.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import cast

from mlcl.core.errors import UserError
from mlcl.core.files import COMPRESSED, COMPRESSED_PATTERN, RowCounter, damage_is_reported, existing, open_binary
from mlcl.core.languages import canonical
from mlcl.formats import Record
from mlcl.text import language_id
from mlcl.text.sentences import split_sentences

MOST_BYTES = 64 << 20
"""Size of a document that is still read; larger ones are counted and left out."""

_CODE = r"([A-Za-z]{2,3}(?:[-_@][A-Za-z0-9]+)*)"
_TELLING = 2000  # characters of a document that tell its language


def document_bytes(file: Path) -> bytes | None:
    """The content of a plain or compressed file; None for one of more than `MOST_BYTES`.

    Raises:
        UserError: a truncated or damaged archive.
    """
    with damage_is_reported(file), open_binary(file) as handle:
        content = handle.read(MOST_BYTES + 1)
    return content if len(content) <= MOST_BYTES else None


def find_files(path: Path, pattern: str, endings: Sequence[str]) -> list[tuple[str, str, Path]]:
    """`(document name, language tag or "", file)` below a path, in the order of their names.

    Args:
        path: A file, or a folder.
        pattern: Glob below the folder, `**` for any depth; `{language}` stands where the code is. All files with one of
            the endings where it is empty.
        endings: Ends of file names, such as `.html`, without the suffix of a compression.

    Raises:
        UserError: nothing found.
    """
    path = existing(path)
    if path.is_file():
        return [(path.name, "", path)]
    if not pattern:
        suffixes = tuple(ending + suffix for ending in endings for suffix in ("", *COMPRESSED))
        files = [file for file in path.rglob("*") if file.name.lower().endswith(suffixes) and file.is_file()]
        found = [(file.relative_to(path).as_posix(), "", file) for file in sorted(files)]
        what = f"no file that ends in {', '.join(endings)}"
    else:
        name = re.compile(_as_regex(pattern) + COMPRESSED_PATTERN)
        found = []
        for file in sorted(path.rglob("*")):
            relative = file.relative_to(path).as_posix()
            if (match := name.fullmatch(relative)) and file.is_file():
                found.append((relative, canonical(match[1]) if match.groups() else "", file))
        what = f"no file matches the pattern {pattern!r}"
    if not found:
        raise UserError(what, path=path, remedy="check path and pattern")
    return found


def _as_regex(pattern: str) -> str:
    """A glob with `**`, `*`, `?` and one `{language}` as a regular expression."""
    parts = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]", "{language}": _CODE}
    return "".join(parts.get(part, re.escape(part)) for part in re.split(r"(\*\*/|\*\*|\*|\?|\{language\})", pattern))


class Documents:
    """Turns documents into records of one sentence each.

    Args:
        rows: Counts sentences, and documents that are left out.
        language: Language of all documents; empty where each tells its own.
        identify: Identifier that says the language of a document that does not tell it.
        languages: Languages to keep; all when None.
    """

    def __init__(self, rows: RowCounter, language: str, identify: str | None, languages: Sequence[str] | None) -> None:
        self.rows, self.identifier = rows, cast("language_id.Identifier | None", identify)
        if self.identifier is not None:
            language_id.identify(["-"], self.identifier)  # is it known and installed?
        self.language = canonical(language) if language else ""
        self.wanted = None if languages is None else {canonical(one) for one in languages}

    def records(self, name: str, said: str, paragraphs: Sequence[str]) -> Iterator[Record]:
        """The sentences of a document; `said` is the language that it claims, in any code, or empty."""
        if not any(map(str.strip, paragraphs)):
            self.rows.skip("document without text")
            return
        tag = self.language or _tag(said) or self._identified(paragraphs)
        if not tag:
            self.rows.skip("document without a known language")
            return
        if self.wanted is not None and tag not in self.wanted:
            self.rows.skip("document in a language not asked for")
            return
        for paragraph in paragraphs:
            for sentence in split_sentences(paragraph, tag):
                self.rows.good()
                yield Record([(tag, sentence)], document=name)

    def _identified(self, paragraphs: Sequence[str]) -> str:
        if self.identifier is None:
            return ""
        text = " ".join(" ".join(paragraphs)[:_TELLING].split())
        return language_id.identify([text], self.identifier)[0].tag or ""


def _tag(said: str) -> str:
    """The tag of a code that a document claims; empty for none, and for words that are no language."""
    try:
        return canonical(said) if said.strip() else ""
    except UserError:
        return ""
