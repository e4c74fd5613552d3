"""XQuAD (Artetxe et al. 2020): paragraphs and questions of SQuAD, professionally translated.

In: the folder with `xquad.<lang>.json[.gz]` (SQuAD 1.1 JSON, the same ids in all languages). Out: `read` gives one
record per paragraph and one per question, English first; `load` questions with the paragraph that answers them;
`labelled` pairs of both.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from mlcl.core.errors import UserError
from mlcl.core.files import RowCounter, existing, read_bytes
from mlcl.core.languages import canonical
from mlcl.formats import Record
from mlcl.formats._aligned import select
from mlcl.formats._files import by_language
from mlcl.formats._labelled import Files, LabelledRow

_PATTERN = "xquad.{language}.json"


@dataclass(frozen=True)
class Reading:
    """Paragraphs and questions of one language.

    Attributes:
        code: The data set's own code.
        tag: Our canonical tag.
        paragraphs: Key -> paragraph; the key is the id of its first question, the same in all languages.
        questions: Id -> (question, key of the paragraph that answers it).
        articles: Key of a paragraph -> number of its article, the same in all languages.
    """

    code: str
    tag: str
    paragraphs: dict[str, str]
    questions: dict[str, tuple[str, str]]
    articles: dict[str, int]


def read(path: Path, rows: RowCounter, *, languages: list[str] | None = None) -> Iterator[Record]:
    """Read XQuAD as parallel text.

    Args:
        path: The folder.
        rows: Counts paragraphs and questions.
        languages: Languages to keep; all when not given.
    """
    joined: dict[str, Record] = {}
    files = by_language(path, pattern=_PATTERN, languages=languages)
    for code, tag, file in sorted(files, key=lambda entry: (entry[1] != "en", entry[1])):
        reading = _parse(file, code, tag)
        for key, text in reading.paragraphs.items():
            joined.setdefault(f"paragraph of {key}", Record([])).texts.append((tag, text))
        for key, (text, _) in reading.questions.items():
            joined.setdefault(key, Record([])).texts.append((tag, text))
    for record in joined.values():
        rows.good()
        yield record


def load(path: Path, *, languages: Sequence[str] | None = None) -> list[Reading]:
    """Every language, English first.

    Args:
        path: The folder.
        languages: Tags or official codes to keep; all when not given.

    Raises:
        UserError: missing or malformed files, or languages whose paragraphs or questions are not the same.
    """
    path = existing(path)
    files = {code: (tag, file) for code, tag, file in by_language(path, pattern=_PATTERN)}
    codes = select({code: tag for code, (tag, _) in files.items()}, languages, path)
    readings = [_parse(files[code][1], code, files[code][0]) for code in codes]
    for reading in readings[1:]:
        if _ids(reading) != _ids(readings[0]):
            raise UserError(
                f"its paragraphs or questions are not those of {readings[0].code}",
                path=files[reading.code][1],
                remedy="fetch the files again",
            )
    return readings


def files(path: Path) -> Files:
    """`{official code: {"dev": file}}`; what SQuAD calls its dev set is all that XQuAD translates."""
    return {code: {"dev": file} for code, _, file in by_language(existing(path), pattern=_PATTERN)}


def labelled(file: Path, code: str, rows: RowCounter) -> Iterator[LabelledRow]:
    """Question, key of the paragraph that answers it, that paragraph, its article, the id of the question."""
    reading = _parse(file, code, canonical(code))
    for item, (question, key) in reading.questions.items():
        if question.strip() and reading.paragraphs[key].strip():
            yield LabelledRow(question, key, reading.paragraphs[key], str(reading.articles[key]), item)
        else:
            rows.skip("empty text")


def _ids(reading: Reading) -> tuple[list[str], dict[str, str]]:
    return list(reading.paragraphs), {key: paragraph for key, (_, paragraph) in reading.questions.items()}


def _parse(file: Path, code: str, tag: str) -> Reading:
    reading = Reading(code, tag, {}, {}, {})
    try:
        for number, article in enumerate(json.loads(read_bytes(file))["data"]):
            for paragraph in article["paragraphs"]:
                key = paragraph["qas"][0]["id"]
                reading.paragraphs[key] = paragraph["context"]
                reading.articles[key] = number
                reading.questions.update({qa["id"]: (qa["question"], key) for qa in paragraph["qas"]})
    except (ValueError, KeyError, IndexError, TypeError) as error:
        raise UserError(f"not SQuAD 1.1 JSON: {error!r}", path=file, remedy="fetch the file again") from error
    if not reading.questions:
        raise UserError("it holds no question", path=file, remedy="fetch the file again")
    return reading
