"""Layers chosen from a trained encoder: the right ones, in the right order, for several families."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mlcl.core.errors import UserError
from mlcl.model.config import MLCConfig
from mlcl.model.language_model import language_model
from mlcl.model.layers import choose_layers, layer_count, spread
from mlcl.model.model import MLCModel

SIZES = {"vocab_size": 50, "hidden_size": 16, "num_attention_heads": 2, "intermediate_size": 24}
FAMILIES = {
    "xlm-roberta": {"pad_token_id": 1, "max_position_embeddings": 40},
    "bert": {"pad_token_id": 0},
    "modernbert": {"pad_token_id": 0, "global_attn_every_n_layers": 2},
    "llama": {"pad_token_id": None, "num_key_value_heads": 1},
    "qwen3": {"pad_token_id": None, "num_key_value_heads": 1, "head_dim": 8, "tie_word_embeddings": True},
    "glm4": {"pad_token_id": None, "num_key_value_heads": 1, "head_dim": 8},
    "t5": {"d_kv": 8, "d_ff": 24, "num_decoder_layers": 1},
    "mt5": {"d_kv": 8, "d_ff": 24, "num_decoder_layers": 1},
    "umt5": {"d_kv": 8, "d_ff": 24, "num_decoder_layers": 1},
    "mbart": {"encoder_ffn_dim": 24, "decoder_ffn_dim": 24, "decoder_layers": 1, "encoder_attention_heads": 2,
              "decoder_attention_heads": 2, "scale_embedding": True, "max_position_embeddings": 40},
}  # fmt: skip
WITH_LM = [family for family in FAMILIES if family != "modernbert"]
IDS, MASK = torch.tensor([[5, 6, 7, 8], [9, 10, 11, 12]]), torch.ones(2, 4, dtype=torch.long)


def make(family, layers=4):
    torch.manual_seed(0)
    return MLCModel(
        MLCConfig(backbone={"model_type": family, "num_hidden_layers": layers, **SIZES, **FAMILIES[family]})
    ).eval()


def stack(model):
    inside = getattr(model.backbone, "encoder", model.backbone)
    return next(getattr(inside, name) for name in ("layer", "layers", "block") if hasattr(inside, name))


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("layers", [[0, 2], [0, 1, 2, 3], [0, 2, 2, 3, 3, 3]])
def test_the_chosen_layers(family, layers, tmp_path):
    model = make(family)
    before = [{name: weight.clone() for name, weight in layer.state_dict().items()} for layer in stack(model)]
    vectors = model(IDS, MASK).embeddings
    choose_layers(model, layers)
    assert layer_count(model) == len(layers)
    for layer, number in zip(stack(model), layers, strict=True):
        assert layer.state_dict().keys() == before[number].keys()
        for name, weight in layer.state_dict().items():
            torch.testing.assert_close(weight, before[number][name], rtol=0, atol=0)
    after = model(IDS, MASK).embeddings
    assert torch.equal(after, vectors) == (layers == [0, 1, 2, 3])
    packed = model.forward_packed(IDS.flatten(), torch.tensor([4, 4])).embeddings
    torch.testing.assert_close(packed, after, rtol=1e-4, atol=1e-5)
    model.save_pretrained(tmp_path / "m")
    again = MLCModel.from_pretrained(tmp_path / "m")
    assert layer_count(again) == len(layers)
    torch.testing.assert_close(again(IDS, MASK).embeddings, after)


@pytest.mark.parametrize("family", WITH_LM)
def test_the_language_model_of_the_chosen_layers(family, tmp_path):
    """All layers: what it was. Fewer and more: whole, and a decoder of its own as deep as before."""
    model = make(family)
    inputs = {"input_ids": IDS}
    if model.family.term in ("spans", "infilling"):
        inputs["decoder_input_ids"] = IDS
    logits = language_model(model)(**inputs).logits
    choose_layers(model, [0, 1, 2, 3])
    assert torch.equal(language_model(model)(**inputs).logits, logits)
    for layers in ([0, 3], [0, 1, 0, 1, 1]):
        choose_layers(model, layers)
        model.save_pretrained(tmp_path / "m")
        whole = language_model(tmp_path / "m")
        torch.testing.assert_close(whole(**inputs).logits, language_model(model)(**inputs).logits)
        assert getattr(whole.config, "num_decoder_layers", getattr(whole.config, "decoder_layers", 1)) == 1


@pytest.mark.parametrize("family", ["t5", "mt5"])
@pytest.mark.parametrize("layers", [[1, 0], [0, 1, 0], [2, 2]])
def test_the_positions_of_t5_stay_in_the_first_place(family, layers):
    """They are in the first layer and serve all. A slow twin: the old layers, one by one, with its positions."""
    model = make(family)
    for parameter in model.backbone.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    old, (first, *_) = list(stack(model)), stack(model)
    states = model.backbone.embed_tokens(IDS)
    positions = first.layer[0].SelfAttention.compute_bias(4, 4, device=IDS.device)
    for number in layers:
        states = states + _attention(old[number].layer[0], states, positions)
        states = old[number].layer[1](states)
    expected = model.backbone.final_layer_norm(states)
    choose_layers(model, layers)
    found = model.backbone(input_ids=IDS, attention_mask=MASK).last_hidden_state
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def _attention(part, states, positions):
    """T5's self-attention (N, L, H), by hand."""
    inside, normed = part.SelfAttention, part.layer_norm(states)
    query, key, value = (layer(normed).view(2, 4, 2, 8).transpose(1, 2) for layer in (inside.q, inside.k, inside.v))
    weight = torch.softmax(query @ key.transpose(2, 3) + positions, dim=-1)  # T5 does not scale its scores
    return inside.o((weight @ value).transpose(1, 2).reshape(2, 4, 16))


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
