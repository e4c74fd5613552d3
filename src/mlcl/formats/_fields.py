"""Rows with named fields to records: shared by `tsv`, `jsonl`, `parquet` and `dataset`.

In: one row (a mapping of field names to values) and the names that the user gave. Out: its records. A dot in a name
goes one level deeper (`translation.de`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mlcl.core.errors import UserError
from mlcl.core.languages import canonical
from mlcl.formats import Record


class BadRow(ValueError):
    """A row that does not have the fields asked for; the text is the reason."""


@dataclass(frozen=True, slots=True)
class Fields:
    """Which fields of a row hold what; three shapes of rows.

    - Parallel: `texts={"en": "english", "de": "german"}` gives one record of translations. A list of fields under one
      language is several versions in that language, so anchor and positive are `texts={"en": ["anchor", "positive"]}`.
    - Alone: `fields=["sentence1", "sentence2"]` gives one monolingual record per field, in `language` or in the
      language that the field `language_field` names.
    - Neither: a row with `anchor` and `positive` (and perhaps `negative`, a text or a list) is read as such, else the
      field `text` alone.

    Attributes:
        texts: Language to field or fields.
        fields: Fields that stand alone.
        language: Language of the fields that stand alone, and of anchor and positive.
        language_field: Field that names the language of the row.
        negatives: Fields with hard negatives, each a text or a list of texts.
        document_field: Field with the name of the document.
    """

    texts: Mapping[str, str | list[str]] | None = None
    fields: Sequence[str] | None = None
    language: str = ""
    language_field: str = ""
    negatives: Sequence[str] = ()
    document_field: str = ""

    def __post_init__(self) -> None:
        if self.texts and self.fields:
            raise UserError("texts and fields are both set", remedy="texts for translations, fields for single texts")
        if not self.texts and not self.language and not self.language_field:
            raise UserError("the language of the texts is not given", remedy="set language, language_field or texts")
        for language in self.texts or ():
            canonical(language)

    def columns(self) -> list[str] | None:
        """Top-level names of the fields used; None when that depends on the row."""
        if not self.texts and not self.fields:
            return None
        used: list[str] = list(self.fields or ())
        for names in (self.texts or {}).values():
            used += [names] if isinstance(names, str) else names
        used += [*self.negatives, self.document_field, self.language_field]
        return list(dict.fromkeys(name.partition(".")[0] for name in used if name))

    def records(self, row: Mapping[str, Any]) -> Iterator[Record]:
        """The records of one row; blank texts are left out.

        Raises:
            BadRow: a field is missing or no text, or the row's language is unknown.
        """
        document = str(_get(row, self.document_field)) if self.document_field else ""
        negatives = tuple(text for name in self.negatives for text in _texts(_get(row, name), name))
        if self.texts:
            yield Record([version for lang, names in self.texts.items() for version in _versions(row, lang, names)],
                         document, negatives)  # fmt: skip
            return
        language = self.language
        if self.language_field:
            try:
                language = canonical(str(_get(row, self.language_field)))
            except UserError as error:
                raise BadRow(error.what) from error
        if not self.fields and "anchor" in row and "positive" in row:
            if row.get("negative") is not None and not self.negatives:
                negatives = tuple(_texts(row["negative"], "negative"))
            yield Record(_versions(row, language, ["anchor", "positive"]), document, negatives)
            return
        for name in self.fields or ("text",):
            if versions := _versions(row, language, name):
                yield Record(versions, document, negatives)


def _versions(row: Mapping[str, Any], language: str, names: str | list[str]) -> list[tuple[str, str]]:
    tag = canonical(language)
    return [
        (tag, text)
        for name in ([names] if isinstance(names, str) else names)
        for text in _texts(_get(row, name), name)
        if text and not text.isspace()
    ]


def _get(row: Mapping[str, Any], name: str) -> Any:
    value: Any = row
    for key in [name] if name in row else name.split("."):
        if not isinstance(value, Mapping) or key not in value:
            raise BadRow(f"no field {name!r}")
        value = value[key]
    return value


def _texts(value: Any, name: str) -> list[str]:
    if value is None:
        return []
    values = value if isinstance(value, list) else [value]
    if not all(isinstance(text, str) for text in values):
        raise BadRow(f"field {name!r} is not a text")
    return values
