"""Fewer tokens, and other tokens, for every kind of backbone: same vectors, same language model, ids that still fit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn import functional as F

from mlcl.cli import main
from mlcl.core.errors import UserError
from mlcl.model.config import MLCConfig
from mlcl.model.language_model import language_model
from mlcl.model.model import MLCModel
from mlcl.model.vocabulary import keep_tokens, padding_may_move, replace_tokens, vocabulary_rows
from mlcl.stages._compare import unit_vectors
from mlcl.text.tokenizer import with_padding
from mlcl.text.transplanting import transplant
from mlcl.text.trimming import trim, used_tokens
from mlcl.training.corruption import corruption_for

_DECODER = {
    "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "head_dim": 8, "max_position_embeddings": 80,
}  # fmt: skip
_T5 = {"d_model": 32, "d_kv": 8, "d_ff": 64, "num_layers": 2, "num_heads": 4, "dropout_rate": 0.0}
_MBART = {
    "d_model": 32, "encoder_layers": 2, "decoder_layers": 2, "encoder_attention_heads": 4, "scale_embedding": True,
    "decoder_attention_heads": 4, "encoder_ffn_dim": 64, "decoder_ffn_dim": 64, "max_position_embeddings": 80,
}  # fmt: skip
MODELS: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": ("CausalLM", _DECODER),  # an output matrix of its own
    "qwen3": ("CausalLM", {**_DECODER, "tie_word_embeddings": True}),
    "glm4": ("CausalLM", _DECODER),
    "t5": ("Seq2SeqLM", {**_T5, "tie_word_embeddings": True}),
    "mt5": ("Seq2SeqLM", {**_T5, "tie_word_embeddings": False}),
    "mbart": ("Seq2SeqLM", _MBART),
}
KEPT = ["the cat sees", "sees the old cat", "cat"]
TOO = ["die katze", "der alte hund"]  # whose tokens go
EVERY = pytest.mark.parametrize("model_type", MODELS)


def bytes_tokenizer(words: list[str]) -> Any:
    """Byte-level BPE as published decoders have it: special tokens at the end, padding among them or none."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    pieces, merges = sorted(pre_tokenizers.ByteLevel.alphabet()), []
    for word in dict.fromkeys(f"\u0120{word}" for word in words):
        done = word[0]
        for letter in word[1:]:
            if done + letter not in pieces:
                merges.append((done, letter))
                pieces.append(done + letter)
            done += letter
    made = Tokenizer(models.BPE({piece: place for place, piece in enumerate(pieces)}, merges))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    made.decoder = decoders.ByteLevel()
    made.add_special_tokens(["<bos>", "<end>", "<turn>"])
    end = made.token_to_id("<end>")
    made.post_processor = processors.TemplateProcessing(single="$A <end>", special_tokens=[("<end>", end)])
    return PreTrainedTokenizerFast(
        tokenizer_object=made, bos_token="<bos>", eos_token="<end>", additional_special_tokens=["<turn>"]
    )


