"""mteb takes our models: its protocol, its mock tasks, and the vectors that reach it."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest

pytest.importorskip("mteb")

import mteb
from mteb.mocks import MockBitextMiningTask, MockRetrievalTask, MockSTSTask
from mteb.models.models_protocols import EncoderProtocol
from mteb.types import PromptType
from torch.utils.data import DataLoader

from mlcl.interop.mteb import MTEBEncoder
from mlcl.model.encoder import Encoder


@pytest.fixture(scope="module")
def model(tiny_model):
    return MTEBEncoder(str(tiny_model), device="cpu")


def test_it_is_what_mteb_calls_an_encoder(model, tiny_model):
    assert isinstance(model, EncoderProtocol)
    meta = model.mteb_model_meta
    assert (meta.name, meta.embed_dim, meta.max_tokens) == (f"mlcl/{tiny_model.parent.name}", 32, 64)
    again = meta.load_model(device="cpu") if meta.name is None else MTEBEncoder(str(tiny_model), name="me/mine")
    assert again.mteb_model_meta.name == "me/mine"
    assert again.mteb_model_meta.revision == meta.revision


def test_other_weights_are_another_revision(model, tiny_model, tmp_path):
    other = tmp_path / "model"
    shutil.copytree(tiny_model, other)
    assert MTEBEncoder(str(other)).mteb_model_meta.revision == model.mteb_model_meta.revision
    settings = json.loads((other / "config.json").read_text())
    (other / "config.json").write_text(json.dumps({**settings, "pooling": "cls"}))
    assert MTEBEncoder(str(other)).mteb_model_meta.revision != model.mteb_model_meta.revision


def test_vectors_are_those_of_the_encoder_with_the_prompt_for_their_part(model, tiny_model):
    texts = ["The page was deleted.", "Enter", "Die Seite wurde gelöscht."]
    loader = DataLoader([{"text": text} for text in texts], batch_size=2)
    encoder = Encoder.from_pretrained(tiny_model, "cpu")
    task = MockRetrievalTask().metadata
    place = {"task_metadata": task, "hf_split": "test", "hf_subset": "default"}
    np.testing.assert_allclose(model.encode(loader, **place, batch_size=2), encoder.encode(texts), atol=1e-6)

    prompted = MTEBEncoder(str(tiny_model), device="cpu")
    prompted.model_prompts = {"query": "Enter ", "document": "page ", task.name: "Seite "}
    for kind, prompt in ((PromptType.query, "Seite "), (None, "Seite ")):
        found = prompted.encode(loader, **place, prompt_type=kind)
        np.testing.assert_allclose(found, encoder.encode(texts, prompt=prompt), atol=1e-6)
    del prompted.model_prompts[task.name]
    found = prompted.encode(loader, **place, prompt_type=PromptType.document)
    np.testing.assert_allclose(found, encoder.encode(texts, prompt="page "), atol=1e-6)
    assert np.abs(found - encoder.encode(texts)).max() > 1e-3


def test_passage_prompts_serve_documents(tiny_model, tmp_path):
    folder = tmp_path / "model"
    shutil.copytree(tiny_model, folder)
    settings = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**settings, "prompts": {"query": "q: ", "passage": "p: "}}))
    assert MTEBEncoder(str(folder)).model_prompts == {"query": "q: ", "passage": "p: ", "document": "p: "}


def test_mteb_measures_it_without_network(model):
    tasks = [MockSTSTask(), MockRetrievalTask(), MockBitextMiningTask()]
    result = mteb.evaluate(model, tasks, cache=None, show_progress_bar=False)
    assert len(result.task_results) == 3
    assert all(0 <= abs(one.get_score()) <= 1 for one in result.task_results)


@pytest.mark.slow
def test_all_mock_tasks_for_text_pass(model):
    result = mteb.mock_run(model)
    assert result.all_passed, result.to_markdown()
    done = [name for name, status in result.items() if status is not None]
    assert len(done) > 20
