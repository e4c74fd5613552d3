"""Which layers of a trained encoder to keep, and in which order: a shallower model, or a deeper one.

In: an `MLCModel` and numbers of its layers. Out: the same model with these layers. Fewer of them make a small student
that knows something already (DistilBERT, Sanh et al. 2019, arXiv 1910.01108); the same ones twice, a deep model that
trains on from a shallow one (progressive stacking, Gong et al. 2019, ICML).
"""

from __future__ import annotations

import copy
import re
from collections.abc import Sequence

from torch import Tensor, nn

from mlcl.core.errors import UserError
from mlcl.model.model import MLCModel


def spread(available: int, wanted: int) -> list[int]:
    """`wanted` layers from `available` ones: evenly spaced if they are fewer, else all of them again and again."""
    if wanted < 1:
        raise UserError(f"a model of {wanted} layers is none", remedy="give at least 1")
    return [i * available // wanted if wanted <= available else i % available for i in range(wanted)]


def layer_count(model: MLCModel) -> int:
    """Number of layers of the backbone."""
    return int(model.backbone.config.num_hidden_layers)


def choose_layers(model: MLCModel, layers: Sequence[int]) -> None:
    """Rebuild the backbone from some of its layers; embeddings, norms and heads stay.

    Args:
        model: Changed in place, its configuration as well.
        layers: Old numbers from 0, in the new order; a number may come more than once, as copies.

    Raises:
        UserError: a number that is no layer, or a family whose layers do not fit into each other's place.
    """
    old, available = model.backbone, layer_count(model)
    if wrong := [number for number in layers if not 0 <= number < available]:
        raise UserError(f"there is no layer {wrong[0]}", remedy=f"the model has the layers 0 to {available - 1}")
    if not layers:
        raise UserError("no layer is chosen", remedy="name at least one")
    stacks = [name for name, part in old.named_modules() if isinstance(part, nn.ModuleList) and len(part) == available]
    if not stacks:
        raise UserError(f"the layers of a {old.config.model_type} are not known", remedy="leave start.layers out")
    config = copy.deepcopy(old.config)
    config.num_hidden_layers = len(layers)
    if hasattr(config, "encoder_layers"):  # of an encoder-decoder model
        config.encoder_layers = len(layers)
    if getattr(config, "layer_types", None):
        config.layer_types = [config.layer_types[number] for number in layers]
    new = type(old)(config)
    if getattr(old, "pooler", None) is None and hasattr(new, "pooler"):
        new.pooler = None
    try:
        new.load_state_dict(_state(old, new, stacks[0], layers, model.family.of_first_layer))
    except RuntimeError as error:
        raise UserError(
            f"the layers {list(layers)} of a {config.model_type} do not fit in this order: "
            + " ".join(str(error).split()[:24]),
            remedy="keep layer 0 first and once",
        ) from error
    model.backbone = new.to(device=old.device, dtype=old.dtype).train(old.training)
    model._direct()
    model.config.backbone = model.family.saved(config)


def _state(
    old: nn.Module, new: nn.Module, stack: str, layers: Sequence[int], of_first_layer: tuple[str, ...]
) -> dict[str, Tensor]:
    """Weights for `new` from `old`, whose layers are `stack`.

    What the first layer has for all of them (`Family.of_first_layer`) stays in the first place, whichever layer comes
    there: no layer but the old first one had it, and each of them has been reading it.
    """
    inside = re.compile(rf"{re.escape(stack)}\.(\d+)\.(.*)")
    state: dict[str, Tensor] = {}
    for name, weight in old.state_dict().items():
        found = inside.fullmatch(name)
        if found is None:
            state[name] = weight
            continue
        number, part = int(found[1]), found[2]
        for place in (place for place, chosen in enumerate(layers) if chosen == number):
            state[f"{stack}.{place}.{part}"] = weight
        if number == 0 and part.startswith(of_first_layer):
            state.setdefault(f"{stack}.0.{part}", weight)
    wanted = new.state_dict()
    shared = tuple(f"{stack}.{place}.{part}" for place in range(1, len(layers)) for part in of_first_layer)
    return {name: weight for name, weight in state.items() if name in wanted or not name.startswith(shared)}
