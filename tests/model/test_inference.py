"""`InferenceEncoder`: the vectors of the float32 model one sentence at a time, for every family, pooling and length."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from mlcl.core.hardware import cpu_has_bf16_products
from mlcl.model import inference
from mlcl.model.config import MLCConfig
from mlcl.model.inference import InferenceEncoder, agreement, attend, plan_spans, supported
from mlcl.model.model import MLCModel
from mlcl.model.packing import pack

pytestmark = pytest.mark.skipif(
    not cpu_has_bf16_products(),
    reason="this CPU has no bfloat16 products",
)
SIZES = {
    "vocab_size": 200,
    "hidden_size": 64,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 128,
    "max_position_embeddings": 140,
    "pad_token_id": 1,
}
FAMILIES = ["bert", "roberta", "xlm-roberta", "camembert"]
LENGTHS = [1, 1, 2, 3, 15, 16, 16, 17, 31, 32, 33, 63, 64, 65, 100, 138]


def make_model(model_type: str = "xlm-roberta", seed: int = 0, **options) -> MLCModel:
    """A model whose every parameter has left its initial value: biases and norms take part in the comparison."""
    torch.manual_seed(seed)
    sizes = {name: options.pop(name, value) for name, value in SIZES.items()}
    backbone = {"model_type": model_type, **sizes, **options.pop("backbone", {})}
    model = MLCModel(MLCConfig(backbone=backbone, **options)).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.add_(torch.randn_like(parameter) * (0.2 if "Norm" in name or "bias" in name else 0.05))
    return model


def sentences(lengths: list[int], vocabulary: int = 200) -> list[np.ndarray]:
    """Random tokens, none of them padding, from which RoBERTa's own forward would count no position."""
    chance = np.random.default_rng(3)
    return [chance.integers(2, vocabulary, size=length) for length in lengths]


@torch.no_grad()
def one_by_one(model: MLCModel, rows: list[np.ndarray]) -> torch.Tensor:
    return torch.cat([model(torch.from_numpy(row)[None])[0] for row in rows])


def least_cosine(model: MLCModel, rows: list[np.ndarray]) -> float:
    packed = pack(rows)
    vectors = packed.restore(InferenceEncoder(model)(packed.input_ids, packed.lengths))
    assert vectors.dtype == torch.float32
    expected = one_by_one(model, rows)
    assert vectors.shape == expected.shape
    return float(F.cosine_similarity(vectors, expected, dim=-1).min())


@pytest.mark.parametrize("model_type", FAMILIES)
@pytest.mark.parametrize("pooling", ["mean", "cls", "max", "pooler"])
def test_equal_to_float32_one_by_one(model_type, pooling):
    model = make_model(model_type, pooling=pooling)
    assert least_cosine(model, sentences(LENGTHS)) >= 0.9998


@pytest.mark.parametrize("options", [{"proj_size": 24}, {"proj_size": 24, "pooling": "pooler"}])
def test_projection(options):
    assert least_cosine(make_model(**options), sentences(LENGTHS)) >= 0.9998


@pytest.mark.parametrize("activation", ["gelu", "gelu_new", "gelu_pytorch_tanh", "relu"])
def test_activations(activation):
    model = make_model(backbone={"hidden_act": activation})
    assert least_cosine(model, sentences(LENGTHS)) >= 0.9998


@pytest.mark.parametrize("length", [1, 2, 16, 64, 138])
def test_a_sentence_alone(length):
    assert least_cosine(make_model(), sentences([length])) >= 0.9998


@pytest.mark.slow
def test_realistic_size():
    sizes = {"vocab_size": 3000, "hidden_size": 384, "num_hidden_layers": 12, "num_attention_heads": 12}
    model = make_model(**sizes, intermediate_size=1536)
    lengths = np.random.default_rng(0).lognormal(3.1, 0.6, size=40).clip(3, 130).astype(int).tolist()
    assert least_cosine(model, sentences(lengths, 3000)) >= 0.9998


