"""Sentence-transformers folders that say no more than `MLCModel` can: token states, one pooling, perhaps length 1.

In: the settings files of such a folder. Out: `PlainModules`, or None for a folder with anything further in it, which is
better left to the library itself. Most published encoders are plain, and our own model runs them several times faster.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlcl.core.files import read_json

_POOLINGS = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_lasttoken": "last",
}
_THEIR_NAMES = {"lasttoken": "last"}
# What newer versions write beside `max_seq_length`, with the values that mean plain token states.
_PLAIN_TRANSFORMER: dict[str, Any] = {
    "do_lower_case": False,
    "transformer_task": "feature-extraction",
    "modality_config": {"text": {"method": "forward", "method_output_name": "last_hidden_state"}},
    "module_output_name": "token_embeddings",
}


@dataclass(frozen=True)
class PlainModules:
    """What the modules of a plain folder do.

    Attributes:
        pooling: `mean`, `cls`, `max` or `last`.
        max_seq_length: Longest text in tokens; None = as the tokenizer says.
        unit: Whether the vectors are scaled to length 1.
        prompts: Named prefixes.
    """

    pooling: str
    max_seq_length: int | None
    unit: bool
    prompts: dict[str, str]


def read_plain_modules(find: Callable[[str], Path | None]) -> PlainModules | None:
    """The modules of a folder if they are plain, else None.

    Args:
        find: File name inside the folder -> where it lies, None where it is absent.
    """
    modules = _read(find, "modules.json")
    kinds = [str(module.get("type", "")).rpartition(".")[2] for module in modules or []]
    if kinds not in (["Transformer", "Pooling"], ["Transformer", "Pooling", "Normalize"]) or modules[0].get("path"):
        return None
    transformer = _read(find, "sentence_bert_config.json") or {}
    length = transformer.pop("max_seq_length", None)
    if any(key not in _PLAIN_TRANSFORMER or value != _PLAIN_TRANSFORMER[key] for key, value in transformer.items()):
        return None
    pooling = _pooling(_read(find, f"{modules[1].get('path')}/config.json") or {})
    if pooling is None:
        return None
    library = _read(find, "config_sentence_transformers.json") or {}
    prompts = {name: text for name, text in (library.get("prompts") or {}).items() if text}
    return PlainModules(pooling, length, len(kinds) == 3, prompts)


def _pooling(settings: dict[str, Any]) -> str | None:
    """Our name of the pooling, from the settings of any version; None for one that we lack."""
    if not settings.get("include_prompt", True):
        return None  # leaves the prompt's tokens out of the mean
    if "pooling_mode" in settings:
        mode = _THEIR_NAMES.get(settings["pooling_mode"], settings["pooling_mode"])
        return mode if mode in _POOLINGS.values() else None
    modes = [name for name, value in settings.items() if name.startswith("pooling_mode_") and value is True]
    return _POOLINGS.get(modes[0]) if len(modes) == 1 else None


def _read(find: Callable[[str], Path | None], file: str) -> Any:
    path = find(file)
    return None if path is None else read_json(path)
