"""Languages asked for of several data sets, of which each has some.

`--languages ar sw` over all tasks means: measure them wherever they are. Only a language that is nowhere is a mistake.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

from mlcl.core.errors import AbsentLanguage

T = TypeVar("T")


def where_present(
    load: Callable[[str, list[str] | None], T], names: Iterable[str], languages: Sequence[str] | None
) -> dict[str, tuple[list[str] | None, T]]:
    """Load each data set in those of the languages that it has.

    Args:
        load: Name and languages (None = all) -> the data; raises `AbsentLanguage`.
        names: The data sets.
        languages: What is asked for; None = everything.

    Returns:
        Name -> the languages asked for that it has, and the data. A data set that has none of them is left out.

    Raises:
        AbsentLanguage: no data set has one of the languages.
    """
    if languages is None:
        return {name: (None, load(name, None)) for name in names}
    found: dict[str, tuple[list[str] | None, T]] = {}
    missing: dict[str, AbsentLanguage] = {}
    present: set[str] = set()
    for name in names:
        wanted = list(languages)
        while wanted:
            try:
                found[name] = wanted, load(name, wanted)
                break
            except AbsentLanguage as error:
                missing.setdefault(error.language, error)
                wanted = [language for language in wanted if language != error.language]
        present.update(wanted)
    if nowhere := [missing[language] for language in languages if language not in present]:
        raise nowhere[0]
    return found