def pieces_tokenizer(words: list[str], special: list[str]) -> Any:
    """Unigram, with sentinels as ordinary pieces, as mT5 has them."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    letters = sorted({letter for word in words for letter in f"\u2581{word}"})
    pieces = [*special, *(f"\u2581<extra_id_{n}>" for n in range(3)), *letters, *(f"\u2581{word}" for word in words)]
    scored = [(piece, -8.0 if piece in letters else -4.0) for piece in dict.fromkeys(pieces)]
    made = Tokenizer(models.Unigram(scored, unk_id=special.index("<unk>")))
    made.pre_tokenizer = pre_tokenizers.Metaspace()
    end = ("</s>", special.index("</s>"))
    made.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[end])
    return PreTrainedTokenizerFast(
        tokenizer_object=made, eos_token="</s>", unk_token="<unk>", pad_token="<pad>", mask_token="<mask>"
    )


def words_of(model_type: str, *, other: bool = False) -> Any:
    """The tokenizer of a model, or another one with the same words and other numbers."""
    words = [word for text in [*KEPT, *TOO] for word in text.split()]
    if MODELS[model_type][0] == "CausalLM":
        return bytes_tokenizer(words[::-1] if other else words)
    special = ["<unk>", "<mask>", "</s>", "<pad>"] if other else ["<pad>", "</s>", "<unk>", "<mask>"]
    return pieces_tokenizer(words[::-1] if other else words, special)


def folder_of(model_type: str, folder: Path) -> Path:
    """A checkpoint of transformers with its tokenizer and three spare rows of embeddings."""
    import transformers

    kind, sizes = MODELS[model_type]
    tokenizer = words_of(model_type)
    ids = {"eos_token_id": tokenizer.eos_token_id, "bos_token_id": tokenizer.bos_token_id}
    if kind == "CausalLM":
        ids["eos_token_id"] = [tokenizer.eos_token_id, tokenizer.convert_tokens_to_ids("<turn>")]
        ids["pad_token_id"] = tokenizer.eos_token_id if model_type == "glm4" else None  # as they are published
    else:
        ids |= {"pad_token_id": tokenizer.pad_token_id, "forced_eos_token_id": tokenizer.eos_token_id}
        ids["decoder_start_token_id"] = tokenizer.eos_token_id if model_type == "mbart" else tokenizer.pad_token_id
    torch.manual_seed(0)
    config = transformers.AutoConfig.for_model(model_type, vocab_size=len(tokenizer) + 3, **sizes, **ids)
    model = getattr(transformers, f"AutoModelFor{kind}").from_config(config)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    if model_type == "mbart":
        torch.nn.init.normal_(model.final_logits_bias)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def logits_of(whole: Any, tokenizer: Any, text: str) -> torch.Tensor:
    """(L, V) logits of the language model after a text, which a decoder of two parts reads and writes."""
    ids = torch.tensor([tokenizer(text)["input_ids"]])
    inputs = {"input_ids": ids, **({"decoder_input_ids": ids} if whole.config.is_encoder_decoder else {})}
    with torch.no_grad():
        return whole(**inputs).logits[0]


def named_ids(config: Any, tokenizer: Any) -> dict[str, Any]:
    """What the special ids of a configuration stand for."""
    found = {}
    names = ("pad_token_id", "bos_token_id", "eos_token_id", "decoder_start_token_id", "forced_eos_token_id")
    for name in names:
        number = getattr(config, name, None)
        if number is not None:
            numbers = number if isinstance(number, list) else [number]
            found[name] = tokenizer.convert_ids_to_tokens(numbers)
    return found


@EVERY
def test_fewer_tokens_leave_vectors_and_language_model_as_they_were(model_type, tmp_path):
    folder = folder_of(model_type, tmp_path / "start")
    model, tokenizer = MLCModel(MLCConfig(model_name=str(folder))).eval(), with_padding(words_of(model_type))
    vectors, _ = unit_vectors(model, tokenizer, KEPT)
    whole = language_model(model)
    logits, names = logits_of(whole, tokenizer, KEPT[0]), named_ids(model.backbone.config, tokenizer)
    smaller, kept = trim(tokenizer, used_tokens(tokenizer, KEPT), padding_stays=not padding_may_move(model))
    assert len(smaller) < len(tokenizer) - 3
    keep_tokens(model, kept)
    model.save_pretrained(tmp_path / "small")
    for small in (model, MLCModel.from_pretrained(tmp_path / "small").eval()):
        torch.testing.assert_close(torch.tensor(unit_vectors(small, smaller, KEPT)[0]), torch.tensor(vectors))
        assert small.get_input_embeddings().num_embeddings == small.config.backbone["vocab_size"] == len(kept)
        after = language_model(small)
        torch.testing.assert_close(logits_of(after, smaller, KEPT[0]), logits[:, kept])
        assert named_ids(small.backbone.config, smaller) == names
        assert corruption_for(small.family, smaller, 0.15).special_ids
        start = getattr(small.lm_head, "start", None)
        assert (start is None) == (model_type not in ("t5", "mt5"))
        assert start is None or smaller.convert_ids_to_tokens(start) == "<pad>"


@EVERY
def test_other_numbers_for_the_same_tokens_change_nothing(model_type, tmp_path):
    folder = folder_of(model_type, tmp_path / "start")
    model, old = MLCModel(MLCConfig(model_name=str(folder))).eval(), with_padding(words_of(model_type))
    new = with_padding(words_of(model_type, other=True))
    assert old.get_vocab().keys() == new.get_vocab().keys()
    assert old.get_vocab() != new.get_vocab()
    vectors, _ = unit_vectors(model, old, KEPT + TOO)
    logits = logits_of(language_model(model), old, KEPT[0])
    names = named_ids(model.backbone.config, old) | {"pad_token_id": [new.pad_token]}
    if isinstance(model.backbone.config.eos_token_id, list):
        names["eos_token_id"] = [new.eos_token]
    mixture = transplant(old, new, "random")
    for _ in range(2):  # `mlcl transplant` does so for each method
        rows = vocabulary_rows(MLCModel(MLCConfig(model_name=str(folder))))
        replace_tokens(model, {name: mixture.apply(part) for name, part in rows.items()}, new)
    model.save_pretrained(tmp_path / "new")
    place = [old.get_vocab()[token] for token, _ in sorted(new.get_vocab().items(), key=lambda entry: entry[1])]
    for made in (model, MLCModel.from_pretrained(tmp_path / "new").eval()):
        found, _ = unit_vectors(made, new, KEPT + TOO)
        torch.testing.assert_close(torch.tensor(found), torch.tensor(vectors), atol=1e-5, rtol=1e-4)
        after = logits_of(language_model(made), new, KEPT[0])
        torch.testing.assert_close(after, logits[:, place], atol=1e-4, rtol=1e-4)
        assert named_ids(made.backbone.config, new) == names


@pytest.mark.parametrize("model_type", ["llama", "t5"])
def test_on_the_command_line(model_type, tmp_path, capsys):
    """A decoder's tokenizer has no padding; one that is trained for a T5 has no sentinels, and gets them."""
    from transformers import AutoTokenizer

    from mlcl.text.tokenizer import train_on

    folder = folder_of(model_type, tmp_path / "start")
    texts = tmp_path / "texts.txt"
    texts.write_text("\n".join(KEPT) + "\n", encoding="utf-8")
    line = ["--model", str(folder), "--texts", str(texts), "--out"]
    assert main(["trim", *line, str(tmp_path / "small")]) == 0
    assert "least cosine between old and new vector 1.00000" in capsys.readouterr().out
    train_on([[*KEPT, *TOO, "a dog"] * 3], vocab_size=600).save_pretrained(tmp_path / "words")
    more = ["--tokenizer", str(tmp_path / "words"), "--method", "mean"]
    assert main(["transplant", *line, str(tmp_path / "new"), *more]) == 0
    printed = capsys.readouterr().out
    assert "OUT has mean" in printed
    rows = [row.split("\u2502") for row in printed.split("\n") if "\u2502" in row]
    assert {row[1].strip() for row in rows if len(row) > 5 and row[4].strip()[:1].isdigit()} >= {"mean", "random"}
    new = AutoTokenizer.from_pretrained(tmp_path / "new")
    model = MLCModel.from_pretrained(tmp_path / "new")
    assert ("<extra_id_99>" in new.get_vocab()) == (model_type == "t5")
    assert corruption_for(model.family, new, 0.15)
    assert model.get_input_embeddings().num_embeddings == len(new)
    vectors, _ = unit_vectors(model.eval(), new, KEPT)
    assert F.normalize(torch.tensor(vectors), dim=1).isfinite().all()


def test_padding_moves_where_no_position_depends_on_it(tmp_path):
    model = MLCModel(MLCConfig(model_name=str(folder_of("llama", tmp_path / "start"))))
    assert padding_may_move(model)
    for model_type in ("mt5", "mbart"):
        seq2seq = MLCModel(MLCConfig(model_name=str(folder_of(model_type, tmp_path / model_type))))
        assert not padding_may_move(seq2seq)
        with pytest.raises(UserError, match="padding must stay token 0" if model_type == "mbart" else "must stay"):
            keep_tokens(seq2seq, range(1, 20))
    tokenizer = with_padding(words_of("llama"))
    last = tokenizer.pad_token_id
    assert last > 260
    _, all_before = trim(tokenizer, [], padding_stays=True)
    _, kept = trim(tokenizer, [], padding_stays=False)
    assert all_before[: last + 1] == [*range(last + 1)]
    assert len(kept) < len(all_before)
