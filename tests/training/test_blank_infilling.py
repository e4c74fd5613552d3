"""Blank infilling of a decoder: inputs by hand, who sees whom, the loss against a slow twin, and that it is learnt."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

from backbones import CHECKPOINTS, checkpoint, tokenizer
from mlcl.core.errors import UserError
from mlcl.model.attention import PackedLengths, _flash_attention
from mlcl.model.backbones import family_of
from mlcl.model.blocks import Blocks, attend
from mlcl.model.config import MLCConfig
from mlcl.model.model import MLCModel
from mlcl.training.arguments import MLCTrainingArguments
from mlcl.training.batching import make_batch
from mlcl.training.corruption import Blanks, NextToken, corruption_for
from mlcl.training.forward import _prefix, attach, encode

SPECIAL, BLANK, OPEN, CLOSE = (0, 1, 2, 3, 4), 4, 46, 47
SENTENCES = st.lists(st.integers(5, 45), min_size=0, max_size=40).map(lambda ids: np.array([0, *ids, 2]))
DECODERS = [name for name, (kind, _) in CHECKPOINTS.items() if kind == "AutoModelForCausalLM"]


def decoder(model_type: str = "llama", **settings) -> MLCModel:
    """Weights that are large enough to tell tokens apart."""
    torch.manual_seed(0)
    backbone = {"vocab_size": 49, **CHECKPOINTS[model_type][1], "model_type": model_type}
    model = MLCModel(MLCConfig(backbone=backbone, **settings)).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    attach(model)
    return model


def by_hand(ids: np.ndarray) -> tuple[list[int], list[int], int]:
    """Inputs, labels and the length of the first part for c d and g hidden."""
    a, b, c, d, e, f, g, h = ids.tolist()
    first = [a, b, BLANK, e, f, BLANK, h]
    return [*first, OPEN, c, d, OPEN, g], [c, d, CLOSE, g, CLOSE], len(first)


@given(SENTENCES, st.integers(0, 1000), st.floats(0.05, 0.95))
def test_what_is_written_put_back_into_the_blanks_gives_the_sentence(ids, seed, probability):
    corruption = Blanks(SPECIAL, BLANK, OPEN, CLOSE, probability)
    inputs, places, labels = corruption.corrupt(ids, np.random.default_rng(seed))
    free = len(ids) - 2
    if free < 2:
        assert np.array_equal(inputs, ids)
        assert len(labels) == 0
        return
    first, second = inputs[: places[0]], inputs[places[0] :]
    assert np.array_equal(places, np.arange(places[0], len(inputs)))
    # In the second part each place predicts the next token, and the last one of a span what closes it.
    goes_on = second[1:] != OPEN
    assert np.array_equal(labels[:-1][goes_on], second[1:][goes_on])
    assert (labels[np.append(~goes_on, True)] == CLOSE).all()
    spans = [span.tolist() for span in np.split(second, np.flatnonzero(second == OPEN))[1:]]
    restored, waiting = [], iter(spans)
    for token in first.tolist():
        restored += next(waiting)[1:] if token == BLANK else [token]
    assert restored == ids.tolist()
    assert list(waiting) == []
    hidden = sum(len(span) - 1 for span in spans)
    assert 1 <= hidden <= max(1, round(free * probability)) < max(2, free + 1)
    assert [ids[0], ids[-1]] == [first[0], first[-1]]  # special tokens stay in the first part
    assert not (np.diff(np.flatnonzero(first == BLANK)) == 1).any()  # hidden neighbours are one blank


@given(st.integers(4, 300), st.floats(0.01, 0.99), st.integers(0, 1000))
def test_no_input_is_longer_than_the_model_reaches(reach, probability, seed):
    longest = Blanks.longest_sentence(reach, probability)
    ids = np.arange(100, 100 + longest)
    corruption = Blanks((), BLANK, OPEN, CLOSE, probability)
    assert len(corruption.corrupt(ids, np.random.default_rng(seed)).inputs) <= reach


def test_spans_have_glms_share_and_mean_length():
    corruption, rng = Blanks(SPECIAL, BLANK, OPEN, CLOSE, 0.15), np.random.default_rng(0)
    examples = [corruption.corrupt(np.arange(100, 300), rng) for _ in range(100)]
    blanks = sum(int((example.inputs == BLANK).sum()) for example in examples)
    hidden = sum(len(example.labels) for example in examples) - blanks
    assert hidden == pytest.approx(0.15 * 200 * 100, rel=0.02)
    assert hidden / blanks == pytest.approx(3.2, abs=0.3)  # Poisson of mean 3, no span empty; some meet


def test_a_share_of_the_sentences_predicts_the_next_token():
    ids = np.arange(100, 120)
    corruption, rng = Blanks((), BLANK, OPEN, CLOSE, 0.15, share=0.25), np.random.default_rng(0)
    examples = [corruption.corrupt(ids, rng) for _ in range(1000)]
    plain = NextToken(()).corrupt(ids, np.random.default_rng(0))
    causal = [example for example in examples if example.places[0] == 0]
    assert 0.7 < len(causal) / len(examples) < 0.8
    for example in causal:
        assert all(np.array_equal(mine, its) for mine, its in zip(example, plain, strict=True))


def test_inputs_and_labels_by_hand(monkeypatch):
    ids = np.array([11, 12, 13, 14, 15, 16, 17, 2])
    hidden = np.isin(np.arange(8), [2, 3, 6])
    monkeypatch.setattr("mlcl.training.corruption.hide", lambda *args: hidden)
    example = Blanks(SPECIAL, BLANK, OPEN, CLOSE).corrupt(ids, np.random.default_rng(0))
    inputs, labels, first = by_hand(ids)
    assert example.inputs.tolist() == inputs == [11, 12, BLANK, 15, 16, BLANK, 2, OPEN, 13, 14, OPEN, 17]
    assert example.labels.tolist() == labels
    assert example.places.tolist() == list(range(first, len(inputs)))


def test_the_prefix_of_each_kind_of_sentence():
    lengths = torch.tensor([3, 4, 6, 8])
    masked = torch.tensor([3, 4, 5, 7 + 4, 7 + 5])  # the next token in the second; a part from place 4 in the third
    assert _prefix(lengths, masked, both_directions=False).tolist() == [0, 0, 4, 0]
    assert _prefix(lengths, masked, both_directions=True).tolist() == [3, 0, 4, 8]
    assert _prefix(lengths, masked[:0], both_directions=True).tolist() == lengths.tolist()


def batch_of(ids: np.ndarray, pairs: list[np.ndarray] | None = None):
    """A batch whose LM sentence is `ids`, with c d and g hidden."""
    inputs, labels, first = by_hand(ids)

    class Given(Blanks):
        def corrupt(self, ids, rng):
            from mlcl.training.corruption import Example

            return Example(np.array(inputs), np.arange(first, len(inputs)), np.array(labels))

    pairs = pairs or []
    given = Given(SPECIAL, BLANK, OPEN, CLOSE)
    return make_batch(pairs, pairs, lm=[ids], masking=given, rng=np.random.default_rng(0))


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("model_type", DECODERS)
def test_nothing_that_is_predicted_is_seen(model_type, packed, bidirectional):
    """A token of a span moves what comes after it in the second part, and nothing else."""
    model = decoder(model_type, bidirectional=bidirectional)
    if not packed:
        model.backbone.config._attn_implementation = "sdpa"
        assert not model.supports_packing
    ids = np.array([11, 12, 13, 14, 15, 16, 17, 2])
    states = model_states(model, ids)
    first = 7
    for place, earlier in ((3, [7, 8]), (2, [7]), (6, [7, 8, 9, 10])):  # d, c, g
        other = ids.copy()
        other[place] += 20
        moved = (model_states(model, other) - states).abs().amax(1) > 1e-4
        assert not moved[:first].any()  # the first part has a blank there
        assert not moved[earlier].any()
        assert moved[max(earlier) + 1 :].all()
    other = ids.copy()
    other[4] += 20  # e, which the text keeps: all see it, also what stands before it
    assert ((model_states(model, other) - states).abs().amax(1) > 1e-4).all()


def model_states(model: MLCModel, ids: np.ndarray) -> torch.Tensor:
    """(L, H) states of the blank infilling of a sentence, as the step computes them."""
    batch = batch_of(ids)
    prefix = _prefix(batch.online.lengths, batch.masked, both_directions=model.config.bidirectional)
    with torch.no_grad():
        return model.forward_packed(batch.online.input_ids, batch.online.lengths, prefix).last_hidden_state


def slow_loss(model: MLCModel, corruption, sentences: list[np.ndarray], seed: int) -> torch.Tensor:
    """One label at a time: transformers' own model on what comes up to its place, with a mask written by loops."""
    rng, total = np.random.default_rng(seed), torch.zeros(())
    for sentence in sentences:
        inputs, places, labels = corruption.corrupt(sentence, rng)
        for place, label in zip(places.tolist(), labels.tolist(), strict=True):
            length, first = place + 1, int(places[0])
            mask = torch.zeros(1, 1, length, length, dtype=torch.bool)
            for row in range(length):
                for column in range(length):
                    mask[0, 0, row, column] = column <= row or column < first
            options = {"position_ids": torch.arange(length)[None], "use_cache": False}
            ids = torch.from_numpy(inputs[:length])[None]
            state = model.backbone(input_ids=ids, attention_mask=mask, **options).last_hidden_state[0, -1]
            total = total + F.cross_entropy(model.output_matrix @ state, torch.tensor(label))
    return total


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("model_type", DECODERS)
def test_the_term_and_its_gradients_are_those_of_one_label_at_a_time(model_type, bidirectional):
    model, rng = decoder(model_type, bidirectional=bidirectional), np.random.default_rng(1)
    sentences = [np.array([*rng.integers(13, 46, length), 2]) for length in (3, 9, 5, 14)]
    corruption = Blanks(SPECIAL, BLANK, OPEN, CLOSE, 0.3, share=0.7)
    batch = make_batch(sentences[:2], sentences[2:], lm=sentences, masking=corruption, rng=np.random.default_rng(3))
    found = []
    for loss in (
        encode(model, batch.online, batch.masked, batch.labels).lm_sum,
        slow_loss(model, corruption, sentences, 3),
    ):
        model.zero_grad()
        loss.backward()
        found.append((loss.detach(), {name: p.grad.clone() for name, p in model.named_parameters()}))
    (fast, fast_gradients), (slow, slow_gradients) = found
    torch.testing.assert_close(fast, slow, atol=1e-3, rtol=1e-4)
    for name, gradient in slow_gradients.items():
        torch.testing.assert_close(fast_gradients[name], gradient, atol=2e-3, rtol=1e-3, msg=name)


