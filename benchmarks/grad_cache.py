"""Gradient caching beside the plain step, both of ours: what a batch in bounded memory costs in time.

Loss and gradient norm of the first batch, in float32, must agree between the peers.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from floor import encoder_work
from harness import Case, Job
from trainer_steps import TrainerSteps, make_pairs, our_trainer

TITLE = "Gradient caching against the plain step"


def cases(quick: bool) -> list[Case]:
    """The encoder of the training step with 512 pairs, in parts of 4096 tokens."""
    settings = {"layers": 4, "hidden": 256, "vocabulary": 32_000, "pairs": 512, "mean": 23.0, "longest": 96}
    settings["mini_batch_tokens"] = 4096
    if quick:
        settings = {"layers": 2, "hidden": 32, "vocabulary": 300, "pairs": 8, "mean": 9.0, "longest": 24}
        settings["mini_batch_tokens"] = 64
    return [Case("toy" if quick else "4 x 256, 512 pairs", settings, ("cached", "plain"), "pairs")]


def work(settings: dict[str, Any]) -> dict[str, Any]:
    """The plain step's arithmetic; caching repeats the forward."""
    anchors, positives = make_pairs(settings)[0]
    rows = len(np.unique(np.concatenate([*anchors, *positives])))
    lengths = np.array([len(ids) for ids in [*anchors, *positives]])
    sizes = {"layers": settings["layers"], "hidden": settings["hidden"]}
    return encoder_work(lengths, **sizes, vocabulary_rows=rows, training=True)


def job(peer: str, settings: dict[str, Any]) -> Job:
    """Our trainer with InfoNCE and the LM term, with or without `mini_batch_tokens`."""
    from mlcl.core.environment import tune_environment

    tune_environment()
    import torch

    options: dict[str, Any] = {"lm_weight": 0.1, "lm_share": 0.125}
    if peer == "cached":
        options["mini_batch_tokens"] = settings["mini_batch_tokens"]
    trainer = our_trainer(settings, Path(tempfile.mkdtemp(prefix="mlcl-benchmark-")), **options)

    def check() -> dict[str, float]:
        model, trainer.current_gradient_accumulation_steps = trainer.mlc, 1  # what `train` would set
        loss = trainer.training_step(trainer.model, trainer.source[0])  # not prepared yet, so in float32
        parts = [parameter.grad for parameter in model.parameters() if parameter.grad is not None]
        dense = [part.coalesce().values() if part.is_sparse else part for part in parts]
        norm = torch.stack([part.double().norm() for part in dense]).norm()
        model.zero_grad()
        return {"loss": float(loss), "gradient norm": float(norm)}

    return Job(run=TrainerSteps(trainer).step, units=settings["pairs"], check=check)
