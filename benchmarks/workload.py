"""Made-up work of realistic shape: lengths, token ids, texts, a tokenizer for them, and encoder configurations.

Lengths follow a lognormal distribution as sentences do, tokens Zipf's law (so that a batch touches as few rows of the
embedding as a real one). A word of a text is a token: every peer gets the same tokens from the same text.
"""

from __future__ import annotations

from typing import Any

import numpy as np

SPECIAL = ("<s>", "<pad>", "</s>", "<unk>", "<mask>")


def sentence_lengths(count: int, *, mean: float, longest: int, seed: int = 0, sigma: float = 0.6) -> np.ndarray:
    """(count,) tokens per sentence, special tokens included, from 3 to `longest`, with this mean in expectation."""
    draws = np.random.default_rng(seed).lognormal(0.0, sigma, size=count)
    reference = np.random.default_rng(12345).lognormal(0.0, sigma, size=100_000)
    low, high = 1.0, 4.0 * mean
    for _ in range(40):  # bisection: clipping moves the mean
        scale = (low + high) / 2
        low, high = (scale, high) if np.clip(scale * reference, 3, longest).mean() < mean else (low, scale)
    return np.clip(np.round(scale * draws), 3, longest).astype(np.int64)


def token_ids(lengths: np.ndarray, *, vocabulary: int, seed: int = 0) -> list[np.ndarray]:
    """Sentences of these lengths between <s> and </s>; p(rank r) ~ 1 / (r + 2.7) over the ordinary tokens."""
    chance = np.random.default_rng(seed)
    ordinary = vocabulary - len(SPECIAL)
    cumulative = np.cumsum(1.0 / (np.arange(ordinary) + 3.7))
    stream = np.searchsorted(cumulative, chance.random(int((lengths - 2).sum())) * cumulative[-1])
    bodies = np.split(np.minimum(stream, ordinary - 1) + len(SPECIAL), np.cumsum(lengths - 2)[:-1])
    return [np.concatenate([[0], body, [2]]) for body in bodies]


def text_of(ids: np.ndarray) -> str:
    """The text that `word_tokenizer` turns into these ids."""
    return " ".join(f"w{number}" for number in ids[1:-1])


def word_tokenizer(vocabulary: int, longest: int) -> Any:
    """A fast tokenizer with one token per word w5, w6, ..."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    entries = {name: place for place, name in enumerate(SPECIAL)}
    entries |= {f"w{number}": number for number in range(len(SPECIAL), vocabulary)}
    tokenizer = Tokenizer(models.WordLevel(entries, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    ends = [("<s>", 0), ("</s>", 2)]
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A </s>", special_tokens=ends)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<s>", cls_token="<s>", pad_token="<pad>", eos_token="</s>",
        sep_token="</s>", unk_token="<unk>", mask_token="<mask>", model_max_length=longest,
    )  # fmt: skip


def backbone_settings(
    *, layers: int, hidden: int, vocabulary: int, longest: int, dropout: float = 0.0
) -> dict[str, Any]:
    """An XLM-R-like encoder: heads of 64 (32 below a hidden size of 512), four times as wide inside."""
    return {
        "model_type": "xlm-roberta",
        "vocab_size": vocabulary,
        "hidden_size": hidden,
        "num_hidden_layers": layers,
        "num_attention_heads": max(1, hidden // (64 if hidden >= 512 else 32)),
        "intermediate_size": 4 * hidden,
        "max_position_embeddings": longest + 2,
        "type_vocab_size": 1,
        "pad_token_id": 1,
        "bos_token_id": 0,
        "eos_token_id": 2,
        "hidden_dropout_prob": dropout,
        "attention_probs_dropout_prob": dropout,
    }
