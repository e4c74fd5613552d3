"""The constants of `mlcl.model.inference`, each varied alone: evidence for the values that are shipped.

Not among the comparisons that run by default: `python benchmarks/cpu.py --only encode_settings --out FOLDER`.
"""

from __future__ import annotations

from typing import Any

from encode import job as encode_job
from harness import Case, Job

TITLE = "Encoding: the constants of the inference form"
_CHANGES = {
    "1024 tokens a batch": {"TOKENS_PER_BATCH": 1024},
    "2048 tokens a batch": {"TOKENS_PER_BATCH": 2048},
    "8192 tokens a batch": {"TOKENS_PER_BATCH": 8192},
    "16384 tokens a batch": {"TOKENS_PER_BATCH": 16_384},
    "fused attention from 32": {"_FLASH_FROM": 32},
    "fused attention from 128": {"_FLASH_FROM": 128},
    "runs alone from 256": {"_ALONE_FROM": 256},
    "runs alone from 4096": {"_ALONE_FROM": 4096},
}


def cases(quick: bool) -> list[Case]:
    """Two numbers of texts: few, which make many lengths share a batch, and many."""
    settings = {"layers": 12, "hidden": 384, "vocabulary": 32_000, "mean": 28.0, "longest": 128}
    if quick:
        settings = {"layers": 2, "hidden": 128, "vocabulary": 300, "mean": 9.0, "longest": 24}
    counts = (20,) if quick else (300, 4000)
    peers = ("mlcl as it is", *_CHANGES)
    return [Case(f"{count} texts", {**settings, "texts": count}, peers, "sentences", floor=False) for count in counts]


def work(settings: dict[str, Any]) -> dict[str, Any]:
    """No floor."""
    return {}


def job(peer: str, settings: dict[str, Any]) -> Job:
    """`Encoder` with one constant changed."""
    from mlcl.model import inference

    for name, value in _CHANGES.get(peer, {}).items():
        setattr(inference, name, value)
    return encode_job("mlcl", settings)
