"""Training with every term by name: three steps in one piece, resumed, and with gradient caching."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoTokenizer

from mlcl.model.config import MLCConfig
from mlcl.model.model import MLCModel
from mlcl.training import terms
from mlcl.training.arguments import MLCTrainingArguments
from mlcl.training.documents import Documents
from mlcl.training.sampling import Sampler
from mlcl.training.sources import BatchSettings, CorpusSource
from mlcl.training.teacher import TeacherVectors, columns
from mlcl.training.trainer import MLCTrainer


def trained(store, tiny_model: Path, folder: Path, resume: str | None = None, **options) -> MLCTrainer:
    torch.manual_seed(0)
    config = MLCConfig.from_pretrained(tiny_model)
    args = MLCTrainingArguments(
        output_dir=str(folder), per_device_train_batch_size=8, max_steps=3, bf16=False, logging_steps=1, lm_weight=0.0,
        learning_rate=1e-3, max_length=60, **options,
    )  # fmt: skip
    documents = Documents(np.arange(300), np.arange(300) // 60)  # of sixty groups each
    numbers, vectors = np.arange(300), np.random.default_rng(0).normal(size=(300, 32)).astype(np.float16)
    taught = columns(TeacherVectors(numbers, numbers, vectors), store.group)
    source = CorpusSource(Sampler(store), BatchSettings(pairs=8), taught, documents=documents)
    trainer = MLCTrainer(MLCModel(config), args, source, processing_class=AutoTokenizer.from_pretrained(tiny_model))
    trainer.train(resume_from_checkpoint=resume)
    return trainer


@pytest.mark.parametrize("name", terms.names())
def test_a_term_trains_resumes_and_is_cached(name, store, tiny_model, tmp_path):
    options = {"objectives": {name: 0.5}}
    steady = trained(store, tiny_model, tmp_path, save_strategy="steps", save_steps=2, **options)
    logged = [line[name] for line in steady.state.log_history if name in line]
    assert len(logged) == 3
    assert all(value == value != 0 for value in logged)
    resumed = trained(store, tiny_model, tmp_path, str(tmp_path / "checkpoint-2"), save_strategy="no", **options)
    for ours, theirs in (
        (steady.model, resumed.model),
        (steady.joint_objective.further, resumed.joint_objective.further),
    ):
        for key, value in ours.named_parameters():
            assert torch.equal(value, dict(theirs.named_parameters())[key]), key
    cached = trained(store, tiny_model, tmp_path, save_strategy="no", mini_batch_tokens=40, **options)
    for key, value in steady.model.named_parameters():
        torch.testing.assert_close(dict(cached.model.named_parameters())[key], value, rtol=1e-3, atol=1e-4, msg=key)