def test_a_large_run_stands_alone_and_small_ones_share_a_span(monkeypatch):
    monkeypatch.setattr(inference, "_ALONE_FROM", 60)
    spans = plan_spans(torch.tensor([3, 3, 7, 17, 18, 18, 20, 20, 20, 40]))
    assert [(span.count, span.width, span.padding) for span in spans] == [
        (3, 16, ((0, 2, 3), (2, 3, 7))),
        (3, 18, ((0, 1, 17),)),
        (3, 20, ()),
        (1, 40, ()),
    ]
    assert [(span.start, span.stop) for span in spans] == [(0, 13), (13, 66), (66, 126), (126, 166)]


@pytest.mark.parametrize("alone_from", [1, 60, 10_000])
@pytest.mark.parametrize("flash_from", [16, 10_000])
def test_how_sentences_share_spans_changes_no_value(monkeypatch, alone_from, flash_from):
    monkeypatch.setattr(inference, "_ALONE_FROM", alone_from)
    monkeypatch.setattr(inference, "_FLASH_FROM", flash_from)
    torch.manual_seed(0)
    lengths = torch.tensor([1, 1, 5, 15, 16, 16, 17, 30, 30, 70])
    heads, hidden = 3, 24
    qkv = torch.randn(int(lengths.sum()), 3 * hidden).bfloat16()
    expected = []
    for part in qkv.float().split(lengths.tolist()):
        q, k, v = part.view(-1, 3, heads, hidden // heads).permute(1, 2, 0, 3)
        expected.append((torch.softmax(q @ k.transpose(-1, -2), -1) @ v).transpose(0, 1).reshape(-1, hidden))
    torch.testing.assert_close(
        attend(qkv, plan_spans(lengths), heads).float(), torch.cat(expected), atol=0.03, rtol=0.02
    )


def test_company_does_not_matter():
    """Exact where the spans are the same; here they are not, and bfloat16 rounds differently."""
    encoder, rows = InferenceEncoder(make_model()), sentences(LENGTHS)
    packed = pack(rows)
    together = packed.restore(encoder(packed.input_ids, packed.lengths))
    alone = torch.cat([encoder(torch.from_numpy(row), torch.tensor([len(row)])) for row in rows])
    assert F.cosine_similarity(together, alone, dim=-1).min() >= 0.9998
    again = packed.restore(encoder(packed.input_ids, packed.lengths))
    torch.testing.assert_close(again, together, rtol=0, atol=0)


def test_which_models_are_supported():
    assert supported(make_model())
    assert not supported(make_model(backbone={"hidden_act": "silu"}))
    distilbert = {"model_type": "distilbert", "vocab_size": 50, "dim": 32, "n_layers": 1, "n_heads": 2}
    assert not supported(MLCModel(MLCConfig(backbone=distilbert)).eval())
    modernbert = {"model_type": "modernbert", "vocab_size": 50, "hidden_size": 32, "intermediate_size": 64}
    modernbert |= {"num_hidden_layers": 2, "num_attention_heads": 2, "pad_token_id": 1}
    assert not supported(MLCModel(MLCConfig(backbone=modernbert)).eval())
    padded = make_model()
    padded.backbone.set_attn_implementation("sdpa")
    assert not supported(padded)


def test_agreement_finds_a_model_that_bfloat16_spoils():
    """Weights with a huge common part: float32 still resolves the small differences, bfloat16 does not."""
    model = make_model()
    assert agreement(model, InferenceEncoder(model)) >= 0.9998
    spoiled = copy.deepcopy(model)
    with torch.no_grad():
        spoiled.backbone.encoder.layer[1].output.dense.bias += 3000.0
    assert agreement(spoiled, InferenceEncoder(spoiled)) < 0.9998
    broken = copy.deepcopy(model)
    torch.nn.init.constant_(broken.backbone.encoder.layer[0].output.dense.bias, float("nan"))
    assert agreement(broken, InferenceEncoder(broken)) < 0.9998


def test_families_of_another_build_keep_the_plain_path():
    backbone = {"model_type": "modernbert", "vocab_size": 50, "hidden_size": 32, "num_hidden_layers": 1}
    backbone |= {"num_attention_heads": 2, "intermediate_size": 32, "pad_token_id": 1, "cls_token_id": 2}
    model = MLCModel(MLCConfig(backbone=backbone)).eval()
    assert model.supports_packing
    assert not inference.supported(model)
