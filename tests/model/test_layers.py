"""Layers chosen from a trained encoder: the right ones, in the right order, for several families."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mlcl.core.errors import UserError
from mlcl.model.config import MLCConfig
from mlcl.model.layers import choose_layers, layer_count, spread
from mlcl.model.model import MLCModel

SIZES = {"vocab_size": 50, "hidden_size": 16, "num_attention_heads": 2, "intermediate_size": 24}
FAMILIES = {
    "xlm-roberta": {"pad_token_id": 1, "max_position_embeddings": 40},
    "bert": {"pad_token_id": 0},
    "modernbert": {"pad_token_id": 0, "global_attn_every_n_layers": 2},
}
IDS, MASK = torch.tensor([[5, 6, 7, 8], [9, 10, 11, 12]]), torch.ones(2, 4, dtype=torch.long)


def make(family, layers=4):
    torch.manual_seed(0)
    return MLCModel(
        MLCConfig(backbone={"model_type": family, "num_hidden_layers": layers, **SIZES, **FAMILIES[family]})
    ).eval()


def stack(model):
    return getattr(model.backbone, "encoder", model.backbone).__getattr__(
        "layer" if hasattr(model.backbone, "encoder") else "layers"
    )


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("layers", [[0, 2], [0, 1, 2, 3], [0, 2, 2, 3, 3, 3]])
def test_the_chosen_layers(family, layers, tmp_path):
    model = make(family)
    before = [{name: weight.clone() for name, weight in layer.state_dict().items()} for layer in stack(model)]
    vectors = model(IDS, MASK).embeddings
    choose_layers(model, layers)
    assert layer_count(model) == model.config.backbone["num_hidden_layers"] == len(layers)
    for layer, number in zip(stack(model), layers, strict=True):
        assert layer.state_dict().keys() == before[number].keys()
        for name, weight in layer.state_dict().items():
            torch.testing.assert_close(weight, before[number][name], rtol=0, atol=0)
    after = model(IDS, MASK).embeddings
    assert torch.equal(after, vectors) == (layers == [0, 1, 2, 3])
    packed = model.forward_packed(IDS.flatten(), torch.tensor([4, 4])).embeddings
    torch.testing.assert_close(packed, after, rtol=1e-4, atol=1e-5)
    model.save_pretrained(tmp_path / "m")
    torch.testing.assert_close(MLCModel.from_pretrained(tmp_path / "m")(IDS, MASK).embeddings, after)


def test_copies_of_a_layer_are_trained_apart():
    model = make("bert", 1)
    choose_layers(model, [0, 0])
    one, two = stack(model)
    one.attention.self.query.weight.data.zero_()
    assert two.attention.self.query.weight.abs().sum() > 0


def test_the_projection_and_the_head_stay():
    torch.manual_seed(0)
    model = MLCModel(MLCConfig(backbone={"model_type": "bert", "num_hidden_layers": 2, **SIZES}, proj_size=6))
    head, projection = model.lm_head.dense.weight, model.projection.weight
    choose_layers(model, [1])
    assert model.lm_head.dense.weight is head
    assert model.projection.weight is projection
    assert model(IDS, MASK).embeddings.shape == (2, 6)


@given(st.integers(1, 40), st.integers(1, 40))
def test_spread(available, wanted):
    layers = spread(available, wanted)
    assert len(layers) == wanted
    assert layers[0] == 0
    assert set(layers) <= set(range(available))
    if wanted <= available:
        assert layers == sorted(set(layers))
        steps = {b - a for a, b in zip(layers, layers[1:], strict=False)}
        assert not steps or max(steps) - min(steps) <= 1
    else:
        assert set(layers) == set(range(available))
        assert layers[:available] == [*range(available)]


def test_mistakes():
    model = make("bert")
    for layers, message in (([0, 4], "there is no layer 4"), ([-1], "no layer -1"), ([], "no layer is chosen")):
        with pytest.raises(UserError, match=message):
            choose_layers(model, layers)
    with pytest.raises(UserError, match="at least 1"):
        spread(4, 0)
    with pytest.raises(UserError, match="do not fit in this order"):
        choose_layers(make("modernbert"), [1, 0])
