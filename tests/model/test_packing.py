"""Packed equals one by one: vectors, token states and gradients."""

from __future__ import annotations

import pytest
import torch

from mlcl.model import packing
from mlcl.model.blocks import Blocks
from mlcl.model.config import POOLING_NAMES, MLCConfig
from mlcl.model.model import MLCModel

FAMILIES = ["xlm-roberta", "roberta", "camembert", "bert", "modernbert"]


def tiny(model_type: str = "xlm-roberta", **options) -> MLCModel:
    torch.manual_seed(0)
    backbone = {
        "model_type": model_type,
        "vocab_size": 120,
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "intermediate_size": 48,
        "max_position_embeddings": 70,
        "pad_token_id": 1,
    }
    if model_type == "modernbert":  # a window shorter than some sentences, in every second layer
        backbone |= {"local_attention": 12, "global_attn_every_n_layers": 2, "cls_token_id": 2, "sep_token_id": 3}
    return MLCModel(MLCConfig(backbone=backbone, **options))


@pytest.fixture
def sentences() -> list[torch.Tensor]:
    torch.manual_seed(1)
    return [torch.randint(4, 120, (length,)) for length in [5, 2, 17, 5, 40, 1, 2, 33, 5]]


@pytest.mark.parametrize(
    ("model_type", "pooling"),
    [(family, name) for family in FAMILIES for name in POOLING_NAMES if (family, name) != ("modernbert", "pooler")],
)
def test_packed_equals_one_by_one(model_type, pooling, sentences):
    model = tiny(model_type, pooling=pooling, proj_size=12).train()
    assert model.supports_packing
    packed = packing.pack(sentences)
    results = []
    for vectors in (
        packed.restore(model.forward_packed(packed.input_ids, packed.lengths).embeddings),
        torch.cat([model(sentence[None]).embeddings for sentence in sentences]),
    ):
        model.zero_grad()
        vectors.square().sum().backward()
        gradients = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
        results.append((vectors.detach(), gradients))
    (fast, fast_gradients), (slow, slow_gradients) = results
    torch.testing.assert_close(fast, slow, rtol=1e-5, atol=1e-6)
    assert fast_gradients.keys() == slow_gradients.keys()
    scale = max(gradient.abs().max() for gradient in slow_gradients.values())
    for name, gradient in slow_gradients.items():
        assert (fast_gradients[name] - gradient).abs().max() <= 1e-5 * scale, name


