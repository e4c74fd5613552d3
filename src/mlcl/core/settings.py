"""Settings files: YAML in, plain values out, and every mistake with its file, line and remedy.

YAML 1.2 rules for plain words, not PyYAML's 1.1: only `true` and `false` are booleans (in 1.1 the language list
`[no, sv]` loses Norwegian), `1e-4` is a number, dates and `12:30` stay text.
"""

from __future__ import annotations

import dataclasses
import difflib
import re
import types
import typing
from collections.abc import Iterable, Iterator
from enum import Enum
from pathlib import Path
from typing import Any, NamedTuple, Union

import yaml

from mlcl.core.errors import UserError


class _Loader(yaml.SafeLoader):
    """SafeLoader with YAML 1.2's plain scalars."""

    yaml_implicit_resolvers: typing.ClassVar[dict[str, list[tuple[str, Any]]]] = {}


_PLAIN = {
    "bool": (r"true|True|TRUE|false|False|FALSE", "tTfF"),
    "null": (r"~|null|Null|NULL|", "~nN\0"),
    "int": (r"[-+]?(0|[1-9][0-9]*)|0x[0-9a-fA-F]+", "-+0123456789"),
    "float": (
        r"[-+]?([0-9]*\.[0-9]+|[0-9]+\.)([eE][-+]?[0-9]+)?|[-+]?[0-9]+[eE][-+]?[0-9]+|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
        "-+.0123456789",
    ),
    "merge": (r"<<", "<"),
}  # fmt: skip
for _tag, (_pattern, _first) in _PLAIN.items():
    _firsts = ["" if character == "\0" else character for character in _first]
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(rf"^(?:{_pattern})$"), _firsts)


def load_yaml(text: str) -> Any:
    """The value of a YAML text (also of a single flag's value). Raises yaml.YAMLError."""
    return yaml.load(text, _Loader)