def test_sentences_of_the_contrastive_terms_are_read_as_before():
    """Vectors do not depend on what the LM term reads beside them."""
    ids, pairs = np.array([11, 12, 13, 14, 15, 16, 17, 2]), [np.array([20, 21, 22, 2]), np.array([30, 31, 2])]
    for bidirectional in (False, True):
        model = decoder(bidirectional=bidirectional)
        batch = batch_of(ids, pairs)
        found = encode(model, batch.online, batch.masked, batch.labels).embeddings
        alone = make_batch(pairs, pairs).online
        expected = model.forward_packed(alone.input_ids, alone.lengths).embeddings
        torch.testing.assert_close(batch.online.restore(found)[:4], alone.restore(expected))


@pytest.mark.parametrize("window", [None, 3])
def test_the_calls_of_a_variable_length_kernel_are_the_attention_of_the_blocks(window, monkeypatch):
    """With a kernel in plain torch that is aligned at the last query, as flash attention is."""

    def kernel(query, key, value, cu_q, cu_k, max_q, max_k, *, scale, window_size):
        rows = []
        assert (max_q, max_k) == (int(cu_q.diff().max()), int(cu_k.diff().max()))
        for (q0, q1), (k0, k1) in zip(cu_q.unfold(0, 2, 1).tolist(), cu_k.unfold(0, 2, 1).tolist(), strict=True):
            q, k, v = (part.transpose(0, 1) for part in (query[q0:q1], key[k0:k1], value[k0:k1]))
            at = (
                torch.arange(q1 - q0)[:, None] + (k1 - k0) - (q1 - q0) - torch.arange(k1 - k0)
            )  # keys back from a query
            back, ahead = (10**6 if side < 0 else side for side in window_size)
            scores = (q @ k.transpose(1, 2) * scale).masked_fill((at > back) | (at < -ahead), -torch.inf)
            rows.append((scores.softmax(-1) @ v).transpose(0, 1))
        return torch.cat(rows)

    monkeypatch.setattr("torch.nn.attention.varlen.varlen_attn", kernel)
    lengths = torch.tensor([4, 6, 6, 9, 1])
    torch.manual_seed(0)
    stream = torch.randn(26, 3, 2, 8)
    for prefix in (None, torch.zeros(5).long(), lengths, torch.tensor([0, 6, 2, 5, 1]), torch.tensor([9, 0, 6, 8, 0])):
        state = PackedLengths(lengths, prefix)
        found = _flash_attention(list(stream.unbind(1)), state, 0.4, window)
        blocks = Blocks(lengths, 2, torch.device("cpu"), prefix=prefix)
        output, _ = attend(blocks.gather(stream), blocks, 0.4, window)
        torch.testing.assert_close(found, blocks.scatter(output[None])[:, 0])


