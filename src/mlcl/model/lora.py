"""LoRA adapters (arXiv 2106.09685): train a large backbone by small matrices beside its frozen ones.

In: an `MLCModel` whose configuration has `lora`. Out: the same with adapters, or, merged, a plain model again. Between
the two it is saved with its adapters as they are, so that an interrupted run continues to the bit.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch import nn

from mlcl.core.errors import UserError, require

if TYPE_CHECKING:
    from mlcl.model.model import MLCModel

DEFAULTS: dict[str, Any] = {"rank": 16, "alpha": None, "dropout": 0.0, "targets": None}
"""`rank` of the adapters; `alpha`, their factor times the rank (None = twice the rank); `dropout` of their input;
`targets`, names of the linear layers that get one, such as `[q_proj, v_proj]` (None = all in the layers)."""


def check(settings: dict[str, Any]) -> None:
    """Raise UserError for settings that cannot be those of adapters."""
    unknown = sorted(settings.keys() - DEFAULTS.keys())
    if unknown:
        raise UserError(f"unknown key lora.{unknown[0]}", remedy=f"known: {', '.join(DEFAULTS)}")
    values = {**DEFAULTS, **settings}
    if not isinstance(values["rank"], int) or values["rank"] < 1:
        raise UserError(f"lora.rank is {values['rank']!r}, it must be a whole number of at least 1")
    if not isinstance(values["dropout"], (int, float)) or not 0 <= values["dropout"] < 1:
        raise UserError(f"lora.dropout is {values['dropout']!r}, it must be in [0, 1)")
    targets = values["targets"]
    if targets is not None and (not isinstance(targets, list) or not all(isinstance(name, str) for name in targets)):
        raise UserError(f"lora.targets is {targets!r}, it must be a list of names")


def add(model: MLCModel) -> None:
    """Put adapters into a model and freeze what they stand beside, with all else that is pre-trained.

    What starts fresh stays trainable: the projection, and the head of a masked LM.

    Raises:
        UserError: no linear layer of the backbone has one of the names.
    """
    require("peft", "peft")
    from peft import LoraConfig, inject_adapter_in_model

    values = {**DEFAULTS, **(model.config.lora or {})}
    parts = model.family.adapted(model.backbone, model.lm_head)
    found = {name: _linear_layers(part) for name, part in parts.items()}
    ends = sorted({name.rpartition(".")[2] for names in found.values() for name in names})
    if values["targets"] is not None:
        if missing := sorted(set(values["targets"]) - set(ends)):
            raise UserError(
                f"lora.targets: there is no linear layer {missing[0]!r}", remedy=f"known: {', '.join(ends)}"
            )
        found = {
            part: [name for name in names if name.rpartition(".")[2] in values["targets"]]
            for part, names in found.items()
        }
    alpha = 2 * values["rank"] if values["alpha"] is None else values["alpha"]
    for name, part in parts.items():
        part.requires_grad_(False)
        inject_adapter_in_model(
            LoraConfig(r=values["rank"], lora_alpha=alpha, lora_dropout=values["dropout"], target_modules=found[name]),
            part,
        )
    if model.lm_head.weight is not None:
        model.lm_head.weight.requires_grad_(False)


def merge(model: nn.Module) -> None:
    """Add the adapters to the weights beside them and take them out; everything is trainable again."""
    adapted: Any  # a layer of peft
    for module in list(model.modules()):
        for name, adapted in list(module.named_children()):
            if hasattr(adapted, "lora_A") and hasattr(adapted, "get_base_layer"):
                adapted.merge()
                setattr(module, name, adapted.get_base_layer())
    model.requires_grad_(True)


def _linear_layers(part: nn.Module) -> list[str]:
    """Names of the linear layers inside of the layers, which are the modules in lists."""
    inside = {
        id(module)
        for group in part.modules()
        if isinstance(group, nn.ModuleList)
        for layer in group
        for module in layer.modules()
    }
    return [name for name, module in part.named_modules() if type(module) is nn.Linear and id(module) in inside]
