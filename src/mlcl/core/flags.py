"""A dataclass becomes a command line: flags, YAML keys and help from one definition.

In: a `Config` dataclass and the words of the command line. Out: an instance of it, or `UserError`.
jsonargparse does the parsing and the types; here is what it leaves open: flags with dashes, bare `--resume`, lists with
commas or spaces or a flag for each item (`--model A B`, `--tasks a,b`, `--model A --model B`), keys at any depth of
free-form settings (defaults < file < flags), and messages that name file, line and remedy.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import re
import typing
from collections.abc import Iterator
from functools import reduce
from typing import Any

import docstring_parser
import jsonargparse
import yaml

from mlcl.core.errors import UserError
from mlcl.core.settings import dataclass_of, did_you_mean, field_types, find_mistake, load_yaml, read_settings


class _Parser(jsonargparse.ArgumentParser):
    """Shows flags with dashes; the keys of YAML keep the underscores of the fields."""

    def format_help(self, formatter: argparse.HelpFormatter | None = None) -> str:
        return re.sub(r"--\w[\w.]*", lambda flag: flag[0].replace("_", "-"), super().format_help(formatter))


def parse(config: type, argv: list[str], name: str, description: str) -> Any:
    """An instance of the dataclass `config` from the command line.

    A field is the flag of its name (`in_` is `--in`), its docstring the help. Metadata `{"positional": True}` makes it
    a positional argument.

    Args:
        config: The dataclass.
        argv: The words after the verb.
        name: The command as it is typed, for usage and messages (`mlcl corpus build`).
        description: What the verb does, shown above its options.

    Raises:
        UserError: unknown or missing options, wrong types, unreadable settings.
        SystemExit: `--help` and `--print-config`, which print and exit with status 0.
    """
    parser = _make_parser(config, name, description)
    lines = _check_files(config, argv)
    types = dict(_flag_types(config))
    words, inner = _normalise(argv, types)
    defaults = parser.get_defaults()
    try:
        namespace = parser.parse_args(words)
        for key, hint in types.items():
            if _is_free(hint):
                given = [of for of in (defaults.get(key), namespace.get(key), inner.get(key)) if of is not None]
                namespace[key] = reduce(_merged, given, None)
        values = parser.instantiate(namespace)
    except argparse.ArgumentError as error:
        raise _explained(error, config, lines, name) from error
    fields = [field.name for field in dataclasses.fields(config) if field.init]
    return config(**{field: values[field.removesuffix("_")] for field in fields})


def from_values(config: type, values: dict[str, Any], place: str) -> Any:
    """An instance of the dataclass `config` from plain values, as they stand in YAML.

    Args:
        config: The dataclass.
        values: Its settings.
        place: Where they come from, for the messages.

    Raises:
        UserError: unknown keys, missing or wrong values.
    """
    if mistake := find_mistake(values, config):
        raise UserError(f"{place}: {mistake.what}", remedy=mistake.remedy)
    parser = _make_parser(config, place, "")
    try:
        made = parser.instantiate(parser.parse_object(values))
    except argparse.ArgumentError as error:
        raise UserError(f"{place}: {_explained(error, config, {}, place)}") from error
    fields = [field.name for field in dataclasses.fields(config) if field.init]
    return config(**{field: made[field.removesuffix("_")] for field in fields})


def _make_parser(config: type, name: str, description: str) -> _Parser:
    jsonargparse.set_loader("yaml", load_yaml, (yaml.YAMLError,))
    jsonargparse.set_parsing_settings(docstring_parse_attribute_docstrings=True)
    parser = _Parser(prog=name, description=description, exit_on_error=False, allow_abbrev=False)
    parser.add_argument("--config", action="config", help="YAML file of options; flags after it override its keys.")
    documented = docstring_parser.parse_from_object(config)
    help_of = {parameter.arg_name: parameter.description or "" for parameter in documented.params}
    hints = typing.get_type_hints(config)
    for field in dataclasses.fields(config):
        if not field.init:
            continue
        options: dict[str, Any] = {"type": hints[field.name], "help": " ".join(help_of.get(field.name, "").split())}
        if field.default is not dataclasses.MISSING:
            options["default"] = field.default
        elif field.default_factory is not dataclasses.MISSING:
            options["default"] = field.default_factory()
        key = field.name.removesuffix("_")
        positional = bool(field.metadata.get("positional"))
        if positional and _is_list(hints[field.name]):
            options |= {"nargs": "+", "type": typing.get_args(hints[field.name])[0]}
        elif positional and "default" in options:
            options["nargs"] = "?"
        elif not positional and "default" not in options:
            options["required"] = True
        parser.add_argument(key if positional else f"--{key}", **options)
    return parser


def _check_files(config: type, argv: list[str]) -> dict[str, tuple[str, int]]:
    """Check the keys of every `--config` file; return key -> (file, line) for later messages."""
    lines: dict[str, tuple[str, int]] = {}
    for position, word in enumerate(argv):
        if word == "--config" and position + 1 < len(argv):
            path = argv[position + 1]
        elif word.startswith("--config="):
            path = word.partition("=")[2]
        else:
            continue
        values, places = read_settings(path)
        if mistake := find_mistake(values, config):
            raise UserError(mistake.what, path=path, line=places.get(mistake.key), remedy=mistake.remedy)
        lines.update({key: (path, line) for key, line in places.items()})
    return lines


def _flag_types(config: type, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted flag name -> type, through nested dataclasses."""
    for key, hint in field_types(config).items():
        yield prefix + key, hint
        if nested := dataclass_of(hint):
            yield from _flag_types(nested, f"{prefix}{key}.")