def read_settings(path: str | Path) -> tuple[dict[str, Any], dict[str, int]]:
    """Read a YAML file that holds a mapping.

    Returns:
        The values, and the 1-based line of every key under its dotted name (`training.lr`, `sources.0.path`).

    Raises:
        UserError: missing file, invalid YAML, a key that comes twice, or no mapping at the top.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError("no such settings file", path=path, remedy="check --config")
    try:
        text = path.read_text(encoding="utf-8-sig")
        node = yaml.compose(text, _Loader)
        values = load_yaml(text)
    except UnicodeDecodeError as error:
        raise UserError("invalid UTF-8", path=path, remedy="save the file as UTF-8") from error
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise UserError(
            f"invalid YAML: {error.problem or error.context}", path=path, line=mark.line + 1 if mark else None
        ) from error
    except yaml.YAMLError as error:
        raise UserError(f"invalid YAML: {' '.join(str(error).split())}", path=path) from error
    if not isinstance(values, dict) or node is None:
        raise UserError(
            "the settings must be a mapping of keys to values", path=path, remedy="write `key: value` lines"
        )
    lines: dict[str, int] = {}
    for name, line in _key_lines(node):
        if name in lines:
            raise UserError(f"the key {name!r} comes twice", path=path, line=line, remedy=f"see line {lines[name]}")
        lines[name] = line
    return values, lines


def _key_lines(node: yaml.Node, prefix: str = "") -> Iterator[tuple[str, int]]:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            yield prefix + str(key.value), key.start_mark.line + 1
            yield from _key_lines(value, f"{prefix}{key.value}.")
    elif isinstance(node, yaml.SequenceNode):
        for number, value in enumerate(node.value):
            yield f"{prefix}{number}", value.start_mark.line + 1
            yield from _key_lines(value, f"{prefix}{number}.")


class KeyMistake(NamedTuple):
    """A key that the type has no place for: its dotted name, what is wrong, and the remedy."""

    key: str
    what: str
    remedy: str | None


def find_mistake(values: Any, hint: Any, prefix: str = "") -> KeyMistake | None:
    """The first unknown key of nested settings, or the first single value where keys are expected.

    Args:
        values: Plain values as read from YAML.
        hint: The type that they are meant for; only dataclasses, and lists and dicts of them, are looked into (what
            the leaves hold is checked where they are converted).
        prefix: Dotted name of the place that `values` stands in, with its final dot.
    """
    inner = typing.get_args(hint)
    if dataclass := dataclass_of(hint):
        hints = field_types(dataclass)
        if values is None and inner:
            return None
        if not isinstance(values, dict):
            key = prefix.removesuffix(".")
            return KeyMistake(key, f"{key!r} needs keys of its own, not {values!r}", f"its keys: {', '.join(hints)}")
        for key, value in values.items():
            if key not in hints:
                return KeyMistake(f"{prefix}{key}", f"unknown key {prefix + str(key)!r}", did_you_mean(str(key), hints))
            if mistake := find_mistake(value, hints[key], f"{prefix}{key}."):
                return mistake
        return None
    origin = typing.get_origin(hint)
    if isinstance(values, list) and inner and origin in (list, tuple):
        nested = ((number, value, inner[0]) for number, value in enumerate(values))
    elif isinstance(values, dict) and len(inner) == 2 and origin is dict:
        nested = ((key, value, inner[1]) for key, value in values.items())
    elif origin in (Union, types.UnionType):
        structured = [option for option in inner if dataclass_of(option) or typing.get_args(option)]
        return find_mistake(values, structured[0], prefix) if len(structured) == 1 and values is not None else None
    else:
        return None
    return next((found for key, value, of in nested if (found := find_mistake(value, of, f"{prefix}{key}."))), None)


def dataclass_of(hint: Any) -> type | None:
    """The hint itself if it is a dataclass type, the dataclass `X` of `X | None`, otherwise None."""
    if isinstance(hint, type) and dataclasses.is_dataclass(hint):
        return hint
    if typing.get_origin(hint) in (Union, types.UnionType):
        options = [option for option in typing.get_args(hint) if option is not type(None)]
        return dataclass_of(options[0]) if len(options) == 1 else None
    return None


def field_types(config: type) -> dict[str, Any]:
    """Settings key -> type of a dataclass's fields. A trailing underscore (`in_`) is no part of the key."""
    hints = typing.get_type_hints(config)
    return {field.name.removesuffix("_"): hints[field.name] for field in dataclasses.fields(config) if field.init}


def did_you_mean(word: str, known: Iterable[str]) -> str | None:
    """`did you mean X?` for the closest known word, or the list of them when it is short, or None."""
    known = list(known)
    if close := difflib.get_close_matches(word, known, n=1, cutoff=0.6):
        return f"did you mean {close[0]}?"
    return f"known: {', '.join(known)}" if 0 < len(known) <= 12 else None


def unknown_key(name: str, key: str, known: Iterable[str]) -> str:
    """What is wrong with a key that is not among the known ones; `name` is its full dotted name."""
    hint = did_you_mean(key, known)
    return f"unknown key {name}" + (f" ({hint})" if hint else "")


def fits(value: Any, hint: Any) -> bool:
    """Whether a YAML value can be what the annotation says; annotations richer than that are left to the class."""
    origin = typing.get_origin(hint)
    if origin in (Union, types.UnionType):
        return any(fits(value, option) for option in typing.get_args(hint))
    if origin is typing.Literal:
        return value in typing.get_args(hint)
    if hint is type(None):
        return value is None
    if hint is bool:
        return isinstance(value, bool)
    if hint is int:
        return isinstance(value, int) and not isinstance(value, bool)
    if hint is float:
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    if hint is str or (isinstance(hint, type) and issubclass(hint, Enum)):
        return isinstance(value, str)
    if origin in (dict, list):
        return isinstance(value, origin)
    if hint in (dict, list):
        return isinstance(value, hint)
    return True


def type_name(hint: Any) -> str:
    """An annotation as a user reads it."""
    if typing.get_origin(hint) is typing.Literal:
        return " or ".join(map(str, typing.get_args(hint)))
    return hint.__name__ if isinstance(hint, type) else str(hint).replace("typing.", "")
