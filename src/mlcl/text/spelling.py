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


def _byte_letters() -> dict[str, int]:
    """Letter -> byte in byte-level notation: printable bytes of Latin-1 as they are, the rest from 256 on."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(0x100) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {chr(0x100 + n): byte for n, byte in enumerate(others)}


_BYTE_LETTERS = _byte_letters()
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
    """New id -> old id of tokens that spell nothing and are the same all the same.

    Special tokens that do the same, such as `<s>` and `[CLS]`; equal bytes, in either notation; and, in vocabularies of
    one notation, equal pieces of letters.
    """
    pairs: dict[int, int] = {}
    for names in _ROLES:
        before = [number for number in (getattr(old, name, None) for name in names) if number is not None]
        after = [number for number in (getattr(new, name, None) for name in names) if number is not None]
        if before:
            pairs |= {number: before[min(place, len(before) - 1)] for place, number in reversed([*enumerate(after)])}
    known = old.get_vocab()
    special, spelt = set(new.all_special_ids), spellings(new)
    one_notation = _notation(_state(old)) == _notation(_state(new))
    for token, number in new.get_vocab().items():
        if token in known and number not in pairs and (number in special or (one_notation and number not in spelt)):
            pairs[number] = known[token]
    old_bytes = byte_tokens(old)
    for byte, number in byte_tokens(new).items():
        if byte in old_bytes and number not in spelt:
            pairs.setdefault(number, old_bytes[byte])
    return pairs


def byte_tokens(tokenizer: Any) -> dict[int, int]:
    """Byte -> id of the token that is this byte, in a vocabulary with byte fallback or of byte-level notation."""
    if _notation(_state(tokenizer)) == "bytes":
        named = _BYTE_LETTERS
    else:
        named = {f"<0x{byte:02X}>": byte for byte in range(256)}
    return {named[token]: number for token, number in tokenizer.get_vocab().items() if token in named}


def _state(tokenizer: Any) -> dict[str, Any]:
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        raise UserError(f"a {type(tokenizer).__name__} is no fast tokenizer", remedy="give one with a tokenizer.json")
    return json.loads(backend.to_str())


def _notation(state: dict[str, Any]) -> str:
    """How a vocabulary writes tokens down: in `bytes`, with the mark of WordPiece or SentencePiece, or `plain`."""
    around = json.dumps([state.get(part) for part in ("normalizer", "pre_tokenizer", "decoder")], ensure_ascii=False)
    if "ByteLevel" in around:
        return "bytes"
    if state["model"]["type"] == "WordPiece":
        return state["model"].get("continuing_subword_prefix") or "##"
    return "\u2581" if "\u2581" in around else "plain"


def _reader(state: dict[str, Any]) -> Any:
    """Token -> `Spelling`, in the notation of this vocabulary."""
    mark = _notation(state)
    if mark == "bytes":
        decoder = decoders.ByteLevel()
        return lambda token: _by_mark(decoder.decode([token]), " ")
    if mark == "plain":
        return lambda token: Spelling(True, token)
    if mark == "\u2581":
        return lambda token: _by_mark(token, mark)
    return lambda token: Spelling(not token.startswith(mark), token.removeprefix(mark))


def _by_mark(token: str, mark: str) -> Spelling:
    return Spelling(token.startswith(mark), token.removeprefix(mark))
