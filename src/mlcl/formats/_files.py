"""Finding the files of a source whose names carry the language.

In: a file, or a folder with a pattern such as `mono.{language}.txt`. Out: `(language, file)` in a stable order.
"""

from __future__ import annotations

import glob
import re
from collections.abc import Sequence
from pathlib import Path

from mlcl.core.errors import UserError
from mlcl.core.files import COMPRESSED, COMPRESSED_PATTERN, existing
from mlcl.core.languages import canonical

_PLACE = "{language}"


def by_language(
    path: Path, language: str = "", pattern: str = "", languages: Sequence[str] | None = None
) -> list[tuple[str, str, Path]]:
    """Files with the code in their name and their canonical language.

    Args:
        path: A file (or its name without `.gz`, `.xz`, ...), or a folder.
        language: Language of the texts where no file name tells it.
        pattern: Path below the folder, with `{language}` where the code stands; `.gz`, `.xz`, ... are optional.
        languages: Languages to keep; all when not given.

    Returns:
        `(code, tag, file)`, sorted by code; code and tag are empty where neither argument tells them.

    Raises:
        UserError: nothing found, or a language asked for is not there.
    """
    path = existing(path)
    if not pattern:
        if path.is_dir():
            raise UserError("this is a folder", path=path, remedy="set pattern, such as mono.{language}.txt")
        return [(language, canonical(language) if language else "", path)]
    if _PLACE not in pattern:
        file = existing(path / pattern)
        return [(language, canonical(language) if language else "", file)]
    code = r"([A-Za-z]{2,3}(?:[-_@][A-Za-z0-9]+)*)"
    name = re.compile(re.escape(pattern).replace(re.escape(_PLACE), code, 1) + COMPRESSED_PATTERN)
    anything = glob.escape(pattern).replace(_PLACE, "*")
    found: dict[str, tuple[str, str, Path]] = {}
    for file in sorted(file for suffix in ("", *COMPRESSED) for file in path.glob(anything + suffix)):
        if match := name.fullmatch(file.relative_to(path).as_posix()):
            found.setdefault(match[1], (match[1], canonical(match[1]), file))
    if not found:
        raise UserError(f"no file matches the pattern {pattern!r}", path=path, remedy="check path and pattern")
    if languages is not None:
        wanted = {canonical(one) for one in languages}
        if missing := wanted - {tag for _, tag, _ in found.values()}:
            raise UserError(f"no file for {', '.join(sorted(missing))}", path=path, remedy=f"found: {', '.join(found)}")
        return [entry for entry in found.values() if entry[1] in wanted]
    return list(found.values())
