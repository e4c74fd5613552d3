"""What a result depends on, as one short name. In: plain values, dataclasses, arrays. Out: a hexadecimal digest.

Equal values have equal digests in every run: sets are sorted, and nothing depends on where an object lies in memory.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Set
from dataclasses import fields, is_dataclass
from functools import cache
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np


def digest(*values: Any) -> str:
    """Digest (32 hexadecimal digits) of values: numbers, texts, paths, arrays, and whatever holds them.

    Raises:
        TypeError: something else, which might look different in every run.
    """
    state = blake2b(digest_size=16)
    _feed(state, values)
    return state.hexdigest()


@cache
def code_digest(*packages: str) -> str:
    """Digest of the source files of packages (`mlcl.tasks`): a result of other code is another result."""
    files = [
        file
        for package in packages
        for folder in importlib.import_module(package).__path__
        for file in sorted(Path(folder).rglob("*.py"))
    ]
    return digest([file.read_bytes() for file in files])


def _feed(state: blake2b, value: Any) -> None:
    """Add a value: its kind, its length where it has one, and its content, so that no two values read alike."""
    if isinstance(value, str):
        content = value.encode("utf-8", "surrogatepass")
        state.update(b"s%d:" % len(content) + content)
    elif isinstance(value, (bytes, int, float, np.generic, type(None))):
        state.update(f"{type(value).__name__}:{value!r};".encode())
    elif isinstance(value, Path):
        _feed(state, str(value))
    elif isinstance(value, np.ndarray):
        state.update(f"array:{value.dtype}:{value.shape};".encode() + np.ascontiguousarray(value).tobytes())
    elif is_dataclass(value) and not isinstance(value, type):
        _feed(state, [type(value).__qualname__, *(getattr(value, field.name) for field in fields(value))])
    elif isinstance(value, Mapping):
        _feed(state, [part for item in value.items() for part in item])
    elif isinstance(value, Set):
        _feed(state, sorted(digest(item) for item in value))
    elif isinstance(value, (list, tuple)):
        state.update(b"[%d:" % len(value))
        for item in value:
            _feed(state, item)
    elif callable(value):
        _feed(state, f"{value.__module__}.{value.__qualname__}")
    elif hasattr(value, "__dict__"):
        _feed(state, [type(value).__qualname__, vars(value)])
    else:
        raise TypeError(f"no digest of {type(value).__name__}")
