"""Plain settings (YAML) to `MLCConfig` and `MLCTrainingArguments`, every mistake named."""

from __future__ import annotations

import dataclasses
import inspect
import types
import typing
from enum import Enum
from typing import Any, Union

from mlcl.core.errors import UserError
from mlcl.core.settings import did_you_mean
from mlcl.model.config import MLCConfig
from mlcl.training.arguments import MLCTrainingArguments


def training_arguments(values: dict[str, Any]) -> MLCTrainingArguments:
    """Arguments from settings.

    Raises:
        UserError: unknown keys or values of a wrong type.
    """
    hints = typing.get_type_hints(MLCTrainingArguments)
    known = {item.name: hints[item.name] for item in dataclasses.fields(MLCTrainingArguments) if item.init}
    _check("training", values, known)
    numbers = {key: float(value) for key, value in values.items() if known[key] is float and isinstance(value, int)}
    try:
        return MLCTrainingArguments(**{"logging_steps": 10, "save_total_limit": 2, **values, **numbers})
    except (ValueError, ImportError) as error:
        raise UserError(f"training: {' '.join(str(error).split())}") from error


def model_config(values: dict[str, Any]) -> MLCConfig:
    """Model configuration from settings.

    Raises:
        UserError: unknown keys or values of a wrong type.
    """
    hints = typing.get_type_hints(MLCConfig.__init__)
    known = {
        name: hints[name]
        for name, parameter in inspect.signature(MLCConfig.__init__).parameters.items()
        if name != "self" and parameter.kind is parameter.POSITIONAL_OR_KEYWORD
    }
    _check("model", values, known)
    return MLCConfig(**values)


def _check(section: str, values: dict[str, Any], known: dict[str, Any]) -> None:
    problems = []
    for key, value in values.items():
        if key not in known:
            hint = did_you_mean(key, known)
            problems.append(f"unknown key {section}.{key}" + (f" ({hint})" if hint else ""))
        elif not _fits(value, known[key]):
            problems.append(f"{section}.{key} is {value!r}, expected {_name(known[key])}")
    if problems:
        raise UserError("; ".join(problems))


def _fits(value: Any, hint: Any) -> bool:
    """Whether a YAML value can be what the annotation says; annotations richer than that are left to the class."""
    origin = typing.get_origin(hint)
    if origin in (Union, types.UnionType):
        return any(_fits(value, option) for option in typing.get_args(hint))
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


def _name(hint: Any) -> str:
    return hint.__name__ if isinstance(hint, type) else str(hint).replace("typing.", "")
