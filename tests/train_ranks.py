"""Whole runs of `MLCTrainer`, one after the other: alone, or as one of the ranks that torchrun starts.

    python -m torch.distributed.run --standalone --nproc-per-node 2 tests/train_ranks.py FOLDER

In: FOLDER/runs.json, `{name: {"arguments": {...}, "resume": null | checkpoint, "fsdp": bool}}`. Out: each run's folder,
FOLDER/NAME, and the weights and queue as each rank has them in the end, FOLDER/NAME-RANK.pt.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mlcl.training.arguments import MLCTrainingArguments
from mlcl.training.batching import Batch, make_batch
from mlcl.training.sharding import full_state_dict
from mlcl.training.trainer import MLCTrainer
from steps import VOCABULARY, EveryThird, tiny

_CHANCE = np.random.default_rng(0)
_ROWS = [
    {side: _CHANCE.integers(5, VOCABULARY, size=_CHANCE.integers(3, 12)) for side in ("anchor", "positive")}
    for _ in range(48)
]


def collate(rows: list[dict[str, Any]]) -> Batch:
    """Pairs, and every anchor once more for the LM term: any rows together are the sum of their parts."""
    anchors = [row["anchor"] for row in rows]
    return make_batch(
        anchors,
        [row["positive"] for row in rows],
        ids=np.array([row["anchor"][0] % 7 for row in rows]),
        lm=anchors,
        masking=EveryThird(mask_token_id=4, vocab_size=VOCABULARY, special_ids=()),
        rng=np.random.default_rng(0),
        with_keys=True,
    )


def run(folder: Path, name: str, arguments: dict[str, Any], resume: str | None = None, fsdp: bool = False) -> None:
    """One run; its weights and queue are saved as this rank has them."""
    defaults = {
        "output_dir": str(folder / name), "max_steps": 6, "optim": "adamw_torch", "adam_epsilon": 1e-3,
        "learning_rate": 0.01, "bf16": False, "queue_size": 32, "momentum": 0.8, "temperature": 0.1,
        "learnable_temperature": True, "logging_steps": 2, "save_strategy": "no", "report_to": "none", "use_cpu": True,
    }  # fmt: skip
    args = MLCTrainingArguments(**(defaults | arguments))
    trainer = MLCTrainer(tiny(), args, _ROWS, data_collator=collate, processing_class=_Tokenizer())
    if fsdp:
        _use_fsdp(trainer)
    trainer.train(resume_from_checkpoint=resume)
    assert trainer.queue is not None
    state = {name: value.clone() for name, value in full_state_dict(trainer.mlc).items()}
    state |= {"queue": trainer.queue.vectors, "temperature": trainer.temperature().detach()}
    torch.save(state, folder / f"{name}-{args.process_index}.pt")


class _Tokenizer:
    """What the trainer asks of a tokenizer when a collator makes the batches."""

    mask_token_id, all_special_ids = 4, ()

    def __len__(self) -> int:
        return VOCABULARY

    def save_pretrained(self, folder: str) -> None:
        pass


def _use_fsdp(trainer: MLCTrainer) -> None:
    """Switch FSDP2 on. accelerate does so for GPUs only; all that follows is the code that runs there."""
    from accelerate import PartialState
    from accelerate.utils import DistributedType, FullyShardedDataParallelPlugin

    state = trainer.accelerator.state
    state.distributed_type = DistributedType.FSDP
    state.fsdp_plugin = FullyShardedDataParallelPlugin(
        fsdp_version=2, auto_wrap_policy="transformer_based_wrap", state_dict_type="FULL_STATE_DICT"
    )
    PartialState._shared_state["distributed_type"] = DistributedType.FSDP
    trainer.is_fsdp_enabled = True


if __name__ == "__main__":
    place = Path(sys.argv[1])
    torch.set_num_threads(1)
    for label, settings in json.loads((place / "runs.json").read_text()).items():
        run(place, label, **settings)
