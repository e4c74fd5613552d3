"""How many tokens a tokenizer spends on each language: languages that it serves badly stand out.

In: a tokenizer and texts per language. Out: per language, tokens per word and per character, and the share of bytes.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from mlcl.core.languages import script

# Scripts that write no space between words (or, as Vietnamese would, between syllables: Tibetan).
_WITHOUT_SPACES = frozenset(
    ["Hans", "Hant", "Hani", "Jpan", "Hira", "Kana", "Hrkt", "Thai", "Laoo", "Khmr", "Mymr", "Tibt", "Java", "Bali",
     "Lana", "Talu", "Yiii"]
)  # fmt: skip


def fertility(
    tokenizer: Any, texts: dict[str, list[str]], limit: int = 2000
) -> dict[str, dict[str, float | int | None]]:
    """Tokens that each language costs, special tokens left out.

    Args:
        tokenizer: A Hugging Face tokenizer.
        texts: Language tag -> sentences; languages without a text are left out.
        limit: Most sentences measured per language, taken evenly from the list.

    Returns:
        Per language: `sentences` measured, `tokens_per_word` (None for scripts without spaces), `tokens_per_character`,
        `tokens_per_sentence`, and `byte_share`, the share of tokens that are single bytes of rare characters.
    """
    rows: dict[str, dict[str, float | int | None]] = {}
    for language, sentences in texts.items():
        chosen = [text for text in _evenly(sentences, limit) if text.strip()]
        if not chosen:
            continue
        encoded = tokenizer(
            chosen, add_special_tokens=False, return_attention_mask=False, truncation=False, verbose=False
        )
        ids = encoded["input_ids"]
        tokens = sum(map(len, ids))
        words = sum(len(text.split()) for text in chosen)
        in_bytes = sum(_is_byte(token) for row in ids for token in tokenizer.convert_ids_to_tokens(row))
        rows[language] = {
            "sentences": len(chosen),
            "tokens_per_word": None if script(language) in _WITHOUT_SPACES else round(tokens / words, 3),
            "tokens_per_character": round(tokens / sum(map(len, chosen)), 4),
            "tokens_per_sentence": round(tokens / len(chosen), 2),
            "byte_share": round(in_bytes / max(tokens, 1), 4),
        }
    return rows


def _evenly(items: list[str], limit: int) -> Iterable[str]:
    if len(items) <= limit:
        return items
    return (items[position * len(items) // limit] for position in range(limit))


def _is_byte(token: str) -> bool:
    return len(token) == 6 and token.startswith("<0x") and token.endswith(">")
