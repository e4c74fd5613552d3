"""FSDP2: which modules are units, and how to reach the shards.

accelerate shards the online encoder (`torch.distributed.fsdp.fully_shard`); the momentum encoder is sharded alike, so
that each rank can move its own shards.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from torch.distributed.fsdp import FSDPModule
from torch.distributed.tensor import DTensor

from mlcl.core.errors import UserError
from mlcl.model.model import MLCModel


def check_shardable(model: MLCModel, *, uses_lm: bool, perturbs: bool = False) -> None:
    """Refuse what FSDP2 cannot do.

    Raises:
        UserError: embeddings that are perturbed; the LM term of an encoder-decoder model, whose decoder runs beside the
            forward that gathers weights.
    """
    if perturbs:
        raise UserError("fgm_radius needs whole embeddings, FSDP shards them", remedy="use DDP, or set it to 0")
    if uses_lm and model.family.term in ("spans", "infilling"):
        raise UserError(
            "the LM term of an encoder-decoder backbone cannot be trained under FSDP",
            remedy="use DDP, or set lm_weight to 0",
        )


def choose_units(plugin: Any, model: MLCModel) -> None:
    """Name the classes of the encoder's layers to accelerate's FSDP plugin, unless the user has named some.

    By default it takes transformers' `_no_split_modules`. For BERT and its relatives these include the block around the
    token embedding, which accelerate then shards a second time on its own, and fails.
    """
    if plugin.transformer_cls_names_to_wrap is not None:
        return
    embedding = model.get_input_embeddings()
    units = [module for module in model.modules() if type(module).__name__ in (model._no_split_modules or ())]
    names = {type(unit).__name__ for unit in units if all(part is not embedding for part in unit.modules())}
    plugin.transformer_cls_names_to_wrap = sorted(names)


def keep_embedding_gathered(model: MLCModel) -> None:
    """Keep the token embedding gathered from its forward to its backward, because the LM term uses it once more."""
    embedding = model.get_input_embeddings()
    if isinstance(embedding, FSDPModule):
        embedding.set_reshard_after_forward(False)


def shard_like_online(accelerator: Any, encoder: nn.Module) -> nn.Module:
    """Shard a copy of the online encoder as accelerate shards that."""
    from accelerate.utils.fsdp_utils import fsdp2_prepare_model

    return fsdp2_prepare_model(accelerator, encoder)


def reshard(encoder: nn.Module) -> None:
    """Give gathered weights up: FSDP2 keeps those of the root after a forward, and changes to them would be lost."""
    for module in encoder.modules():
        if isinstance(module, FSDPModule):
            module.reshard()


def local(parameter: Tensor) -> Tensor:
    """This rank's part of a parameter; all of it where it is not sharded."""
    return parameter.to_local() if isinstance(parameter, DTensor) else parameter


def full_state_dict(module: nn.Module) -> dict[str, Any]:
    """A state dict with whole tensors. Where some are sharded every rank must call it, and rank 0 gets it."""
    if not any(isinstance(part, FSDPModule) for part in module.modules()):
        return module.state_dict()
    from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict

    reshard(module)
    return get_model_state_dict(module, options=StateDictOptions(full_state_dict=True, cpu_offload=True))
