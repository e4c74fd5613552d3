"""XQuAD (Artetxe et al. 2020): paragraphs and questions of SQuAD, professionally translated.

In: the folder with `xquad.<lang>.json[.gz]` (SQuAD 1.1 JSON, the same ids in all languages). Out: one record per
paragraph and one per question, English first.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from mlcl.core.errors import UserError
from mlcl.core.files import RowCounter, read_bytes
from mlcl.formats import Record
from mlcl.formats._files import by_language


def read(path: Path, rows: RowCounter, *, languages: list[str] | None = None) -> Iterator[Record]:
    """Read XQuAD as parallel text.

    Args:
        path: The folder.
        rows: Counts paragraphs and questions.
        languages: Languages to keep; all when not given.
    """
    joined: dict[str, Record] = {}
    files = by_language(path, pattern="xquad.{language}.json", languages=languages)
    for _, tag, file in sorted(files, key=lambda entry: (entry[1] != "en", entry[1])):
        for key, text in _texts(file):
            joined.setdefault(key, Record([])).texts.append((tag, text))
    for record in joined.values():
        rows.good()
        yield record


def _texts(file: Path) -> Iterator[tuple[str, str]]:
    """`(key, text)` of every paragraph and question; the key is the same in all languages."""
    try:
        for article in json.loads(read_bytes(file))["data"]:
            for paragraph in article["paragraphs"]:
                yield "paragraph of " + paragraph["qas"][0]["id"], paragraph["context"]
                for question in paragraph["qas"]:
                    yield question["id"], question["question"]
    except (ValueError, KeyError, IndexError, TypeError) as error:
        raise UserError(f"not SQuAD 1.1 JSON: {error!r}", path=file, remedy="fetch the file again") from error