@pytest.mark.parametrize("model_type", FAMILIES)
def test_padded_equals_packed(model_type, sentences):
    model = tiny(model_type).eval()
    packed = packing.pack(sentences)
    ids, mask = packing.pad(packed.input_ids, packed.lengths, 1)
    padded, stream = model(ids, mask), model(packed.input_ids, lengths=packed.lengths)
    torch.testing.assert_close(padded.embeddings, stream.embeddings, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(padded.last_hidden_state[mask.bool()], stream.last_hidden_state, rtol=1e-4, atol=1e-5)


def test_backbones_that_cannot_run_packed_give_the_same_through_padding(sentences):
    model = tiny("xlm-roberta", attention_dropout=0.1).eval()
    packed = packing.pack(sentences)
    expected = model.forward_packed(packed.input_ids, packed.lengths).embeddings
    model.backbone.train()  # dropout elsewhere is 0, attention dropout forbids packing
    model.train()
    assert not model.supports_packing
    assert model.padding_of(packed.lengths) > 0
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    chunked = model.forward_packed(packed.input_ids, packed.lengths).embeddings
    torch.testing.assert_close(chunked, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("change", ["adapter", "hook", "activation"])
def test_layers_that_are_not_plain_run_as_their_modules(change, sentences):
    model = tiny().eval()
    layer = model.backbone.encoder.layer[1]
    calls = []
    if change == "adapter":  # as peft does it

        class Adapter(torch.nn.Linear):
            def forward(self, states):
                calls.append(1)
                return super().forward(states) * 2

        layer.attention.self.query = Adapter(32, 32)
    elif change == "hook":
        layer.output.register_forward_hook(lambda *_: calls.append(1))
    else:

        class Relu(torch.nn.ReLU):
            def forward(self, states):
                calls.append(1)
                return super().forward(states)

        layer.intermediate.intermediate_act_fn = Relu()
    packed = packing.pack(sentences)
    vectors = packed.restore(model.forward_packed(packed.input_ids, packed.lengths).embeddings)
    assert calls
    torch.testing.assert_close(vectors, torch.cat([model(sentence[None]).embeddings for sentence in sentences]))


def test_layers_as_one_function_equal_the_modules_in_bfloat16(sentences, monkeypatch):
    model = tiny().train()
    packed = packing.pack(sentences)
    found = []
    for plain in (True, False):
        monkeypatch.setattr(MLCModel, "_has_plain_layers", lambda self, device, plain=plain: plain)
        model.zero_grad()
        with torch.autocast("cpu", torch.bfloat16):
            vectors = model.forward_packed(packed.input_ids, packed.lengths).embeddings
        vectors.float().square().sum().backward()
        found.append((vectors.detach(), {name: p.grad for name, p in model.named_parameters() if p.grad is not None}))
    (ours, our_gradients), (theirs, their_gradients) = found
    assert torch.cosine_similarity(ours, theirs).min() > 0.9995
    assert our_gradients.keys() == their_gradients.keys()
    scale = max(gradient.norm() for gradient in their_gradients.values())
    for name, gradient in their_gradients.items():
        assert (our_gradients[name] - gradient).norm() <= 0.03 * max(gradient.norm(), 0.01 * scale), name


def test_blocks_lose_nothing_and_gather_what_belongs_together(sentences):
    lengths = torch.tensor([len(sentence) for sentence in sentences])  # not sorted
    blocks = Blocks(lengths, heads=2, device=torch.device("cpu"))
    stream = torch.arange(int(lengths.sum()) * 3 * 2 * 5).view(-1, 3, 2, 5)
    blocked = blocks.gather(stream)
    assert torch.equal(blocks.scatter(blocked), stream)
    first, block = blocked[1], next(iter(blocks))
    count, heads, length = block.shape
    assert torch.equal(
        first[block.rows].view(count, heads, length, 5)[1, 1, :2], stream[5:7, 1, 1]
    )  # the sentence of 2


def test_bf16_packed_is_close_to_fp32(sentences):
    model = tiny().train()
    packed = packing.pack(sentences)
    exact = model.forward_packed(packed.input_ids, packed.lengths).embeddings
    with torch.autocast("cpu", torch.bfloat16):
        rough = model.forward_packed(packed.input_ids, packed.lengths).embeddings
    assert torch.cosine_similarity(exact, rough).min() > 0.999
    rough.sum().backward()


def test_pack_sorts_and_restores(sentences):
    packed = packing.pack(sentences)
    assert packed.lengths.tolist() == sorted(len(sentence) for sentence in sentences)
    rows = torch.arange(len(sentences))[packed.order]
    assert packed.restore(rows).tolist() == list(range(len(sentences)))
    assert packing.positions(torch.tensor([1, 3])).tolist() == [0, 0, 1, 2]
    assert packing.equal_runs(torch.tensor([2, 2, 5])) == [(0, 2, 2), (4, 1, 5)]


def test_chunks_respect_the_token_budget(sentences):
    packed = packing.pack(sentences)
    parts = list(packing.chunks(packed.input_ids, packed.lengths, 40))
    assert torch.equal(torch.cat([ids for ids, _ in parts]), packed.input_ids)
    assert torch.equal(torch.cat([lengths for _, lengths in parts]), packed.lengths)
    assert all(len(lengths) == 1 or len(lengths) * int(lengths.max()) <= 40 for _, lengths in parts)


@pytest.mark.parametrize("pooling", ["mean", "cls", "max"])
def test_a_row_of_padding_is_zero_and_disturbs_nothing(pooling, sentences):
    model = tiny(pooling=pooling).train()
    ids, mask = packing.pad(torch.cat(sentences[:3]), torch.tensor([5, 2, 17]), 1)
    alone = model(ids[[0, 2]], mask[[0, 2]]).embeddings
    mask[1] = 0
    vectors = model(ids, mask).embeddings
    assert not vectors[1].any()
    torch.testing.assert_close(vectors[[0, 2]], alone, rtol=1e-5, atol=1e-6)
    vectors.sum().backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in model.parameters())


def test_a_sentence_beyond_the_positions_is_refused():
    model = tiny()
    with pytest.raises(ValueError, match="not 1 to 68"):
        model.forward_packed(torch.zeros(69, dtype=torch.long), torch.tensor([69]))


def test_nothing_to_pack_is_refused():
    with pytest.raises(ValueError, match="at least one"):
        packing.pack([])
    with pytest.raises(ValueError, match="at least one"):
        packing.pack([[1], []])
