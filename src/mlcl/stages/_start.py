"""Which layers of a trained model a run starts from: settings `start` of `mlcl pretrain`, checked and carried out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from mlcl.core.errors import UserError
from mlcl.core.progress import console


@dataclass(frozen=True)
class StartSettings:
    """Which layers of model.model_name are taken over; without either of the two, all of them."""

    layers: list[int] | None = None
    """Numbers of the layers, from 0, in this order; one may come twice (a copy)."""
    depth: int | None = None
    """Number of layers: evenly spaced ones of a deeper model, or those of a shallower one again and again."""


def check_start(start: StartSettings, model: dict[str, Any]) -> None:
    """Refuse settings that contradict one another, before anything is loaded.

    Raises:
        UserError: layers and depth, either without a trained model or beside adapters, or a depth below 1.
    """
    if start.layers is not None and start.depth is not None:
        raise UserError("start.layers and start.depth exclude each other", remedy="give one of them")
    if start.depth is not None and start.depth < 1:
        raise UserError(f"start.depth is {start.depth}, it must be at least 1")
    if (start.layers, start.depth) != (None, None) and model.get("model_name") is None:
        raise UserError(
            "start chooses layers of a trained model, but there is none",
            remedy="give model.model_name, or set model.backbone.num_hidden_layers",
        )
    if (start.layers, start.depth) != (None, None) and model.get("lora") is not None:
        raise UserError("start chooses layers before there are adapters", remedy="leave start or model.lora out")


def apply_start(model: Any, start: StartSettings) -> None:
    """Keep the chosen layers of an `MLCModel` and say which. Raises UserError for layers that it lacks."""
    from mlcl.model.layers import choose_layers, layer_count, spread

    if start.layers is None and start.depth is None:
        return
    available = layer_count(model)
    layers = start.layers if start.layers is not None else spread(available, start.depth or 0)
    choose_layers(model, layers)
    console.print(f"  layers {', '.join(map(str, layers))} of {available}")
