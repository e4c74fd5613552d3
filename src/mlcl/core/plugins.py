"""Parts are found by file name: `formats/x.py` is the format `x`. Files that start with `_` are not parts."""

from __future__ import annotations

import importlib
import pkgutil
from types import ModuleType

from mlcl.core.errors import UserError


def names(package: str) -> list[str]:
    """Sorted names of the parts in a package such as `mlcl.formats`."""
    path = importlib.import_module(package).__path__
    return sorted(part.name for part in pkgutil.iter_modules(path) if not part.name.startswith("_"))


def load(package: str, name: str) -> ModuleType:
    """Import the part `name` of a package.

    Raises:
        UserError: no such part; the message lists those that exist.
    """
    known = names(package)
    if name not in known:
        kind = package.rpartition(".")[2].removesuffix("s")
        raise UserError(f"unknown {kind} {name!r}", remedy=f"known: {', '.join(known)}")
    return importlib.import_module(f"{package}.{name}")
