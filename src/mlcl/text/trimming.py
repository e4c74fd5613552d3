"""A smaller vocabulary for fewer languages: which tokens to keep, and the tokenizer that has only those.

In: a fast Hugging Face tokenizer, and either the scripts of the languages or texts in them. Out: the ids that stay and
a tokenizer in which they are numbered anew, in their old order. Texts that are written in kept tokens alone are cut
into the same tokens as before: taking a token out cannot change a best path, a longest match or a merge that does not
use it (Abdaoui et al. 2020, arXiv 2010.05609, trim multilingual BERT in this way).
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import regex
from tokenizers import Tokenizer
from transformers import PreTrainedTokenizerFast

from mlcl.core.errors import UserError
from mlcl.core.languages import script, unicode_scripts

_BLOCK = 4096
_BYTE = regex.compile(r"<0x[0-9A-F]{2}>")
_SENTINEL = regex.compile(r"\u2581?<extra_id_[0-9]+>")  # mT5 has them as ordinary pieces


def used_tokens(tokenizer: Any, texts: Iterable[str]) -> Counter[int]:
    """How often each token occurs in texts."""
    counts: Counter[int] = Counter()
    block: list[str] = []

    def flush() -> None:
        for encoding in tokenizer.backend_tokenizer.encode_batch(block, add_special_tokens=True):
            counts.update(encoding.ids)
        block.clear()

    for text in texts:
        block.append(text)
        if len(block) == _BLOCK:
            flush()
    flush()
    return counts


def tokens_in_scripts(tokenizer: Any, languages: Sequence[str]) -> set[int]:
    """Tokens whose letters are all in the scripts of the languages; those without letters are among them.

    Raises:
        UserError: a byte-level vocabulary, whose tokens are pieces of letters.
    """
    if "ByteLevel" in json.dumps(_model(tokenizer, "pre_tokenizer")):
        raise UserError(
            "the tokens of a byte-level tokenizer have no script", remedy="give --texts or --corpus in the languages"
        )
    inside = "".join(rf"\p{{Script={part}}}" for tag in languages for part in unicode_scripts(script(tag)))
    foreign = regex.compile(rf"(?V1)[\p{{L}}\p{{M}}--[{inside}\p{{Script=Zyyy}}\p{{Script=Zinh}}]]")
    return {number for token, number in tokenizer.get_vocab().items() if not foreign.search(token)}


def trim(
    tokenizer: Any, keep: Iterable[int], *, padding_stays: bool = True
) -> tuple[PreTrainedTokenizerFast, list[int]]:
    """The tokenizer with the tokens to keep, and its ids by their old numbers, ascending.

    Special and added tokens stay, and so do bytes, T5's sentinels, the single characters that kept tokens are written
    in and the parts of merged tokens.

    Args:
        tokenizer: A fast tokenizer.
        keep: Ids.
        padding_stays: Keep all ids up to that of padding, because the positions of some models are counted from it.

    Raises:
        UserError: a tokenizer that is not fast, or of a kind that cannot be trimmed.
    """
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        raise UserError(f"a {type(tokenizer).__name__} cannot be trimmed", remedy="give a fast tokenizer")
    state = json.loads(backend.to_str())
    model, vocab = state["model"], tokenizer.get_vocab()
    kept = set(keep) & set(vocab.values())
    kept |= {entry["id"] for entry in state["added_tokens"]} | set(tokenizer.all_special_ids)
    kept |= {number for token, number in vocab.items() if _BYTE.fullmatch(token) or _SENTINEL.fullmatch(token)}
    kept |= _characters(vocab, kept, every="ByteLevel" in json.dumps(state.get("pre_tokenizer")))
    if tokenizer.pad_token_id is not None and padding_stays:
        kept |= set(range(tokenizer.pad_token_id + 1)) & set(vocab.values())
    kind = model["type"]
    if kind == "BPE":
        kept |= _parts(model, vocab, kept)
    old = sorted(kept)
    new = {number: place for place, number in enumerate(old)}
    if kind == "Unigram":
        model["unk_id"] = None if model["unk_id"] is None else new[model["unk_id"]]
        model["vocab"] = [model["vocab"][number] for number in old if number < len(model["vocab"])]
    elif kind in ("BPE", "WordPiece"):
        model["vocab"] = {token: new[number] for token, number in model["vocab"].items() if number in new}
        if kind == "BPE":
            model["merges"] = [pair for pair in model["merges"] if "".join(_pair(pair)) in model["vocab"]
                               and all(part in model["vocab"] for part in _pair(pair))]  # fmt: skip
    else:
        raise UserError(f"a {kind} tokenizer cannot be trimmed", remedy="known: Unigram, BPE, WordPiece")
    for entry in state["added_tokens"]:
        entry["id"] = new[entry["id"]]
    _renumber(state.get("post_processor"), vocab, new)
    return _rebuilt(tokenizer, Tokenizer.from_str(json.dumps(state))), old


def _model(tokenizer: Any, part: str) -> Any:
    return json.loads(tokenizer.backend_tokenizer.to_str())[part]


def _pair(merge: Any) -> list[str]:
    """Both parts of a merge, in either of the two notations."""
    return merge.split(" ") if isinstance(merge, str) else merge


def _parts(model: dict[str, Any], vocab: dict[str, int], kept: set[int]) -> set[int]:
    """Every token that a kept one is merged from, down to single characters."""
    merged_from: dict[str, list[list[str]]] = {}
    for merge in model["merges"]:
        pair = _pair(merge)
        merged_from.setdefault("".join(pair), []).append(pair)
    tokens = {number: token for token, number in vocab.items()}
    found: set[str] = set()
    waiting = [tokens[number] for number in kept]
    while waiting:
        for pair in merged_from.get(waiting.pop(), []):
            waiting += [part for part in pair if part not in found]
            found.update(pair)
    return {vocab[token] for token in found if token in vocab}


def _characters(vocab: dict[str, int], kept: set[int], every: bool) -> set[int]:
    """Tokens of one character that kept tokens are written in, so that other words can be spelt; or all of them."""
    characters = {character for token, number in vocab.items() if number in kept for character in token}
    single = ((token.removeprefix("##").removeprefix("▁"), number) for token, number in vocab.items())
    return {number for token, number in single if len(token) == 1 and (every or token in characters)}


def _renumber(processor: Any, vocab: dict[str, int], new: dict[int, int]) -> None:
    """Put new numbers for the special tokens into a post-processor."""
    if not processor:
        return
    for part in processor.get("processors", []):
        _renumber(part, vocab, new)
    for name in ("sep", "cls"):
        if name in processor:
            processor[name] = [processor[name][0], new[vocab[processor[name][0]]]]
    for entry in (processor.get("special_tokens") or {}).values():
        entry["ids"] = [new[vocab[token]] for token in entry["tokens"]]


def _rebuilt(tokenizer: Any, backend: Tokenizer) -> PreTrainedTokenizerFast:
    """A tokenizer of the plain fast class with the same special tokens and limits."""
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        model_max_length=tokenizer.model_max_length,
        padding_side=tokenizer.padding_side,
        model_input_names=tokenizer.model_input_names,
        **{name: str(token) for name, token in tokenizer.special_tokens_map.items() if isinstance(token, str)},
    )
