"""User mistakes: one clear line that says where, what and how to cure it."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path


class UserError(Exception):
    """A mistake in what the user gave us. The command line prints it as one line and exits with status 2.

    Args:
        what: What is wrong, in one sentence without a full stop.
        path: The file or folder that it is about.
        line: 1-based line number in that file.
        remedy: What the user can do about it.
    """

    def __init__(
        self, what: str, *, path: str | Path | None = None, line: int | None = None, remedy: str | None = None
    ) -> None:
        place = "" if path is None else str(path) if line is None else f"{path}:{line}"
        super().__init__((f"{place}: " if place else "") + what + (f" ({remedy})" if remedy else ""))
        self.what, self.path, self.line, self.remedy = what, path, line, remedy


class AbsentLanguage(UserError):
    """A language is asked for that a data set does not have.

    Args:
        language: As it was asked for.
        path: The data set.
        there: What it has.
    """

    def __init__(self, language: str, *, path: str | Path, there: Iterable[str]) -> None:
        super().__init__(f"language {language!r} is not here", path=path, remedy=f"there are: {', '.join(there)}")
        self.language = language


def require(module: str, extra: str) -> None:
    """Check that an optional dependency is importable.

    Raises:
        UserError: with the pip command that installs it.
    """
    from importlib.util import find_spec

    if find_spec(module) is None:
        raise UserError(f"this needs the package {module!r}", remedy=f"pip install 'mlcl[{extra}]'")
