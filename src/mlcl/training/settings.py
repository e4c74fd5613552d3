"""Plain settings (YAML) to `MLCConfig` and `MLCTrainingArguments`, every mistake named."""

from __future__ import annotations

import dataclasses
import inspect
import typing
from typing import Any

from mlcl.core.errors import UserError
from mlcl.core.settings import fits, type_name, unknown_key
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
            problems.append(unknown_key(f"{section}.{key}", key, known))
        elif not fits(value, known[key]):
            problems.append(f"{section}.{key} is {value!r}, expected {type_name(known[key])}")
    if problems:
        raise UserError("; ".join(problems))
