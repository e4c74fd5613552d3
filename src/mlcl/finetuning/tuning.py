"""Which weights move, and how fast.

In: an `MLCTaskModel`. Out: the same with frozen parts or adapters, and groups of parameters for the optimiser. Each
function is one strategy; `prepare` applies what the settings ask for.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from mlcl.core.errors import UserError, require
from mlcl.finetuning.encoding import Encoded
from mlcl.finetuning.model import MLCTaskModel
from mlcl.finetuning.settings import Tuning
from mlcl.model import lora

_LAST_NORMS = ("final_norm", "norm", "final_layer_norm", "layer_norm")  # ModernBERT; Llama, Qwen, GLM; T5; mBART


def prepare(model: MLCTaskModel, tuning: Tuning) -> None:
    """Freeze, or put adapters in, as the settings say.

    Raises:
        UserError: settings that leave nothing to train, or more layers than there are.
    """
    if tuning.method == "frozen":
        freeze_encoder(model)
    elif tuning.method == "lora":
        add_lora(model, tuning.lora_rank)
    elif tuning.freeze_layers:
        freeze_lowest(model, tuning.freeze_layers)
    if not any(parameter.requires_grad for parameter in model.parameters()):
        raise UserError(
            f"a {model.config.head} head has no weights, so a frozen encoder leaves nothing to train",
            remedy="use another head or --tuning.method full",
        )


def layers_of(model: MLCTaskModel) -> list[nn.Module]:
    """The encoder's layers, lowest first: the longest list of modules in the backbone."""
    lists = [module for module in model.mlc.backbone.modules() if isinstance(module, nn.ModuleList)]
    return list(max(lists, key=len, default=[]))


def freeze_encoder(model: MLCTaskModel) -> None:
    """Only the head moves."""
    model.mlc.requires_grad_(False)


def freeze_lowest(model: MLCTaskModel, layers: int) -> None:
    """The embeddings and this many of the lowest layers do not move; 0 freezes the embeddings alone.

    Raises:
        UserError: more layers than there are.
    """
    known = layers_of(model)
    if layers > len(known):
        raise UserError(f"freeze_layers is {layers}, the encoder has {len(known)} layers")
    inside = {id(parameter) for layer in known for parameter in layer.parameters()}
    for name, parameter in model.mlc.backbone.named_parameters():
        if id(parameter) not in inside and not _is_above(name):
            parameter.requires_grad_(False)
    for layer in known[:layers]:
        layer.requires_grad_(False)


def unfreeze_top(model: MLCTaskModel, epoch: int) -> None:
    """Gradual unfreezing (ULMFiT, arXiv 1801.06146): in epoch 0 the top layer and the head move, then one more each.

    After the lowest layer the embeddings follow.
    """
    model.requires_grad_(True)
    if (still := len(layers_of(model)) - 1 - epoch) >= 0:
        freeze_lowest(model, still)


def parameter_groups(
    model: MLCTaskModel, *, learning_rate: float, head_learning_rate: float, weight_decay: float, layer_decay: float
) -> list[dict[str, Any]]:
    """Groups for the optimiser: the head at its own rate, each layer at `layer_decay` times that of the one above.

    The embeddings are below the lowest layer (discriminative fine-tuning, arXiv 1801.06146). Biases and norms have no
    weight decay. Parameters that are frozen now are left out.
    """
    layers = layers_of(model)
    depth_of = {id(parameter): depth for depth, layer in enumerate(layers) for parameter in layer.parameters()}
    above = {id(parameter) for name, parameter in model.mlc.backbone.named_parameters() if _is_above(name)}
    above |= {id(parameter) for parameter in _parameters(model.mlc.projection)}
    head = {id(parameter) for parameter in model.head.parameters()}
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for parameter in model.parameters():
        if not parameter.requires_grad:
            continue
        depth = len(layers) - 1 if id(parameter) in above else depth_of.get(id(parameter), -1)
        rate = learning_rate * layer_decay ** (len(layers) - 1 - depth)
        decay = weight_decay if parameter.dim() > 1 else 0.0
        groups.setdefault((head_learning_rate if id(parameter) in head else rate, decay), []).append(parameter)
    return [{"params": found, "lr": rate, "weight_decay": decay} for (rate, decay), found in groups.items()]


def _is_above(name: str) -> bool:
    """Whether a weight of the backbone outside its layers comes after them: the pooler, or the last norm."""
    module = name.rpartition(".")[0]
    return "embed" not in module and module.rpartition(".")[2] in _LAST_NORMS or name.startswith("pooler.")


def _parameters(module: nn.Module | None) -> list[nn.Parameter]:
    return [] if module is None else list(module.parameters())


def add_lora(model: MLCTaskModel, rank: int) -> None:
    """Freeze the encoder and put LoRA adapters (arXiv 2106.09685) beside every linear layer of its layers."""
    require("peft", "peft")
    from peft import LoraConfig, inject_adapter_in_model

    inside = {id(module) for layer in layers_of(model) for module in layer.modules()}
    names = [
        name
        for name, module in model.mlc.backbone.named_modules()
        if type(module) is nn.Linear and id(module) in inside
    ]
    freeze_encoder(model)
    inject_adapter_in_model(LoraConfig(r=rank, lora_alpha=2 * rank, target_modules=names), model.mlc.backbone)


def merge_lora(model: MLCTaskModel) -> None:
    """Add the adapters to the weights beside them and take them out; without adapters nothing happens."""
    lora.merge(model.mlc)


def class_weights(examples: Sequence[Encoded], outputs: int) -> Tensor:
    """(outputs,) weights by inverse frequency, so that each label that occurs has the same share of the loss."""
    counts = np.bincount(np.concatenate([example.labels for example in examples]), minlength=outputs)
    present = counts > 0
    weights = np.zeros(outputs)
    weights[present] = counts.sum() / (present.sum() * counts[present])
    return torch.tensor(weights, dtype=torch.float32)
