"""Task models over the tiny encoder of the suite."""

from __future__ import annotations

import pytest

import labelled
from mlcl.finetuning.encoding import ExampleEncoder
from mlcl.finetuning.fit import new_model
from mlcl.finetuning.loading import load_encoder, load_tokenizer
from mlcl.finetuning.settings import FitSettings, Tuning


@pytest.fixture
def make(tiny_model):
    """kind, head -> a fresh model, its example encoder and the made-up task."""

    def make(kind, head=None, place=None, seed=0, **tuning):
        import torch

        torch.manual_seed(seed)
        task = labelled.task(kind)
        train = labelled.MAKERS[kind]("en", "train")
        place = place or tiny_model
        model = new_model(load_encoder(place), task, train, head, Tuning(**tuning), FitSettings())
        return model, ExampleEncoder(model.config, load_tokenizer(place), 64), task

    return make
