"""`MLCTrainingArguments`: Hugging Face's arguments and those of the joint objective."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import torch
from transformers import TrainingArguments

from mlcl.core.errors import UserError
from mlcl.core.hardware import bf16_pays
from mlcl.training import terms
from mlcl.training.corruption import Blanks
from mlcl.training.lm_weighting import KINDS
from mlcl.training.temperature import RANGE

_HELP = "help"


def _option(default: Any, text: str) -> Any:
    return field(default=default, metadata={_HELP: text})


@dataclass
class MLCTrainingArguments(TrainingArguments):
    """Arguments of `MLCTrainer`: all of `transformers.TrainingArguments`, and the following.

    `per_device_train_batch_size` counts pairs. J = info_nce_weight * InfoNCE + lm_weight * LM + what `objectives` name,
    each term under its own mean.

    Attributes:
        further_terms: Names of the terms in `objectives` whose weight is above 0.

    Raises:
        UserError: values that cannot be trained with; all of them are named at once.
    """

    bf16: bool | None = _option(None, "Compute in bfloat16; None = where the hardware does.")  # type: ignore[assignment]
    overwrite_output_dir: bool = _option(False, "Start anew in an output folder that is not empty.")
    temperature: float = _option(0.05, "Temperature of InfoNCE; where it starts if it is learnable.")
    learnable_temperature: bool = _option(False, "Train the temperature as well, between 0.01 and 1.")
    margin: float = _option(0.0, "Additive margin of InfoNCE on the positive (LaBSE).")
    angular_margin: float = _option(0.0, "Margin of InfoNCE on the positive's angle, in radians (ArcFace).")
    symmetric: bool = _option(True, "Average both directions over the batch.")
    info_nce_weight: float = _option(1.0, "Weight w of the contrastive term; 0 trains the LM term alone.")
    lm_weight: float = _option(1.0, "Weight lambda of the LM term; 0 leaves it out.")
    lm_balance: str = _option(
        "fixed",
        "How lambda moves: fixed; linear or cosine, from lm_weight to lm_weight_end; uncertainty, both weights times "
        "exp(-s) of learnt log-variances s; gradient, the LM term's weighted gradient lm_weight times as long as that "
        "of InfoNCE (measured every 25 updates, about 8 % more time).",
    )
    lm_weight_end: float = _option(0.0, "Where a linear or cosine lambda ends.")
    lm_share: float = _option(0.25, "Inputs of the LM term per pair of the batch.")
    tlm_share: float = _option(0.5, "Share of the LM inputs that are translation pairs (TLM); the others are MLM.")
    mlm_probability: float = _option(
        0.15, "Share of tokens that the LM term hides; next-token prediction has all of them."
    )
    blank_share: float = _option(
        0.0,
        "Share of a decoder's LM inputs that are blank infilling (GLM): mlm_probability of the tokens are hidden in "
        "spans and written after the text, which is read in both directions. The others predict the next token.",
    )
    blank_token: str | None = _option(
        None, "Token that stands for a blank, such as an unused one of the tokenizer. None = its mask token."
    )
    negatives_per_pair: int = _option(1, "Most hard negatives of a pair, of those that the corpus has; 0 = none.")
    mask_documents: bool = _option(False, "Sentences of one document are never negatives of each other.")
    queue_size: int = _option(0, "Keys in the queue of negatives; 0 = no queue and no momentum encoder.")
    momentum: float = _option(0.995, "Momentum of the key encoder, per optimiser update.")
    objectives: dict[str, Any] = field(
        default_factory=dict,
        metadata={_HELP: "Further terms of J: name -> weight, or name -> settings (files of mlcl/training/terms)."},
    )
    fgm_radius: float = _option(
        0.0,
        "Adversarial training of the embeddings (FGM): each batch is seen a second time with its token embeddings "
        "moved uphill, by this share of their length; 0 = off. Doubles the cost of a step.",
    )
    mini_batch_tokens: int | None = _option(
        None,
        "Gradient caching: most tokens that are encoded at once, for batches that do not fit into memory. The gradient "
        "stays that of the whole batch, for one more forward of its pairs. None = off.",
    )
    dynamics_steps: int = _option(
        0,
        "Updates between two measurements of gradients of the terms, space and queue for metrics.jsonl; each costs "
        "about two training steps. 0 = none.",
    )
    skip_batches: list[int] = field(
        default_factory=list,
        metadata={_HELP: "Numbers of batches to leave out, such as one that made the loss NaN."},
    )
    max_length: int = _option(128, "Longest sentence in tokens, special tokens included.")
    max_minutes: float | None = _option(
        None,
        "Wall-clock budget of training; the learning rate then decays over this time, or over max_steps if they end "
        "first. None = by steps or epochs.",
    )

    def __post_init__(self) -> None:
        self.remove_unused_columns = False
        if self.ddp_broadcast_buffers is None:
            self.ddp_broadcast_buffers = False  # an encoder's buffers are constants
        self.use_cpu = self.use_cpu or not torch.cuda.is_available()  # transformers refuses bf16 on a CPU otherwise
        if self.bf16 is None:
            self.bf16 = bf16_pays() and not self.fp16
        self.ends_by_clock = self.max_minutes is not None and self.max_steps <= 0
        if self.ends_by_clock:
            self.max_steps = 10_000_000
        self.logging_nan_inf_filter = False  # a loss that is not finite stops the run (nan_guard)
        super().__post_init__()
        pairs = self.per_device_train_batch_size
        problems = [
            f"{name} is {value}, it must be {rule}"
            for name, value, fine, rule in (
                ("temperature", self.temperature, self.temperature > 0, "above 0"),
                ("info_nce_weight", self.info_nce_weight, self.info_nce_weight >= 0, "at least 0"),
                ("lm_weight", self.lm_weight, self.lm_weight >= 0, "at least 0"),
                ("angular_margin", self.angular_margin, 0 <= self.angular_margin < math.pi / 2, "in [0, pi/2)"),
                ("lm_weight_end", self.lm_weight_end, self.lm_weight_end >= 0, "at least 0"),
                ("lm_balance", self.lm_balance, self.lm_balance in KINDS, f"one of {', '.join(KINDS)}"),
                ("dynamics_steps", self.dynamics_steps, self.dynamics_steps >= 0, "at least 0"),
                ("lm_share", self.lm_share, self.lm_share >= 0, "at least 0"),
                ("tlm_share", self.tlm_share, 0 <= self.tlm_share <= 1, "in [0, 1]"),
                ("mlm_probability", self.mlm_probability, 0 < self.mlm_probability < 1, "in (0, 1)"),
                ("blank_share", self.blank_share, 0 <= self.blank_share <= 1, "in [0, 1]"),
                ("negatives_per_pair", self.negatives_per_pair, self.negatives_per_pair >= 0, "at least 0"),
                ("queue_size", self.queue_size, self.queue_size >= 0, "at least 0"),
                ("momentum", self.momentum, 0 <= self.momentum < 1, "in [0, 1)"),
                ("fgm_radius", self.fgm_radius, self.fgm_radius >= 0, "at least 0"),
                ("max_steps", self.max_steps, self.max_steps != 0, "at least 1, or -1 to count in epochs"),
                ("learning_rate", self.learning_rate, self.learning_rate >= 0, "at least 0"),
                ("per_device_train_batch_size", pairs, pairs >= 1, "at least 1"),
                ("max_minutes", self.max_minutes, self.max_minutes is None or self.max_minutes > 0, "above 0"),
                ("max_length", self.max_length, self.max_length >= 4, "at least 4"),
                (
                    "mini_batch_tokens",
                    self.mini_batch_tokens,
                    self.mini_batch_tokens is None or self.mini_batch_tokens > 0,
                    "above 0",
                ),
            )
            if not fine
        ]
        if self.learnable_temperature and not RANGE[0] <= self.temperature <= RANGE[1]:
            problems.append(f"temperature is {self.temperature}, a learnable one must start in {list(RANGE)}")
        if self.learnable_temperature and self.fp16:
            problems.append("learnable_temperature cannot be used with fp16 and its loss scale, use bf16")
        if self.blank_token is not None and not self.blank_share:
            problems.append(f"blank_token is {self.blank_token!r}, but there are no blanks: set blank_share above 0")
        if self.fgm_radius and self.gradient_accumulation_steps > 1:
            problems.append("fgm_radius needs gradient_accumulation_steps 1, use mini_batch_tokens for large batches")
        try:
            parsed = terms.parse(self.objectives)
        except UserError as error:  # told with the others; those below suppose that the objectives are known
            raise UserError("; ".join([*problems, str(error)])) from error
        self.further_terms = frozenset(name for name, term in parsed.items() if term.weight > 0)
        if self.mask_documents and "context" in self.further_terms:
            problems.append("mask_documents leaves the objective context no sentence to find, use one of them")
        if not self.uses_pairs and not self.uses_lm:
            problems.append("info_nce_weight is 0 and so is lm_weight or lm_share, nothing would be trained")
        if self.lm_balance in ("uncertainty", "gradient") and not (self.info_nce_weight > 0 and self.uses_lm):
            problems.append(f"lm_balance {self.lm_balance} needs both terms, InfoNCE and LM")
        if problems:
            raise UserError("; ".join(problems))

    @property
    def uses_lm(self) -> bool:
        """Whether the LM term is part of the objective."""
        highest = max(self.lm_weight, self.lm_weight_end) if self.lm_balance in ("linear", "cosine") else self.lm_weight
        return highest > 0 and self.lm_share > 0

    @property
    def uses_pairs(self) -> bool:
        """Whether a term sees the embeddings of the pairs."""
        return self.info_nce_weight > 0 or bool(self.further_terms)

    def longest_sentence(self, max_length: int, reach: int) -> int:
        """Most tokens of a sentence in training.

        Args:
            max_length: Longest input of the model that was set.
            reach: Positions that its backbone knows; TLM joins two sentences into one input, which may be longer than
                any input afterwards, and blanks make it longer once more.
        """
        if self.uses_lm and self.blank_share:
            reach = Blanks.longest_sentence(reach, self.mlm_probability)
        return min(self.max_length, max_length, reach // 2 if self.uses_lm and self.tlm_share else reach)

    @property
    def uses_negatives(self) -> bool:
        """Whether hard negatives of the corpus take part."""
        return self.negatives_per_pair > 0 and self.uses_pairs

    @property
    def uses_documents(self) -> bool:
        """Whether the documents of the sentences are needed."""
        return self.mask_documents or "context" in self.further_terms

    @property
    def uses_queue(self) -> bool:
        """Whether there are a queue and a momentum encoder."""
        return self.queue_size > 0 and self.info_nce_weight > 0
