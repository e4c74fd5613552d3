"""One file per data format or official layout: a path in, `Record`s out. Used by the corpus and by the tasks.

A format `x` is a module `formats/x.py` with one function

    read(path: Path, rows: RowCounter, *, <options>) -> Iterator[Record]

Its keyword options (plain types with defaults) are what a corpus source may set in YAML. It counts each row it takes
(`rows.good()`), each malformed one (`rows.bad_row`) and each one left out on purpose (`rows.skip`); a file that cannot
be read at all is a `UserError`.
"""

from __future__ import annotations

import inspect
import types
import typing
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlcl.core import plugins
from mlcl.core.errors import UserError
from mlcl.core.files import RowCounter


@dataclass(slots=True)
class Record:
    """One sentence in one or more languages.

    Attributes:
        texts: `(language tag, text)` of every version; one entry is monolingual text, several are translations of
            one another. A language may come twice (alternative translations).
        document: The document that it stands in, unique within its source; empty where the source has none.
        negatives: Texts that are known *not* to be translations of the others (hard negatives).
    """

    texts: list[tuple[str, str]]
    document: str = ""
    negatives: tuple[str, ...] = ()

    def __reduce__(self) -> tuple[Any, ...]:
        # A quarter of the time: by default the state of a dataclass with slots goes field by field, in Python
        return Record, (self.texts, self.document, self.negatives)


def read(name: str, path: Path, rows: RowCounter, **options: Any) -> Iterator[Record]:
    """Read `path` with the format `name`.

    Raises:
        UserError: unknown format, unknown, missing or mistyped option, or unreadable data.
    """
    reader = plugins.load("mlcl.formats", name).read
    parameters = inspect.signature(reader).parameters
    known = {key: value for key, value in parameters.items() if value.kind is value.KEYWORD_ONLY}
    remedy = f"its options: {', '.join(sorted(known))}"
    if unknown := sorted(set(options) - set(known)):
        raise UserError(f"format {name!r} has no option {', '.join(unknown)}", remedy=remedy)
    if missing := [key for key, value in known.items() if value.default is value.empty and key not in options]:
        raise UserError(f"format {name!r} needs the option {', '.join(missing)}", remedy=remedy)
    hints = typing.get_type_hints(reader)
    for key, value in options.items():
        if not _fits(value, hints[key]):
            raise UserError(f"format {name!r}: option {key}={value!r} should be {known[key].annotation}")
    return reader(path, rows, **options)


def _fits(value: Any, hint: Any) -> bool:
    """Whether a plain value has the type of an option: str, int, bool, list[...], dict[...] and unions of them."""
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin in (types.UnionType, typing.Union):
        return any(_fits(value, option) for option in inner)
    if origin is list:
        return isinstance(value, list) and all(_fits(item, inner[0]) for item in value)
    if origin is dict:
        return isinstance(value, dict) and all(_fits(k, inner[0]) and _fits(v, inner[1]) for k, v in value.items())
    return isinstance(value, hint) and (hint is bool or not isinstance(value, bool))
