"""The files that let `SentenceTransformer(folder)` load a saved `MLCModel`, with the vectors of `Encoder.encode`.

In: an `MLCModel` and its folder. Out, beside `config.json` and `model.safetensors`:

    modules.json                       Transformer, Pooling, Dense (with a projection), Normalize
    sentence_bert_config.json          how Transformer reads our folder (below)
    backbone_config.json               configuration of the backbone alone, as its own family writes it
    1_Pooling/ 2_Dense/ 3_Normalize/   their settings; 2_Dense holds the projection's weights once more (small)
    config_sentence_transformers.json  prompts and similarity

sentence-transformers 6 imports no class of ours from a folder unless the user passes `trust_remote_code=True`, so only
its own modules appear. They need neither mlcl nor a second copy of the weights: `sentence_bert_config.json` points the
configuration to `backbone_config.json` and renames the weights `backbone.x` to `x` (`encoder.x` where the library has
the encoder inside of a larger model, see `Family.library_keys`) while loading. transformers then
lists the masked-LM head as unexpected, which it is there. `SentenceTransformer.save` writes an ordinary folder.

The vectors are of length 1 (`Normalize`), because that is the space that was trained.
"""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlcl.core.files import write_json

if TYPE_CHECKING:
    from mlcl.model.model import MLCModel

BACKBONE_CONFIG = "backbone_config.json"
# transformers undoes a renaming when it saves, which would put the prefix back into an ordinary folder of
# sentence-transformers. It drops lookaheads from what it puts in, so this one stands for nothing while loading; in what
# it looks for while saving it never matches.
_NEVER = "(?!)"
_MODULES = "sentence_transformers.models"  # the name that every version of the library knows
_POOLING_FLAGS = {
    "cls": "pooling_mode_cls_token",
    "mean": "pooling_mode_mean_tokens",
    "max": "pooling_mode_max_tokens",
    "last": "pooling_mode_lasttoken",
}


def write_sentence_transformers_files(model: MLCModel, folder: str | Path) -> None:
    """Write the files described at the top of this module into the folder of a saved model.

    Args:
        model: The model; its weights are in the folder already.
        folder: An existing folder.
    """
    folder = Path(folder)
    pooling, hidden_size = model.config.pooling, model.hidden_size
    modules = [("", "Transformer")]
    if pooling != "pooler":  # the backbone's own pooler is the output of Transformer, set below
        modules.append(("1_Pooling", "Pooling"))
        flags = {flag: name == pooling for name, flag in _POOLING_FLAGS.items()}
        (folder / "1_Pooling").mkdir(exist_ok=True)
        write_json(folder / "1_Pooling" / "config.json", {"word_embedding_dimension": hidden_size, **flags})
    if model.projection is not None:
        modules.append(("2_Dense", "Dense"))
        _write_dense(model.projection, folder / "2_Dense")
    modules.append(("3_Normalize", "Normalize"))
    (folder / "3_Normalize").mkdir(exist_ok=True)
    write_json(folder / "3_Normalize" / "config.json", {})

    write_json(folder / BACKBONE_CONFIG, model.family.saved(model.backbone.config))
    write_json(folder / "sentence_bert_config.json", _transformer_settings(model))
    write_json(
        folder / "config_sentence_transformers.json",
        {"prompts": model.config.prompts, "default_prompt_name": None, "similarity_fn_name": "cosine"},
    )
    write_json(
        folder / "modules.json",
        [
            {"idx": place, "name": str(place), "path": path, "type": f"{_MODULES}.{kind}"}
            for place, (path, kind) in enumerate(modules)
        ],
    )


def _transformer_settings(model: MLCModel) -> dict[str, Any]:
    keys = {ours: theirs + _NEVER for ours, theirs in model.family.library_keys().items()}
    model_options: dict[str, Any] = {"key_mapping": keys}
    if model.config.bidirectional:  # SDPA takes a batch without padding for causal, whatever the configuration says
        model_options["attn_implementation"] = "eager"
    if model.config.pooling != "pooler" and "add_pooling_layer" in inspect.signature(type(model.backbone)).parameters:
        model_options["add_pooling_layer"] = False
    settings: dict[str, Any] = {
        "max_seq_length": model.max_length,
        "do_lower_case": False,
        "model_args": model_options,
        "config_args": {"_configuration_file": BACKBONE_CONFIG},
        **model.family.library_settings(),
    }
    if model.config.pooling == "pooler":
        settings["modality_config"] = {"text": {"method": "forward", "method_output_name": "pooler_output"}}
        settings["module_output_name"] = "sentence_embedding"
    return settings


def _write_dense(projection: Any, folder: Path) -> None:
    from safetensors import safe_open
    from safetensors.torch import save_file
    from torch.distributed.tensor import DTensor
    from transformers.utils import SAFE_WEIGHTS_NAME

    folder.mkdir(exist_ok=True)
    config = {
        "in_features": projection.in_features,
        "out_features": projection.out_features,
        "bias": projection.bias is not None,
        "activation_function": "torch.nn.modules.linear.Identity",
    }
    write_json(folder / "config.json", config)
    weights = dict(projection.state_dict())
    if any(isinstance(weight, DTensor) for weight in weights.values()):  # FSDP2: here are shards, whole ones are saved
        with safe_open(folder.parent / SAFE_WEIGHTS_NAME, framework="pt") as saved:
            weights = {name: saved.get_tensor(f"projection.{name}") for name in weights}
    tensors = {f"linear.{name}": tensor.detach().cpu().contiguous() for name, tensor in weights.items()}
    save_file(tensors, folder / SAFE_WEIGHTS_NAME)
