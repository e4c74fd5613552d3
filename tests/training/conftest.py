"""What tests of training share: the tiny corpus as token ids."""

from __future__ import annotations

import pytest

from mlcl.corpus.store import Corpus
from mlcl.training.token_store import TokenStore, open_or_build


@pytest.fixture(scope="session")
def tokenizer(tiny_model):
    """The tokenizer of the tiny model."""
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(tiny_model)


@pytest.fixture(scope="session")
def store(tiny_corpus, tokenizer, tmp_path_factory) -> TokenStore:
    """The tiny corpus under that tokenizer."""
    return open_or_build(Corpus.open(tiny_corpus), tokenizer, 60, tmp_path_factory.mktemp("store"))