def _normalise(argv: list[str], flag_types: dict[str, Any]) -> tuple[list[str], dict[str, dict[str, Any]]]:
    """Rewrite what people type into what jsonargparse takes: underscores, `--flag true`, `--list [a,b]`.

    Returns:
        The words, and the keys given inside free-form settings (`--model.backbone.hidden-size 128` where `model` is a
        dict), which jsonargparse would leave as text and merge one level deep only.
    """
    words: list[str] = []
    inner: dict[str, dict[str, Any]] = {}
    lists: dict[str, list[str]] = {}
    rest = list(argv)
    while rest:
        word = rest.pop(0)
        if word == "--":
            return [*words, word, *rest], inner
        if not word.startswith("--"):
            words.append(word)
            continue
        flag, equals, value = word.partition("=")
        key = flag[2:].replace("-", "_")
        hint = flag_types.get(key)
        free = next((name for name, of in flag_types.items() if _is_free(of) and key.startswith(name + ".")), None)
        if free:
            text = value if equals else rest.pop(0) if rest and not rest[0].startswith("--") else "true"
            _set_inner(inner.setdefault(free, {}), key[len(free) + 1 :], text)
        elif hint is bool and not equals and (not rest or rest[0] not in ("true", "false")):
            words += [f"--{key}", "true"]
        elif _is_list(hint):
            given = [value] if equals else []
            while rest and not equals and not rest[0].startswith("--"):
                given.append(rest.pop(0))
            # A flag that is repeated adds to its list; for jsonargparse the last one, now whole, counts.
            lists[key] = [json.dumps(_items(lists[key]) + _items(given))] if key in lists else given
            words += [f"--{key}", *_list_value(lists[key])]
        else:
            words.append(f"--{key}{equals}{value}")
    return words, inner


def _is_free(hint: Any) -> bool:
    """Whether a setting is a dict of whatever keys."""
    return hint is dict or (typing.get_origin(hint) is dict and typing.get_args(hint)[1] is Any)


def _is_list(hint: Any) -> bool:
    """Whether a setting is a list, or a list or nothing."""
    return typing.get_origin(hint) is list or any(typing.get_origin(of) is list for of in typing.get_args(hint))


def _set_inner(values: dict[str, Any], key: str, text: str) -> None:
    *parents, last = key.split(".")
    for parent in parents:
        values = values.setdefault(parent, {})
    try:
        values[last] = load_yaml(text)
    except yaml.YAMLError as error:
        raise UserError(f"--{key.replace('_', '-')}: {text!r} is no valid YAML value", remedy="quote it") from error


def _merged(under: Any, over: Any) -> Any:
    """Nested dicts with the keys of `over` laid over those of `under`; a null is a value like any other."""
    if not isinstance(under, dict) or not isinstance(over, dict):
        return over
    return {**under, **{key: _merged(under.get(key), value) for key, value in over.items()}}


def _list_value(given: list[str]) -> list[str]:
    if not given or given[0].startswith("["):
        return given
    return [json.dumps(_items(given))]


def _items(given: list[str]) -> list[Any]:
    """The items of a list, from its words: `[a, b]`, or items between spaces and commas."""
    if given and given[0].startswith("["):
        try:
            found = load_yaml(" ".join(given))
        except yaml.YAMLError as error:
            raise UserError(f"{' '.join(given)!r} is no valid YAML list", remedy="quote it") from error
        return list(found)
    return [item for word in given for item in word.split(",") if item]


def _explained(error: argparse.ArgumentError, config: type, lines: dict[str, tuple[str, int]], name: str) -> UserError:
    """The parser's message as one line that names the file, line and key, or the flag, and what would be right."""
    message = " ".join(str(error).split())
    if unknown := re.match(r"unrecognized arguments: (\S+)", message):
        flags = ["--" + flag.replace("_", "-") for flag, _ in _flag_types(config)]
        said = unknown[1].partition("=")[0].replace("_", "-")
        return UserError(f"unknown option {said}", remedy=did_you_mean(said, flags) or f"see {name} --help")
    if missing := re.search(r"arguments are required: (.*)", message):
        positional = {f.name.removesuffix("_") for f in dataclasses.fields(config) if f.metadata.get("positional")}
        wanted = [key if key in positional else "--" + key for key in re.split(r",\s*", missing[1])]
        return UserError(f"missing: {', '.join(wanted).replace('_', '-')}", remedy=f"see {name} --help")
    if wrong := re.match(r'Parser key "([^"]+)": (.*)', message):
        key, problem = wrong[1], re.sub(r"<class '([\w.]+)'>", r"\1", wrong[2])
        parts = ["--" + flag.replace("_", "-") for flag, _ in _flag_types(config) if flag.startswith(key + ".")]
        if parts and problem.startswith("Unable to load config"):
            return UserError(f"--{key.replace('_', '-')} is a group of settings", remedy=f"give {', '.join(parts)}")
        while key and key not in lines and "." in key:
            key = key.rpartition(".")[0]
        if key in lines:
            path, line = lines[key]
            return UserError(f"{wrong[1]}: {problem}", path=path, line=line)
        return UserError(f"--{wrong[1].replace('_', '-')}: {problem}")
    return UserError(message, remedy=f"see {name} --help")
