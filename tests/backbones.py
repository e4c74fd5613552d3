"""Tiny checkpoints of every architecture, as `save_pretrained` of transformers writes them, with their tokenizers.

These are what `mlcl pretrain --model.model_name FOLDER` starts from; a hub id goes the same way.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from conftest import _WORDS

_LAYERS = {
    "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "pad_token_id": 1,
    "bos_token_id": 0, "eos_token_id": 2,
}  # fmt: skip
_DECODER = {**_LAYERS, "num_key_value_heads": 2, "head_dim": 8, "max_position_embeddings": 80, "pad_token_id": None}
_T5 = {
    "d_model": 32, "d_kv": 8, "d_ff": 64, "num_layers": 2, "num_heads": 4, "pad_token_id": 1, "eos_token_id": 2,
    "decoder_start_token_id": 1, "dropout_rate": 0.0,
}  # fmt: skip
_MBART = {
    "d_model": 32, "encoder_layers": 2, "decoder_layers": 2, "encoder_attention_heads": 4,
    "decoder_attention_heads": 4, "encoder_ffn_dim": 64, "decoder_ffn_dim": 64, "max_position_embeddings": 80,
}  # fmt: skip
_MODERN = {**_LAYERS, "sep_token_id": 2, "cls_token_id": 0, "local_attention": 8, "max_position_embeddings": 80}

CHECKPOINTS: dict[str, tuple[str, dict[str, Any]]] = {
    "bert": ("AutoModelForMaskedLM", {**_LAYERS, "max_position_embeddings": 80}),
    "xlm-roberta": ("AutoModelForMaskedLM", {**_LAYERS, "max_position_embeddings": 82}),
    "modernbert": ("AutoModelForMaskedLM", _MODERN),
    "electra": ("AutoModelForMaskedLM", {**_LAYERS, "embedding_size": 32, "max_position_embeddings": 80}),
    "t5": ("AutoModelForSeq2SeqLM", _T5),
    "mt5": ("AutoModelForSeq2SeqLM", _T5),
    "umt5": ("AutoModelForSeq2SeqLM", _T5),
    "mbart": ("AutoModelForSeq2SeqLM", _MBART),
    "llama": ("AutoModelForCausalLM", _DECODER),
    "qwen2": ("AutoModelForCausalLM", {**_DECODER, "tie_word_embeddings": True}),
    "qwen3": ("AutoModelForCausalLM", _DECODER),
    "glm": ("AutoModelForCausalLM", _DECODER),
    "glm4": ("AutoModelForCausalLM", _DECODER),
}
"""model type -> the class that such a checkpoint is saved with, and its sizes; `electra` is a family without a file."""

TEXTS = ["the cat sees water", "die alt katze", "ねこ いぬ はしる", "house " * 9 + "runs"]


def tokenizer(model_type: str) -> Any:
    """A tokenizer as such models have it: an opening token for encoders, sentinels for T5, no padding for decoders."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    kind = CHECKPOINTS[model_type][0]
    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>", *(f"<extra_id_{i}>" for i in range(8))]
    words = [*special, *(word for words in _WORDS.values() for word in words)]
    made = Tokenizer(models.WordLevel({word: place for place, word in enumerate(words)}, unk_token="<unk>"))
    made.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    frame = "<s> $A </s>" if kind == "AutoModelForMaskedLM" else "$A </s>"
    made.post_processor = processors.TemplateProcessing(single=frame, special_tokens=[("<s>", 0), ("</s>", 2)])
    names = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
    if kind != "AutoModelForCausalLM":
        names |= {"pad_token": "<pad>", "mask_token": "<mask>", "cls_token": "<s>", "sep_token": "</s>"}
    return PreTrainedTokenizerFast(
        tokenizer_object=made, model_max_length=64, additional_special_tokens=special[5:], **names
    )


def checkpoint(model_type: str, folder: Path, **changes: Any) -> Path:
    """Write the folder of a tiny, untrained model with its tokenizer."""
    import torch
    import transformers

    kind, sizes = CHECKPOINTS[model_type]
    torch.manual_seed(0)
    words = tokenizer(model_type)
    config = transformers.AutoConfig.for_model(model_type, **{"vocab_size": len(words), **sizes, **changes})
    getattr(transformers, kind).from_config(config).save_pretrained(folder)
    words.save_pretrained(folder)
    return folder
