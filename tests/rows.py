"""Rows of text, a fresh tiny model for them, and arguments of short trainings."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import torch

from mlcl.model.config import MLCConfig
from mlcl.model.model import MLCModel
from mlcl.training.arguments import MLCTrainingArguments

_WORDS = "the page was deleted enter your password".split()
_TRANSLATED = "die Seite wurde gelöscht を しました ページ".split()  # words of the tiny tokenizer
_CHOICES = sorted(set(itertools.permutations(range(7), 3)))[::5][:40]
ROWS = [
    {"anchor": " ".join(_WORDS[i] for i in row), "positive": " ".join(_TRANSLATED[i] for i in row)} for row in _CHOICES
]


def fresh_model(tokenizer) -> MLCModel:
    torch.manual_seed(0)
    backbone = {
        "model_type": "xlm-roberta",
        "vocab_size": len(tokenizer),
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "intermediate_size": 64,
        "max_position_embeddings": 130,
        "pad_token_id": tokenizer.pad_token_id,
    }
    return MLCModel(MLCConfig(backbone=backbone))


def arguments(folder: Path, **options) -> MLCTrainingArguments:
    defaults = {
        "output_dir": str(folder),
        "per_device_train_batch_size": 8,
        "max_steps": 4,
        "bf16": False,
        "save_strategy": "no",
        "logging_steps": 1,
        "learning_rate": 1e-3,
        "max_length": 60,
    }
    return MLCTrainingArguments(**(defaults | options))


def metrics(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().split("\n") if line]
