"""What a token spells, whatever the notation of its vocabulary, so that two vocabularies can be compared.

In: a fast tokenizer. Out: for its tokens `(starts a word, text)`: `▁cat`, `Ġcat` and WordPiece's `cat` all spell
`(True, "cat")`; `ing`, `ing` and `##ing` all spell `(False, "ing")`.
"""

from __future__ import annotations

import json
from typing import Any, NamedTuple

import regex
from tokenizers import decoders

from mlcl.core.errors import UserError

_BYTE = regex.compile(r"<0x[0-9A-F]{2}>")
_BROKEN = "\ufffd"  # what a decoder writes for half a letter
_ROLES = (("pad_token_id",), ("unk_token_id",), ("mask_token_id",), ("cls_token_id", "bos_token_id"),
          ("sep_token_id", "eos_token_id"))  # fmt: skip


class Spelling(NamedTuple):
    """What a token spells.

    Attributes:
        starts: Whether it is the beginning of a word (or stands alone).
        text: Its letters.
    """

    starts: bool
    text: str


def spellings(tokenizer: Any) -> dict[int, Spelling]:
    """What each token spells; special tokens, bytes and pieces of a letter spell nothing and are left out.

    Raises:
        UserError: a tokenizer that is not fast.
    """
    state = _state(tokenizer)
    read = _reader(state)
    special = set(tokenizer.all_special_ids)
    spelt = {}
    for token, number in tokenizer.get_vocab().items():
        if number not in special and not _BYTE.fullmatch(token):
            spelling = read(token)
            if spelling.text and _BROKEN not in spelling.text:
                spelt[number] = spelling
    return spelt


def normalised(tokenizer: Any, spelling: Spelling) -> Spelling:
    """The same as a tokenizer would see it: in lower case, without accents, ... as its normaliser has it."""
    normaliser = tokenizer.backend_tokenizer.normalizer
    text = spelling.text if normaliser is None else normaliser.normalize_str(spelling.text).strip(" \u2581")
    return Spelling(spelling.starts, text)


def same_role(old: Any, new: Any) -> dict[int, int]:
    """New id -> old id of special tokens that do the same, such as `<s>` and `[CLS]`, and of equal byte tokens."""
    pairs: dict[int, int] = {}
    for names in _ROLES:
        before = [number for number in (getattr(old, name, None) for name in names) if number is not None]
        after = [number for number in (getattr(new, name, None) for name in names) if number is not None]
        if before:
            pairs |= {number: before[min(place, len(before) - 1)] for place, number in reversed([*enumerate(after)])}
    known = old.get_vocab()
    special = set(new.all_special_ids)
    for token, number in new.get_vocab().items():
        if token in known and number not in pairs and (number in special or _BYTE.fullmatch(token)):
            pairs[number] = known[token]
    return pairs


def _state(tokenizer: Any) -> dict[str, Any]:
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        raise UserError(f"a {type(tokenizer).__name__} is no fast tokenizer", remedy="give one with a tokenizer.json")
    return json.loads(backend.to_str())


def _reader(state: dict[str, Any]) -> Any:
    """Token -> `Spelling`, in the notation of this vocabulary."""
    around = json.dumps([state.get(part) for part in ("normalizer", "pre_tokenizer", "decoder")], ensure_ascii=False)
    if "ByteLevel" in around:
        decoder = decoders.ByteLevel()
        return lambda token: _by_mark(decoder.decode([token]), " ")
    if state["model"]["type"] == "WordPiece":
        mark = state["model"].get("continuing_subword_prefix") or "##"
        return lambda token: Spelling(not token.startswith(mark), token.removeprefix(mark))
    if "\u2581" in around:
        return lambda token: _by_mark(token, "\u2581")
    return lambda token: Spelling(True, token)


def _by_mark(token: str, mark: str) -> Spelling:
    return Spelling(token.startswith(mark), token.removeprefix(mark))
