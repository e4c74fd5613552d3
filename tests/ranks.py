"""Steps of training in one process, or in several that are ranks of one gloo group on this machine.

A module of its own, because new processes import the function that they run.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
import torch.distributed as dist
import torch.multiprocessing
from torch import nn
from torch.distributed.fsdp import FSDPModule
from torch.nn.parallel import DistributedDataParallel

from mlcl.model.model import MLCModel
from mlcl.training.distributed import mean_over_ranks
from mlcl.training.grad_cache import cached_step
from mlcl.training.sharding import choose_units, full_state_dict, keep_embedding_gathered, shard_like_online
from steps import Share, gradients, objective_for, tiny


@dataclass
class Case:
    """One optimiser update: micro-batches, each with a share for each rank."""

    micro_batches: list[list[Share]]
    options: dict[str, Any] = field(default_factory=dict)
    tokens: int | None = None
    fsdp: bool = False
    bf16: bool = False
    term: str = "masked"

    @property
    def in_one_process(self) -> Case:
        together = [[sum(shares[1:], shares[0])] for shares in self.micro_batches]
        return Case(together, self.options, self.tokens, term=self.term)


def update(case: Case, rank: int, folder: Path) -> dict[str, Any]:
    """Gradients of an update, and all state after it, as this rank sees them."""
    model = tiny(term=case.term)
    autocast = partial(torch.autocast, "cpu", torch.bfloat16) if case.bf16 else nullcontext
    objective = objective_for(model, folder, autocast, **case.options)
    objective.progress = 0.5  # a term may grow with it, from 0
    wrapped: nn.Module = model
    if case.fsdp:
        accelerator = _accelerator(model, case.bf16)
        wrapped = shard_like_online(accelerator, model)
        keep_embedding_gathered(model)
        assert sum(isinstance(module, FSDPModule) for module in wrapped.modules()) > 3  # two layers, embedding, root
        if objective.momentum is not None:
            objective.momentum.encoder = shard_like_online(accelerator, objective.momentum.encoder)
    elif dist.is_initialized():
        wrapped = DistributedDataParallel(model, find_unused_parameters=True)
    scale, info_nce, lm, further = 1 / len(case.micro_batches), 0.0, 0.0, []
    for number, shares in enumerate(case.micro_batches):
        batch = shares[rank].batch(term=case.term)
        with nullcontext() if number == len(case.micro_batches) - 1 else _no_sync(wrapped):
            if case.tokens is None:
                terms = objective.terms(wrapped, batch)
                (scale * objective.total(terms)).backward()
            else:
                terms = cached_step(
                    objective, wrapped, batch, case.tokens, no_sync=lambda: _no_sync(wrapped), scale=scale
                )
        info_nce += 0.0 if terms.info_nce is None else float(terms.info_nce.detach())
        further += [float(term.detach()) for _, term in sorted(terms.further.items())]
        lm += 0.0 if terms.lm is None else float(terms.lm.detach())
    found = gradients(wrapped, objective)
    own = {  # each rank's gradients of the terms' parameters are averaged in their step, as Adam hides the scale
        f"gradient of {name}": mean_over_ranks(parameter.grad.clone())
        for name, parameter in objective.further.named_parameters()
    }
    torch.optim.SGD(wrapped.parameters(), lr=0.1).step()
    objective.after_update(model, learning_rate=0.01)
    state: dict[str, Any] = {"terms": torch.tensor([info_nce, lm]), "gradients": found, **own}
    state["further"] = torch.tensor(further)
    if objective.queue is not None and objective.momentum is not None:
        state |= {f"momentum {name}": value for name, value in full_state_dict(objective.momentum).items()}
        state |= {"queue": objective.queue.vectors, "queue ids": objective.queue.ids}
    if objective.temperature.log is not None:
        state["temperature"] = objective.temperature().detach()
    return state


def run(cases: dict[str, Case], folder: Path, ranks: int = 2) -> list[dict[str, dict[str, Any]]]:
    """`update` of each case in as many processes: what each rank has found, by case."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    torch.multiprocessing.spawn(_work, (ranks, port, cases, folder), nprocs=ranks)
    return [torch.load(folder / f"rank{rank}.pt", weights_only=True) for rank in range(ranks)]


def _work(rank: int, ranks: int, port: int, cases: dict[str, Case], folder: Path) -> None:
    torch.set_num_threads(1)
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(ranks)}
    dist.init_process_group("gloo", rank=rank, world_size=ranks)
    results = {name: update(case, rank, folder) for name, case in cases.items()}
    torch.save(results, folder / f"rank{rank}.pt")
    dist.destroy_process_group()


def _accelerator(model: MLCModel, bf16: bool) -> Any:
    """What accelerate's own function for FSDP2 asks of an `Accelerator`, which itself does FSDP on GPUs only."""
    from accelerate.utils import FullyShardedDataParallelPlugin

    plugin = FullyShardedDataParallelPlugin(fsdp_version=2, auto_wrap_policy="transformer_based_wrap")
    choose_units(plugin, model)
    precision = "bf16" if bf16 else "no"
    if bf16:
        plugin.set_mixed_precision(precision)
    return SimpleNamespace(state=SimpleNamespace(fsdp_plugin=plugin), mixed_precision=precision, is_main_process=True)


@contextmanager
def _no_sync(model: nn.Module) -> Iterator[None]:
    if isinstance(model, FSDPModule):
        model.set_requires_gradient_sync(False)
        yield
        model.set_requires_gradient_sync(True)
    elif isinstance(model, DistributedDataParallel):
        with model.no_sync():
            yield
    else:
        yield
