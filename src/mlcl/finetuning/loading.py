"""An encoder to fine-tune, from any folder or hub id that `Encoder` reads. Out: `MLCModel` and its tokenizer.

An MLC folder keeps its own pooling. A folder that `mlcl finetune` wrote gives its encoder, so that tasks can follow one
another. Of a sentence-transformers folder the transformer and the pooling are taken; what comes after them (a dense
layer) is left out, for the head learns its own. A bare Hugging Face encoder is pooled by the mean.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mlcl.core.errors import UserError
from mlcl.core.files import read_json
from mlcl.core.progress import warn
from mlcl.finetuning.model import MLCTaskConfig, MLCTaskModel
from mlcl.model.backends import _load_ours, _not_found, _settings_file, _tokenizer
from mlcl.model.config import MLCConfig
from mlcl.model.library_folder import _pooling
from mlcl.model.model import MLCModel


def load_encoder(place: str | Path) -> MLCModel:
    """The encoder of a folder or hub id, ready for tuning; ours keep their pooling, projection and length.

    Raises:
        UserError: no such folder or model, or not an encoder.
    """
    name = local_name(place)
    config = _settings_file(name, "config.json")
    kind = None if config is None else read_json(config).get("model_type")
    if kind == MLCConfig.model_type:
        return _load_ours(name)
    if kind == MLCTaskConfig.model_type:
        return MLCTaskModel.from_pretrained(name).mlc
    if _settings_file(name, "modules.json") is not None:
        return _library_encoder(name)
    if config is None and not Path(name).exists():
        raise _not_found(name)
    if config is None:
        raise UserError("this folder is no encoder: it has no config.json", path=name, remedy="give a model folder")
    return MLCModel(MLCConfig(model_name=name))


def load_tokenizer(place: str | Path) -> Any:
    """The tokenizer of the same. Raises UserError where there is none."""
    name = local_name(place)
    modules = _settings_file(name, "modules.json")
    return _tokenizer(_transformer_folder(name, read_json(modules)) if modules is not None else name)


def local_name(place: str | Path) -> str:
    """A path with `~` resolved where it exists; anything else, such as a hub id, as it is."""
    path = Path(place).expanduser()
    return str(path) if path.exists() else str(place)


def longest_input(model: MLCModel, tokenizer: Any, wanted: int) -> int:
    """Tokens of the longest input: what is wanted, unless the model or its tokenizer take less."""
    return min(wanted, model.max_length, tokenizer.model_max_length)


def _library_encoder(name: str) -> MLCModel:
    """The transformer and the pooling of a sentence-transformers folder, of any version and layout.

    Raises:
        UserError: it begins with something else, or pools in a way that we lack.
    """
    found = _settings_file(name, "modules.json")
    assert found is not None
    modules = read_json(found)
    kinds = [str(module.get("type", "")).rpartition(".")[2] for module in modules]
    if kinds[:2] != ["Transformer", "Pooling"]:
        raise UserError(
            f"this sentence-transformers folder is {' + '.join(kinds) or 'empty'}, not Transformer + Pooling",
            path=name,
            remedy="give the folder of its transformer",
        )
    pooling_file = _settings_file(name, f"{modules[1].get('path')}/config.json")
    pooling = _pooling(read_json(pooling_file)) if pooling_file is not None else None
    if pooling is None:
        raise UserError("its pooling is none of mean, cls and max", path=name, remedy="give its transformer alone")
    if further := [kind for kind in kinds[2:] if kind != "Normalize"]:
        warn(f"{name}: {', '.join(further)} after the pooling is left out; the head takes its place")
    place = _transformer_folder(name, modules)
    settings_file = _settings_file(place, "sentence_bert_config.json") or _settings_file(
        name, "sentence_bert_config.json"
    )
    settings = read_json(settings_file) if settings_file is not None else {}
    return MLCModel(MLCConfig(model_name=place, pooling=pooling, max_seq_length=settings.get("max_seq_length")))


def _transformer_folder(name: str, modules: list[dict[str, Any]]) -> str:
    """Where the transformer of a sentence-transformers folder lies: at its root, or in `0_Transformer` of old ones."""
    inside = str(modules[0].get("path") or "") if modules else ""
    if not inside:
        return name
    if not Path(name).exists():
        raise UserError(f"{name!r} keeps its transformer in {inside}", remedy="download it and give the local folder")
    return str(Path(name) / inside)
