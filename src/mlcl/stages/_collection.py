"""The texts that `mlcl topics` looks at: a file, folder or corpus in; `Document`s with language and translations out.

Translations of one sentence share a group. They come from a corpus, from a field of a JSON Lines file, or from the
published sets for development: NTREX documents 74-92 and SIB-200 dev, which are translations in dozens of languages.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from mlcl.core.errors import UserError
from mlcl.core.files import RowCounter, existing, read_lines
from mlcl.core.languages import canonical
from mlcl.core.text import key_hash

NTREX_DOCUMENTS = "74-92"


@dataclass(frozen=True, slots=True)
class Document:
    """One text.

    Attributes:
        text: The text.
        language: Its canonical tag.
        origin: Where it comes from: `texts`, `corpus`, `ntrex` or `sib200`.
        group: What it shares with its translations, within its origin; empty if it has none.
    """

    text: str
    language: str
    origin: str
    group: str = ""


def read_texts(place: str, language: str, pattern: str) -> Iterator[Document]:
    """Documents of the user's texts, whatever form they have.

    Args:
        place: A corpus folder, a `.jsonl` file with the fields `text`, `language` and perhaps `group`, a text file, or
            a folder of text files.
        language: Language of a text file; of JSON lines without the field.
        pattern: Name of the files of a folder, such as `mono.{language}.txt`.

    Raises:
        UserError: missing or malformed files, or texts whose language nothing tells.
    """
    path = existing(place)
    if path.is_dir() and (path / "manifest.json").is_file():
        yield from _corpus(path)
    elif path.name.removesuffix(".gz").endswith((".jsonl", ".ndjson")):
        yield from _json_lines(path, language)
    else:
        from mlcl.formats import text

        rows = RowCounter()
        for record in text.read(path, rows, language=language, pattern=pattern):
            for tag, line in record.texts:
                yield Document(line, tag, "texts")
        rows.check()


def _json_lines(path: Path, default: str) -> Iterator[Document]:
    for number, line in read_lines(path):
        if not line or not line.strip():
            continue
        try:
            row = json.loads(line)
            text, language, group = row["text"], row.get("language", default), row.get("group")
        except (ValueError, TypeError, AttributeError, KeyError) as error:
            raise UserError("not a JSON object with the field text", path=path, line=number) from error
        if not isinstance(text, str) or not isinstance(language, str) or not language:
            raise UserError(
                "text or language is missing or no string", path=path, line=number, remedy="add it, or give --language"
            )
        if text.strip():
            yield Document(text, canonical(language), "texts", "" if group is None else str(group))


def _corpus(path: Path) -> Iterator[Document]:
    from mlcl.corpus.store import Corpus

    corpus = Corpus.open(path)
    sides = {"pairs": [("source_lang", "source"), ("target_lang", "target")], "mono": [("lang", "text")]}
    for kind, columns in sides.items():
        for batch in corpus.pair_batches() if kind == "pairs" else corpus.mono_batches():
            groups = batch.column("group").to_pylist()
            for language, text in columns:
                values = zip(batch.column(language).to_pylist(), batch.column(text).to_pylist(), groups, strict=True)
                for tag, line, group in values:
                    yield Document(line, tag, "corpus", "" if group < 0 else str(group))


def read_published(root: str, languages: list[str] | None) -> Iterator[Document]:
    """The sentences of NTREX for development and of SIB-200 dev, as far as they are under `root`.

    Args:
        root: Folder of published data sets.
        languages: Canonical tags to keep; all when None.

    Raises:
        UserError: neither set is there.
    """
    from mlcl.formats import ntrex, sib200

    path = existing(root)
    sets = {}
    if (path / "ntrex").is_dir():
        sets["ntrex"] = ntrex.load(path / "ntrex", documents=NTREX_DOCUMENTS)[0]
    if (path / "sib200").is_dir():
        sets["sib200"] = sib200.load(path / "sib200", split="dev")
    if not sets:
        raise UserError("neither ntrex nor sib200 is here", path=path, remedy="check --data")
    for origin, versions in sets.items():
        for version in versions:
            for number, text in enumerate(version.texts):
                if text and text.strip() and (languages is None or version.tag in languages):
                    yield Document(text, version.tag, origin, str(number))


def chosen(documents: Iterable[Document], languages: list[str] | None, per_language: int) -> list[Document]:
    """Distinct documents of some languages, at most so many of each, in the order of their languages.

    Which ones stay depends on a hash of their group, or of their text where they have none, so translations stay
    together.

    Args:
        documents: All documents.
        languages: Canonical tags to keep; all when None.
        per_language: Most texts of a language; 0 keeps all.

    Raises:
        UserError: a language asked for is not there, or fewer than two texts are.
    """
    by_language: dict[str, dict[str, Document]] = {}
    for document in documents:
        if languages is None or document.language in languages:
            kept = by_language.setdefault(document.language, {})
            if document.text not in kept or not kept[document.text].group:
                kept[document.text] = document
    if missing := sorted(set(languages or ()) - set(by_language)):
        raise UserError(
            f"there is no text in {', '.join(missing)}", remedy=f"there are: {', '.join(sorted(by_language))}"
        )
    result = []
    for _, found in sorted(by_language.items()):
        order = sorted(found.values(), key=lambda one: key_hash(f"{one.origin}\n{one.group or one.text}"))
        result += order[: per_language or None]
    if len(result) < 2:
        raise UserError("there are fewer than two texts")
    return result
