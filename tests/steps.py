"""Tiny models, batches and objectives for the tests of the training step."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from mlcl.model.config import MLCConfig
from mlcl.model.model import MLCModel
from mlcl.objectives import NegativeQueue
from mlcl.training.arguments import MLCTrainingArguments
from mlcl.training.batching import Batch, make_batch
from mlcl.training.corruption import Blanks, Corruption, Example, Infilling, Masking, NextToken, SpanCorruption
from mlcl.training.forward import attach
from mlcl.training.momentum import MomentumEncoder
from mlcl.training.step import Objective
from mlcl.training.temperature import Temperature
from mlcl.training.terms import Context, FurtherTerms

VOCABULARY = 50
WIDTH = 16  # of the teacher's vectors
SPECIAL = (0, 1, 2, 3, 4)  # token ids that no sentence has


class EveryThird(Masking):
    """Masks every third token: no random numbers, so that batches can be put together in different ways."""

    def apply(self, ids: np.ndarray, rng: Any) -> tuple[np.ndarray, np.ndarray]:
        labels = np.full(len(ids), -100)
        labels[1::3] = ids[1::3]
        return np.where(labels == -100, ids, self.mask_token_id), labels


@dataclass(frozen=True)
class BySentence(Corruption):
    """Hides what another corruption hides, drawn by the sentence alone, for the same reason."""

    other: Corruption

    def corrupt(self, ids: np.ndarray, rng: Any) -> Example:
        return self.other.corrupt(ids, np.random.default_rng(int(ids.sum())))


_LAYERS = {
    "vocab_size": VOCABULARY, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4,
    "intermediate_size": 64, "max_position_embeddings": 40, "pad_token_id": 1, "initializer_range": 0.2,
}  # fmt: skip
_T5 = {
    "vocab_size": VOCABULARY, "d_model": 32, "d_kv": 8, "d_ff": 64, "num_layers": 2, "num_heads": 4, "pad_token_id": 1,
    "decoder_start_token_id": 1, "initializer_factor": 0.5,
}  # fmt: skip
_MBART = {
    "vocab_size": VOCABULARY, "d_model": 32, "encoder_layers": 2, "decoder_layers": 2, "encoder_attention_heads": 4,
    "decoder_attention_heads": 4, "encoder_ffn_dim": 64, "decoder_ffn_dim": 64, "max_position_embeddings": 40,
    "init_std": 0.2,
}  # fmt: skip
TERMS: dict[str, tuple[dict[str, Any], Corruption]] = {
    "masked": ({"model_type": "xlm-roberta", **_LAYERS}, EveryThird((), 4, VOCABULARY)),
    "next token": ({"model_type": "llama", **_LAYERS}, NextToken(SPECIAL)),
    "blanks": ({"model_type": "llama", **_LAYERS}, BySentence(SPECIAL, Blanks(SPECIAL, 4, 3, 2, 0.3, share=0.7))),
    "spans": ({"model_type": "mt5", **_T5}, BySentence(SPECIAL, SpanCorruption(SPECIAL, (46, 47, 48, 49), 2, 0.3))),
    "infilling": ({"model_type": "mbart", **_MBART}, BySentence(SPECIAL, Infilling(SPECIAL, 4, 0.3))),
}
"""LM term -> a tiny backbone that has it, and how its inputs are made."""


@dataclass
class Share:
    """The sentences that one rank has."""

    anchors: list[np.ndarray] = field(default_factory=list)
    positives: list[np.ndarray] = field(default_factory=list)
    hard_negatives: list[np.ndarray] = field(default_factory=list)
    lm: list[np.ndarray] = field(default_factory=list)
    ids: list[int] = field(default_factory=list)
    hard_negative_ids: list[int] = field(default_factory=list)

    @classmethod
    def draw(cls, seed: int, pairs: int, hard_negatives: int = 0, lm: int = 0) -> Share:
        """Random sentences; few group ids, so that some candidates are masked."""
        rng = np.random.default_rng(seed)

        def sentences(count: int) -> list[np.ndarray]:
            return [rng.integers(5, VOCABULARY, size=rng.integers(3, 12)) for _ in range(count)]

        return cls(
            sentences(pairs),
            sentences(pairs),
            sentences(hard_negatives),
            sentences(lm),
            rng.integers(-1, 6, size=pairs).tolist(),
            rng.integers(-1, 6, size=hard_negatives).tolist(),
        )

    def __add__(self, other: Share) -> Share:
        return Share(*(getattr(self, name) + getattr(other, name) for name in self.__dataclass_fields__))

    def batch(self, *, with_keys: bool = True, term: str = "masked") -> Batch:
        batch = make_batch(
            self.anchors,
            self.positives,
            ids=np.array(self.ids, dtype=np.int64),
            hard_negatives=self.hard_negatives,
            lm=self.lm,
            masking=TERMS[term][1],
            rng=np.random.default_rng(0),
            with_keys=with_keys,
        )
        codes = [[int(sum(side)) % 3 - 1 for side in pair] for pair in zip(self.anchors, self.positives, strict=True)]
        batch.languages = torch.tensor(codes, dtype=torch.long).reshape(-1, 2)  # two languages, and unknown
        batch.columns = {
            "documents": torch.tensor([int(sum(anchor)) % 3 - 1 for anchor in self.anchors], dtype=torch.long)
        }
        batch.negative_ids = torch.tensor(self.hard_negative_ids, dtype=torch.long)
        sums = [int(anchor.sum()) for anchor in self.anchors]
        rows = [np.random.default_rng(number).normal(size=WIDTH) for number in sums]
        batch.columns |= {
            "teacher": torch.from_numpy(np.array(rows, dtype=np.float32).reshape(-1, WIDTH)),
            "teacher_known": torch.tensor([number % 3 > 0 for number in sums], dtype=torch.bool),
        }
        return batch


def tiny(dropout: float = 0.0, term: str = "masked") -> MLCModel:
    """The same two layers of 32 at every call, with one of the LM terms."""
    torch.manual_seed(3)
    model = MLCModel(MLCConfig(backbone=TERMS[term][0], proj_size=16, hidden_dropout=dropout))
    attach(model)
    return model.train()


def objective_for(model: MLCModel, folder: Any, autocast: Any = nullcontext, **options: Any) -> Objective:
    """J with everything in it: both terms, a queue that is partly filled, a margin, a learnable temperature."""
    defaults = {
        "output_dir": str(folder), "temperature": 0.2, "learnable_temperature": True, "margin": 0.1, "queue_size": 20,
        "momentum": 0.5, "info_nce_weight": 1.5, "lm_weight": 0.7, "bf16": False, "report_to": "none",
    }  # fmt: skip
    args = MLCTrainingArguments(**(defaults | options))
    queue = momentum = None
    if args.uses_queue:
        queue, momentum = NegativeQueue(args.queue_size, 16), MomentumEncoder(model, args.momentum)
        chance = torch.Generator().manual_seed(0)
        queue.enqueue(F.normalize(torch.randn(9, 16, generator=chance), dim=-1), torch.arange(9) - 1)
    temperature = Temperature(args.temperature, learnable=args.learnable_temperature)
    provides = {"ids", "languages", "negatives", "documents", "teacher", "teacher_known"}
    widths = {"teacher": WIDTH, "teacher_known": 1}
    further = FurtherTerms(args.objectives, Context(16, ("a", "b"), provides, widths, model, SPECIAL))
    return Objective(args, temperature, momentum, queue, autocast, further)


def gradients(model: torch.nn.Module, objective: Objective) -> dict[str, torch.Tensor]:
    """Gradients of all parameters by name, that of the temperature included; whole tensors also under FSDP2."""
    found = {name.removeprefix("module."): parameter.grad for name, parameter in model.named_parameters()}
    found["temperature"] = objective.temperature.log.grad if objective.temperature.log is not None else None
    whole = {name: grad.full_tensor() if hasattr(grad, "full_tensor") else grad for name, grad in found.items()}
    return {name: grad.clone() for name, grad in whole.items() if grad is not None}
