"""What the families decide: who sees whom, the LM term against transformers' own loss, adapters, and mistakes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional as F

import steps
from backbones import CHECKPOINTS, checkpoint, tokenizer
from mlcl.core.errors import UserError
from mlcl.model.backbones import family_of
from mlcl.model.config import MLCConfig
from mlcl.model.language_model import language_model
from mlcl.model.model import MLCModel
from mlcl.model.packing import pack
from mlcl.training import grad_cache
from mlcl.training.batching import make_batch
from mlcl.training.corruption import corruption_for
from mlcl.training.forward import attach, encode

DECODERS = [name for name, (kind, _) in CHECKPOINTS.items() if kind == "AutoModelForCausalLM"]
WITH_LM = [name for name in CHECKPOINTS if name not in ("modernbert", "electra")]
LENGTHS = [3, 9, 5, 5, 14]


def fresh(model_type: str, std: float = 0.2, **settings) -> MLCModel:
    """A model of one family with weights that are large enough to tell tokens apart."""
    torch.manual_seed(0)
    backbone = {"vocab_size": 49, **CHECKPOINTS[model_type][1], "model_type": model_type}
    model = MLCModel(MLCConfig(backbone=backbone, **settings)).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=std)
    return model


def sentences(seed: int = 0) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [np.array([*rng.integers(13, 49, length), 2]) for length in LENGTHS]


def each_alone(model: MLCModel, texts: list[np.ndarray], prefix: torch.Tensor | None = None) -> torch.Tensor:
    """States (T, H) in packed order, every sentence by a padded forward of its own."""
    packed = pack(texts)
    prefixes = [None] * len(texts) if prefix is None else list(prefix[:, None])
    rows = zip(packed.input_ids.split(packed.lengths.tolist()), prefixes, strict=True)
    return torch.cat([model(ids[None], prefix=seen).last_hidden_state[0] for ids, seen in rows])


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("model_type", DECODERS)
def test_later_tokens_change_earlier_states_only_if_bidirectional(model_type, bidirectional):
    model, (text, *_) = fresh(model_type, bidirectional=bidirectional), sentences()[1:]
    other = np.array([*text[:-1], 20 + text[-1]])
    for run in (
        lambda ids: model(torch.from_numpy(ids)[None]).last_hidden_state[0],  # a full batch: no mask at all
        lambda ids: model(*(x for x in padded(ids))).last_hidden_state[0],
        lambda ids: model.forward_packed(torch.from_numpy(ids), torch.tensor([len(ids)])).last_hidden_state,
    ):
        moved = (run(text) - run(other))[: len(text) - 1].abs().max()
        assert (moved > 1e-3) == bidirectional


def padded(ids: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
    row = F.pad(torch.from_numpy(ids), (0, 2))[None]
    return row, torch.tensor([[1] * len(ids) + [0, 0]])


@pytest.mark.parametrize("model_type", DECODERS)
@pytest.mark.parametrize("bidirectional", [False, True])
def test_packed_equals_one_by_one_whatever_part_of_a_sentence_is_read_in_both_directions(model_type, bidirectional):
    model, packed = fresh(model_type, bidirectional=bidirectional), pack(sentences())
    assert model.supports_packing
    zero, whole = torch.zeros_like(packed.lengths), packed.lengths
    for prefix in (None, zero, whole, torch.tensor([0, 6, 3, 10, 1]), torch.tensor([4, 0, 6, 10, 2])):
        expected = each_alone(model, sentences(), prefix)
        states = model.forward_packed(packed.input_ids, packed.lengths, prefix).last_hidden_state
        torch.testing.assert_close(states, expected, atol=2e-5, rtol=1e-4)
        chunked = model._forward_chunks(packed.input_ids, packed.lengths, prefix).last_hidden_state
        torch.testing.assert_close(chunked, expected, atol=2e-5, rtol=1e-4)
        if prefix is zero or prefix is whole:  # the two kinds of attention that transformers has itself
            model.config.bidirectional = prefix is whole
            same = model.forward_packed(packed.input_ids, packed.lengths).last_hidden_state
            torch.testing.assert_close(states, same, atol=2e-5, rtol=1e-4)
            model.config.bidirectional = bidirectional


@pytest.mark.parametrize("model_type", WITH_LM)
def test_the_lm_term_is_the_loss_of_transformers_and_reaches_every_weight(model_type):
    model = fresh(model_type, bidirectional=model_type == "glm4")
    corruption = corruption_for(model.family, words_of(model_type), 0.4)
    pairs, lm = sentences()[:4], sentences(1)
    batch = make_batch(pairs[:2], pairs[2:], lm=lm, masking=corruption, rng=np.random.default_rng(3))
    attach(model)
    encoded = encode(model, batch.online, batch.masked, batch.labels)

    whole, rng, expected = language_model(model), np.random.default_rng(3), 0.0
    for text in lm:
        example = corruption.corrupt(text, rng)
        ids, labels = torch.as_tensor(example.inputs)[None], torch.from_numpy(example.labels)
        if whole.config.is_encoder_decoder:
            expected += whole(input_ids=ids, labels=labels[None]).loss * len(labels)
        else:
            logits = whole(input_ids=ids).logits[0][torch.from_numpy(example.places)]
            expected += F.cross_entropy(logits, labels, reduction="sum")
    torch.testing.assert_close(encoded.lm_sum, expected, atol=1e-3, rtol=1e-4)

    for masked, labels in ((batch.masked, batch.labels), (batch.masked[:0], batch.labels[:0])):  # ranks without any
        model.zero_grad(set_to_none=True)
        encoded = encode(model, batch.online, masked, labels)
        (encoded.lm_sum + encoded.embeddings.sum()).backward()
        assert [name for name, parameter in model.named_parameters() if parameter.grad is None] == []


@pytest.mark.parametrize("model_type", CHECKPOINTS)
def test_a_step_in_bfloat16_is_close_to_one_in_float32(model_type):
    """On any CPU, whether bfloat16 pays there or not: queries may then be float32 beside values in bfloat16."""
    model, found, packed, batch = fresh(model_type, std=0.1), [], pack(sentences()), None
    if model_type in WITH_LM:
        masking = corruption_for(model.family, words_of(model_type), 0.4)
        batch = make_batch([], [], lm=sentences(1), masking=masking, rng=np.random.default_rng(3))
        attach(model)
    for enabled in (False, True):
        model.zero_grad(set_to_none=True)
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            vectors = [model.forward_packed(packed.input_ids, packed.lengths).embeddings]
            vectors.append(model(*padded(sentences()[1])).embeddings)
            lm = encode(model, batch.online, batch.masked, batch.labels).lm_sum if batch else torch.zeros(())
        (lm + sum(part.sum() for part in vectors)).backward()
        assert all(p.grad is None or bool(p.grad.isfinite().all()) for p in model.parameters())
        found.append((torch.cat(vectors).detach().float(), float(lm.detach())))
    (exact, exact_lm), (rough, rough_lm) = found
    assert torch.cosine_similarity(exact, rough).min() > 0.99
    assert rough_lm == pytest.approx(exact_lm, rel=0.02)


def words_of(model_type: str):
    words = tokenizer(model_type)
    assert len(words) == 49
    return words


@pytest.mark.parametrize("model_type", ["mt5", "mbart", "glm"])
def test_gradient_caching_has_the_gradients_of_the_whole_batch(model_type, tmp_path):
    model = fresh(model_type, bidirectional=model_type == "glm")
    attach(model)
    objective = steps.objective_for(model, tmp_path, queue_size=0, learnable_temperature=False)
    corruption, texts = corruption_for(model.family, words_of(model_type), 0.4), sentences()
    batch = make_batch(texts[:2], texts[2:4], lm=sentences(1), masking=corruption, rng=np.random.default_rng(0))
    found = []
    for tokens in (None, 16):
        model.zero_grad(set_to_none=True)
        if tokens is None:
            objective.total(objective.terms(model, batch)).backward()
        else:
            grad_cache.cached_step(objective, model, batch, tokens)
        found.append({name: parameter.grad.clone() for name, parameter in model.named_parameters()})
    for name, gradient in found[0].items():
        torch.testing.assert_close(found[1][name], gradient, atol=1e-4, rtol=1e-3, msg=name)


@pytest.mark.parametrize("model_type", [*DECODERS, "t5", "mt5", "umt5", "mbart"])
def test_a_checkpoint_comes_back_as_it_was(model_type, tmp_path):
    """Taken apart, saved, loaded and put together again, the language model writes the same logits and generates."""
    import transformers

    kind = getattr(transformers, CHECKPOINTS[model_type][0])
    start = kind.from_pretrained(checkpoint(model_type, tmp_path / "start")).eval()
    if start.config.is_encoder_decoder:  # an output matrix of its own, as published ones have it
        start.lm_head.weight = torch.nn.Parameter(torch.randn_like(start.lm_head.weight))
        start.save_pretrained(tmp_path / "start")
        start = kind.from_pretrained(tmp_path / "start").eval()
    MLCModel(MLCConfig(model_name=str(tmp_path / "start"))).save_pretrained(tmp_path / "ours")
    again = language_model(tmp_path / "ours")
    ids = torch.tensor([[14, 20, 31, 2]])
    inputs = {"input_ids": ids, **({"decoder_input_ids": ids} if start.config.is_encoder_decoder else {})}
    torch.testing.assert_close(again(**inputs).logits, start(**inputs).logits)
    assert again.generate(ids, max_new_tokens=3, min_new_tokens=3, do_sample=False).shape[1] >= 3
    again.save_pretrained(tmp_path / "whole")
    torch.testing.assert_close(kind.from_pretrained(tmp_path / "whole").eval()(**inputs).logits, again(**inputs).logits)


@pytest.mark.parametrize("model_type", ["bert", "qwen2", "glm", "mt5", "mbart"])
def test_a_trained_model_is_a_start_too_with_its_language_model(model_type, tmp_path):
    first = fresh(model_type, proj_size=8)
    first.save_pretrained(tmp_path)
    second = MLCModel(MLCConfig(model_name=str(tmp_path)))
    expected = {name: weight for name, weight in first.state_dict().items() if not name.startswith("projection")}
    assert expected.keys() == second.state_dict().keys()
    assert [name for name, weight in second.state_dict().items() if not torch.equal(weight, expected[name])] == []


@pytest.mark.parametrize("model_type", ["llama", "mt5", "xlm-roberta"])
def test_adapters_train_alone_are_saved_as_they_are_and_merge_into_the_same_vectors(model_type, tmp_path):
    pytest.importorskip("peft")
    model = MLCModel(
        MLCConfig(model_name=str(checkpoint(model_type, tmp_path / "start")), lora={"rank": 2}, proj_size=8)
    ).eval()
    plain = MLCModel(MLCConfig(model_name=str(tmp_path / "start"))).eval()
    packed = pack(sentences())
    states = lambda model: model.forward_packed(packed.input_ids, packed.lengths).last_hidden_state  # noqa: E731
    torch.testing.assert_close(states(model), states(plain))  # fresh adapters change nothing
    trainable = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert any("lora_" in name for name in trainable)
    fresh_parts = ("projection",) if model_type != "xlm-roberta" else ("projection", "lm_head")
    assert all("lora_" in name or name.startswith(fresh_parts) for name in trainable)
    for name, parameter in model.named_parameters():
        if "lora_" in name:
            torch.nn.init.normal_(parameter, std=0.1)
    model.save_pretrained(tmp_path / "adapters")
    torch.testing.assert_close(states(MLCModel.from_pretrained(tmp_path / "adapters").eval()), states(model))
    before = states(model)
    assert (before - states(plain)).abs().max() > 1e-3
    model.merge_lora()
    assert not any("lora_" in name for name in model.state_dict())
    torch.testing.assert_close(states(model), before, atol=1e-5, rtol=1e-4)
    model.save_pretrained(tmp_path / "merged")
    assert (tmp_path / "merged" / "modules.json").is_file()
    assert not (tmp_path / "adapters" / "modules.json").exists()
    torch.testing.assert_close(states(MLCModel.from_pretrained(tmp_path / "merged").eval()), states(model))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"pooling": "cls"}, "the first token sees no other"),
        ({"pooling": "pooler"}, "a llama backbone has none"),
        ({"lora": {"targets": ["query"]}}, "no linear layer 'query'"),
        ({"lora": {"ranks": 4}}, "unknown key lora.ranks"),
        ({"lora": {"rank": 0}}, "lora.rank is 0"),
    ],
)
def test_settings_that_a_decoder_cannot_have(settings, message):
    with pytest.raises(UserError) as error:
        fresh("llama", **settings)
    assert message in str(error.value)


def test_bidirectional_is_for_decoders_and_makes_the_mean_the_default():
    assert MLCConfig().pooling == "mean"
    assert MLCConfig(backbone={"model_type": "llama"}).pooling == "last"
    assert MLCConfig(backbone={"model_type": "llama"}, bidirectional=True).pooling == "mean"
    with pytest.raises(UserError, match="bidirectional is for decoders"):
        MLCConfig(backbone={"model_type": "bert"}, bidirectional=True)


def test_a_decoder_pooled_by_the_mean_is_still_so_after_saving(tmp_path):
    fresh("llama", pooling="mean").save_pretrained(tmp_path)
    assert MLCModel.from_pretrained(tmp_path).config.pooling == "mean"


def test_tokenizers_that_lack_what_the_term_needs():
    words = tokenizer("bert")
    words.mask_token = None
    with pytest.raises(UserError, match="mask token"):
        corruption_for(family_of("bert"), words, 0.15)
    words = tokenizer("llama")
    words.eos_token = None
    with pytest.raises(UserError, match="end token"):
        corruption_for(family_of("t5"), words, 0.15)
    assert corruption_for(family_of("llama"), words, 0.15).special_ids
    with pytest.raises(UserError, match="a tokenizer"):
        corruption_for(family_of("llama"), None, 0.15)


def test_a_tokenizer_without_padding_pads_with_its_end():
    from mlcl.text.tokenizer import with_padding

    words = tokenizer("llama")
    assert words.pad_token is None
    assert with_padding(words).pad_token == "</s>"
    bare = tokenizer("llama")
    bare.eos_token = None
    with pytest.raises(UserError, match="no padding token and no end token"):
        with_padding(bare)
