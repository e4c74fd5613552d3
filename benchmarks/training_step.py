"""A training step beside sentence-transformers: forward, backward, clipping, AdamW, zero_grad.

Both sides run inside their own trainers (`trainer_steps`) on the same sentences and start from the same weights; making
the batch (tokenising, there) is not in the time of either. The peer computes InfoNCE alone; we do so in one arm, and
MLM/TLM with a momentum queue besides in the other.

Peers: its defaults (fp32, dropout 0.1); `bf16=True`; bf16 without dropout with freed memory kept (as we do), by the
plain loss or the cached one at mini-batches of 32; and the same with attention as plain products, which a user who
profiled the step would find: the backward of torch's fused attention in bfloat16 is several times slower on a CPU.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from floor import encoder_work
from harness import Case, Job
from trainer_steps import TrainerSteps, library_model, library_trainer, make_pairs, our_trainer

TITLE = "Training step against sentence-transformers"
_OURS = {
    "mlcl InfoNCE": {"lm_weight": 0.0},
    "mlcl InfoNCE + MLM": {"lm_weight": 0.1, "lm_share": 0.125},
    "mlcl InfoNCE + MLM + queue": {"lm_weight": 0.1, "lm_share": 0.125, "queue_size": 8192, "momentum": 0.99},
}
_BEST = {"bf16": True, "dropout": 0.0, "keep": True}
_LIBRARY: dict[str, dict[str, Any]] = {
    "st defaults": {"bf16": False, "dropout": 0.1},
    "st bf16": {"bf16": True, "dropout": 0.1},
    "st best, plain loss": _BEST,
    "st best, cached loss": {**_BEST, "cached": True},
    "st best, eager attention, plain loss": {**_BEST, "attention": "eager"},
    "st best, eager attention, cached loss": {**_BEST, "attention": "eager", "cached": True},
}


def cases(quick: bool) -> list[Case]:
    """The step of DESIGN section 6, and a 12 x 384 encoder with a vocabulary of 250,000."""
    small = {"layers": 4, "hidden": 256, "vocabulary": 32_000, "pairs": 256, "mean": 23.0, "longest": 96}
    large = {"layers": 12, "hidden": 384, "vocabulary": 250_000, "pairs": 64, "mean": 23.0, "longest": 96}
    if quick:
        small = {"layers": 2, "hidden": 32, "vocabulary": 300, "pairs": 8, "mean": 9.0, "longest": 24}
        return [Case("toy", small, ("mlcl InfoNCE", "mlcl InfoNCE + MLM + queue", "st defaults"), "pairs")]
    return [
        Case("4 x 256, 32k", small, ("mlcl InfoNCE", "mlcl InfoNCE + MLM + queue", *_LIBRARY), "pairs"),
        Case("12 x 384, 250k", large, ("mlcl InfoNCE + MLM", *list(_LIBRARY)[2:]), "pairs"),
    ]


def work(settings: dict[str, Any]) -> dict[str, Any]:
    """The arithmetic of InfoNCE training on the first batch's real tokens; the LM term is not in the floor."""
    anchors, positives = make_pairs(settings)[0]
    sentences = [*anchors, *positives]
    rows = len(np.unique(np.concatenate(sentences)))
    lengths = np.array([len(ids) for ids in sentences])
    return encoder_work(
        lengths, layers=settings["layers"], hidden=settings["hidden"], vocabulary_rows=rows, training=True
    )


def job(peer: str, settings: dict[str, Any]) -> Job:
    """A trainer that is stopped before its first step."""
    folder = Path(tempfile.mkdtemp(prefix="mlcl-benchmark-"))
    if peer in _OURS or _LIBRARY[peer].get("keep"):
        from mlcl.core.environment import tune_environment

        tune_environment()  # before torch is loaded: as `mlcl pretrain` does, and for the best peers too
    return _ours(peer, settings, folder) if peer in _OURS else _library(peer, settings, folder)


def _ours(peer: str, settings: dict[str, Any], folder: Path) -> Job:
    import torch
    import torch.nn.functional as F

    from mlcl.objectives import info_nce

    trainer = our_trainer(settings, folder, **_OURS[peer])
    if trainer.queue is not None:  # full, as after the first steps of a run
        keys = torch.randn(trainer.queue.size, settings["hidden"], generator=torch.Generator().manual_seed(2))
        trainer.queue.enqueue(F.normalize(keys, dim=-1))
    batch = trainer.source[0]

    def check() -> dict[str, float]:
        model, count = trainer.mlc.eval(), settings["pairs"]
        with torch.no_grad():
            vectors = batch.online.restore(model(batch.online.input_ids, lengths=batch.online.lengths).embeddings)
        vectors = F.normalize(vectors, dim=-1)
        return {"loss": float(info_nce(vectors[:count], vectors[count : 2 * count], symmetric=False))}

    return Job(run=TrainerSteps(trainer).step, units=settings["pairs"], check=check)


def _library(peer: str, settings: dict[str, Any], folder: Path) -> Job:
    import torch
    from sentence_transformers.losses import CachedMultipleNegativesRankingLoss, MultipleNegativesRankingLoss
    from workload import text_of

    from mlcl.training.memory import keep_freed_memory

    options = _LIBRARY[peer]
    if options.get("keep"):
        keep_freed_memory()
    model = library_model(
        settings, folder / "start", dropout=options["dropout"], attention=options.get("attention", "sdpa")
    )
    plain = MultipleNegativesRankingLoss(model, scale=20.0)  # 20 = 1 / temperature
    loss = CachedMultipleNegativesRankingLoss(model, scale=20.0, mini_batch_size=32) if options.get("cached") else plain
    trainer = library_trainer(model, loss, settings, folder, bf16=options["bf16"])
    anchors, positives = make_pairs(settings)[0]

    def check() -> dict[str, float]:
        model.eval()
        with torch.no_grad():
            sides = [model.tokenize([text_of(ids) for ids in side]) for side in (anchors, positives)]
            return {"loss": float(plain(sides, None))}

    return Job(run=TrainerSteps(trainer).step, units=settings["pairs"], check=check)