def test_a_decoder_learns_to_fill_blanks(tmp_path):
    """Sentences that count upwards: what a blank hides follows from both of its sides."""
    model = decoder().train()
    for parameter in model.parameters():
        if parameter.dim() > 1:
            torch.nn.init.normal_(parameter, std=0.1)
        else:
            torch.nn.init.ones_(parameter)
    corruption, rng = Blanks(SPECIAL, BLANK, OPEN, CLOSE, 0.2), np.random.default_rng(0)
    optimizer, losses = torch.optim.AdamW(model.parameters(), lr=1e-2), []
    for _ in range(60):
        starts = rng.integers(6, 30, 16)
        sentences = [np.arange(start, start + 10) for start in starts]
        batch = make_batch([], [], lm=sentences, masking=corruption, rng=rng)
        loss = encode(model, batch.online, batch.masked, batch.labels).lm_sum / len(batch.labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert np.mean(losses[-5:]) < 0.5 * np.mean(losses[:5])


def test_the_tokens_that_a_tokenizer_has_for_it():
    plain = tokenizer("llama")
    with pytest.raises(UserError, match=r"stands for a blank.*training\.blank_token"):
        corruption_for(family_of("llama"), plain, 0.15, blank_share=1.0)
    with pytest.raises(UserError, match="'<hole>' is no token"):
        corruption_for(family_of("llama"), plain, 0.15, blank_share=1.0, blank_token="<hole>")
    named = corruption_for(family_of("llama"), plain, 0.15, blank_share=0.5, blank_token="<extra_id_3>")
    number = plain.get_vocab()["<extra_id_3>"]
    assert (named.blank, named.opening, named.closing) == (number, number, plain.eos_token_id)
    plain.mask_token = "<mask>"
    assert corruption_for(family_of("llama"), plain, 0.15, blank_share=1.0).blank == plain.mask_token_id
    plain.add_tokens(["[MASK]", "<sop>", "<eop>"], special_tokens=True)
    plain.mask_token = None
    glm = corruption_for(family_of("glm4"), plain, 0.3, blank_share=0.5)
    assert plain.convert_ids_to_tokens([glm.blank, glm.opening, glm.closing]) == ["[MASK]", "<sop>", "<eop>"]
    assert (glm.probability, glm.share) == (0.3, 0.5)
    plain = tokenizer("llama")
    plain.eos_token = None
    with pytest.raises(UserError, match="end token"):
        corruption_for(family_of("llama"), plain, 0.15, blank_share=1.0, blank_token="<mask>")


@pytest.mark.parametrize(("model_type", "term"), [("bert", "masked tokens"), ("t5", "span"), ("mbart", "infilling")])
def test_blanks_are_for_decoders(model_type, term):
    with pytest.raises(UserError, match=f"for decoders, and the LM term of this backbone is .*{term}"):
        corruption_for(family_of(model_type), tokenizer(model_type), 0.15, blank_share=0.5)


def test_the_settings_leave_room_for_what_is_written(tmp_path):
    arguments = {"output_dir": str(tmp_path), "report_to": "none", "max_length": 500}
    with pytest.raises(UserError, match="blank_share is 1.5, it must be in"):
        MLCTrainingArguments(**arguments, blank_share=1.5)
    with pytest.raises(UserError, match="blank_token is '<mask>', but there are no blanks"):
        MLCTrainingArguments(**arguments, blank_token="<mask>")
    assert MLCTrainingArguments(**arguments).longest_sentence(500, 80) == 40  # two fit: TLM
    args = MLCTrainingArguments(**arguments, blank_share=0.5)
    assert args.longest_sentence(500, 80) == Blanks.longest_sentence(80, 0.15) // 2 == 30
    assert MLCTrainingArguments(**arguments, blank_share=0.5, lm_weight=0.0).longest_sentence(500, 80) == 80
    assert MLCTrainingArguments(**args.to_dict() | {"output_dir": str(tmp_path)}).blank_share == 0.5


def test_pretrain_with_blanks_ends_in_a_model_and_a_mistake_before_any_work(tiny_corpus, tmp_path):
    import json
    from dataclasses import replace

    from mlcl.model.encoder import Encoder
    from mlcl.stages import pretrain

    training = {
        "per_device_train_batch_size": 16, "max_steps": 30, "learning_rate": 5e-3, "lm_share": 0.5, "max_length": 32,
        "eval_strategy": "no", "save_strategy": "no", "report_to": "none", "blank_share": 0.8,
    }  # fmt: skip
    config = pretrain.Config(
        corpus=str(tiny_corpus),
        out=str(tmp_path / "run"),
        model={"model_name": str(checkpoint("glm4", tmp_path / "start")), "bidirectional": True},
        sampling=pretrain.SamplingSettings(dev_groups=20),
        training=training,
    )
    with pytest.raises(UserError, match=r"training\.blank_token"):
        pretrain.run(config)
    assert not list((tmp_path / "run").glob("*tokens*"))
    named = {**training, "blank_token": "<mask>", "mini_batch_tokens": 60}
    pretrain.run(replace(config, training=named, overwrite=True))
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    logged = [line["lm"] for line in lines if "lm" in line]
    assert logged[-1] < logged[0]
    assert Encoder.from_pretrained(tmp_path / "run" / "model", device="cpu").encode(["the cat"]).shape == (1, 32)
    settings = json.loads((tmp_path / "run" / "settings.json").read_text())
    assert (settings["training"]["blank_share"], settings["training"]["blank_token"]) == (0.8, "<mask>")
