"""Strategies of tuning: what moves, at which rate, and that adapters vanish without a trace."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import backbones
import labelled
from mlcl.core.errors import UserError
from mlcl.finetuning import tuning
from mlcl.finetuning.encoding import Encoded
from mlcl.finetuning.prediction import predict_logits
from mlcl.finetuning.settings import FitSettings, Tuning, check, epochs_of, head_learning_rate_of, learning_rate_of


def moving(model):
    return {name for name, parameter in model.named_parameters() if parameter.requires_grad}


def test_freezing_from_below(make):
    model, _, _ = make("classification")
    everything = moving(model)
    tuning.freeze_lowest(model, 1)
    assert everything - moving(model) == {name for name in everything if "embeddings" in name or ".layer.0." in name}
    assert any(".layer.1." in name for name in moving(model))
    with pytest.raises(UserError, match="freeze_layers is 3, the encoder has 2 layers"):
        tuning.freeze_lowest(model, 3)
    tuning.freeze_encoder(model)
    assert all(name.startswith("head.") for name in moving(model))
    assert moving(model)


@pytest.mark.parametrize("model_type", ["bert", "modernbert", "llama", "qwen3", "glm4", "t5", "mbart"])
def test_the_last_norm_belongs_to_the_top_in_every_family(make, tmp_path, model_type):
    model, _, _ = make("classification", place=backbones.checkpoint(model_type, tmp_path))
    everything = moving(model)
    tuning.freeze_lowest(model, 2)
    left = {name for name in moving(model) if name.startswith("mlc.backbone.")}
    assert len({name.rpartition(".")[0] for name in left}) == (model_type != "bert"), (
        "BERT has no norm after its layers"
    )
    assert all("norm" in name and "embed" not in name for name in left)
    model.requires_grad_(True)
    groups = tuning.parameter_groups(
        model, learning_rate=1.0, head_learning_rate=9.0, weight_decay=0.1, layer_decay=0.5
    )
    rates = {id(p): group["lr"] for group in groups for p in group["params"]}
    named = dict(model.named_parameters())
    assert everything == set(named)
    assert {rates[id(named[name])] for name in left} <= {1.0}
    assert {rate for name, rate in ((name, rates[id(named[name])]) for name in everything) if "embed" in name} == {0.25}


def test_gradual_unfreezing_goes_down_layer_by_layer(make):
    model, _, _ = make("classification")
    seen = []
    for epoch in range(4):
        tuning.unfreeze_top(model, epoch)
        names = moving(model)
        seen.append([any(part in name for name in names) for part in ("head.", ".layer.1.", ".layer.0.", "embeddings")])
    assert seen == [[True, True, False, False], [True, True, True, False], [True] * 4, [True] * 4]


def test_rates_fall_from_layer_to_layer(make):
    model, _, _ = make("classification")
    groups = tuning.parameter_groups(
        model, learning_rate=1.0, head_learning_rate=9.0, weight_decay=0.1, layer_decay=0.5
    )
    rate = {id(p): (group["lr"], group["weight_decay"]) for group in groups for p in group["params"]}
    assert len(rate) == sum(len(group["params"]) for group in groups) == len(list(model.parameters()))
    found = {name: rate[id(parameter)] for name, parameter in model.named_parameters()}
    assert found["head.1.weight"] == (9.0, 0.1)
    assert found["head.1.bias"] == (9.0, 0.0)
    for name, (learning_rate, _) in found.items():
        expected = 9.0 if "head." in name else 1.0 if ".layer.1." in name else 0.5 if ".layer.0." in name else 0.25
        assert learning_rate == expected, name
    assert found["mlc.backbone.embeddings.word_embeddings.weight"][1] == 0.1
    assert found["mlc.backbone.embeddings.LayerNorm.weight"][1] == 0.0


def test_lora_moves_adapters_alone_and_merges_into_plain_weights(make, monkeypatch):
    pytest.importorskip("peft")
    monkeypatch.setattr("mlcl.finetuning.prediction.bf16_pays", lambda: False)
    model, encoder, _ = make("classification")
    examples = encoder.encode(labelled.classification("en", "dev"))
    names, before = set(model.state_dict()), predict_logits(model, examples)
    tuning.add_lora(model, 4)
    assert all("lora_" in name or name.startswith("head.") for name in moving(model))
    assert sum("lora_A" in name for name in moving(model)) == 2 * 6, "every linear layer of both layers"
    np.testing.assert_allclose(np.array(predict_logits(model, examples)), np.array(before), atol=1e-6)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.normal_(std=0.1)
    with_adapters = np.array(predict_logits(model, examples))
    assert np.abs(with_adapters - np.array(before)).max() > 1e-3
    tuning.merge_lora(model)
    assert set(model.state_dict()) == names
    np.testing.assert_allclose(np.array(predict_logits(model, examples)), with_adapters, atol=1e-5)


def test_class_weights_give_every_label_the_same_share():
    examples = [Encoded((), np.array(labels)) for labels in ([0, 0, 0], [2], [0, 2, 0, 0])]
    weights = tuning.class_weights(examples, 3)
    torch.testing.assert_close(weights, torch.tensor([8 / (2 * 6), 0.0, 8 / (2 * 2)]))
    counts = torch.tensor([6.0, 0.0, 2.0])
    assert (weights * counts).sum().item() == pytest.approx(8.0)


def test_a_frozen_encoder_needs_a_head_with_weights(make):
    model, _, _ = make("regression", "cosine")
    with pytest.raises(UserError, match="cosine head has no weights"):
        tuning.prepare(model, Tuning(method="frozen"))


def test_settings_out_of_range_are_named_together():
    with pytest.raises(UserError, match=r"tuning.layer_decay is 0, .*; training.epochs is 0.*; training.dropout is 1"):
        check(Tuning(layer_decay=0), FitSettings(epochs=0, dropout=1))
    with pytest.raises(UserError, match="freeze_layers has no meaning with the method frozen"):
        check(Tuning("frozen", freeze_layers=1), FitSettings())
    check(Tuning(freeze_layers=2, layer_decay=0.9), FitSettings())


def test_small_sets_get_more_epochs_and_small_encoders_larger_rates():
    assert [epochs_of(FitSettings(), n) for n in (20_000, 3_200, 701, 50)] == [4, 6, 28, 30]
    assert epochs_of(FitSettings(epochs=2), 50) == 2
    full, lora = Tuning(), Tuning("lora")
    rates = [learning_rate_of(FitSettings(), full, width) for width in (768, 384, 256, 32)]
    assert rates == pytest.approx([3e-5, 1.2e-4, 2.7e-4, 1e-3])
    assert learning_rate_of(FitSettings(), lora, 768) == pytest.approx(3e-4)
    assert learning_rate_of(FitSettings(learning_rate=0.5), lora, 768) == 0.5


def test_a_head_that_moves_alone_learns_faster_unless_its_rate_is_set():
    rates = [head_learning_rate_of(FitSettings(), Tuning(method)) for method in ("full", "lora", "frozen")]
    assert rates == [1e-3, 1e-3, 1e-2]
    assert head_learning_rate_of(FitSettings(head_learning_rate=0.5), Tuning("frozen")) == 0.5
