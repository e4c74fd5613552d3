"""The corpus as token ids on disk: tokenised once, read through memory maps.

In: a `Corpus` and a tokenizer. Out: a folder with all token ids in one flat file and, for every sentence, where it
starts, its language and its group. Sentences of pairs come first, then monolingual ones. Nothing but the maps is in
memory, so that the corpus may be larger than it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from transformers import PreTrainedTokenizerBase

from mlcl.core.errors import UserError
from mlcl.core.files import atomic_directory, read_json, write_json
from mlcl.core.progress import track
from mlcl.corpus.store import Corpus

_VERSION = 1
_BLOCK = 8192  # sentences that are tokenised in one call
Sentence = tuple[str, int, str]  # language tag, group, text


@dataclass(slots=True)
class TokenStore:
    """Sentences as token ids, special tokens included.

    Attributes:
        tokens: (T,) all token ids, one sentence after the other.
        offsets: (N + 1,) where each sentence starts.
        language: (N,) index into `languages`.
        group: (N,) group id, -1 = none.
        parallel: The first `parallel` sentences come from pairs, the others are monolingual.
        languages: Canonical tags.
    """

    tokens: np.ndarray
    offsets: np.ndarray
    language: np.ndarray
    group: np.ndarray
    parallel: int
    languages: list[str]

    def __len__(self) -> int:
        return len(self.language)

    def sentence(self, index: int) -> np.ndarray:
        """Token ids of one sentence."""
        return self.tokens[self.offsets[index] : self.offsets[index + 1]]

    @classmethod
    def open(cls, folder: Path) -> TokenStore:
        """Map a finished store."""
        meta = read_json(folder / "meta.json")
        arrays: dict[str, Any] = {
            name: np.load(folder / f"{name}.npy", mmap_mode="r") for name in ("offsets", "language", "group")
        }
        tokens = np.memmap(folder / "tokens.bin", dtype=meta["dtype"], mode="r")
        return cls(tokens=tokens, parallel=meta["parallel"], languages=meta["languages"], **arrays)


def open_or_build(corpus: Corpus, tokenizer: PreTrainedTokenizerBase, max_length: int, fallback: Path) -> TokenStore:
    """The store of this corpus under this tokenizer; made on first use and kept inside the corpus folder.

    Args:
        corpus: The corpus.
        tokenizer: A fast tokenizer.
        max_length: Longest sentence in tokens, special tokens included; longer ones are cut.
        fallback: Folder to keep the store in when the corpus folder cannot be written to.
    """
    name = fingerprint(corpus, tokenizer, max_length)
    for parent in (corpus.path / "tokens", fallback / "tokens"):
        if (parent / name / "meta.json").is_file():
            return TokenStore.open(parent / name)
    try:
        return _build(corpus, tokenizer, max_length, corpus.path / "tokens" / name)
    except PermissionError:
        return _build(corpus, tokenizer, max_length, fallback / "tokens" / name)


def fingerprint(corpus: Corpus, tokenizer: PreTrainedTokenizerBase, max_length: int) -> str:
    """Name of a store: changes with the corpus' content, the tokenizer and the length limit."""
    digest = hashlib.sha256(f"{_VERSION} {max_length}".encode())
    for shard in corpus.manifest["shards"]:
        digest.update(shard["sha256"].encode())
    digest.update(_backend(tokenizer).to_str().encode())
    return digest.hexdigest()[:16]


def _build(corpus: Corpus, tokenizer: PreTrainedTokenizerBase, max_length: int, out: Path) -> TokenStore:
    dtype = np.uint16 if len(tokenizer) <= 1 << 16 else np.uint32
    languages: dict[str, int] = {}
    lengths: list[np.ndarray] = []
    language: list[np.ndarray] = []
    group: list[np.ndarray] = []
    parallel = 0
    rows = sum(corpus.manifest["rows"].values())
    with atomic_directory(out) as partial, (partial / "tokens.bin").open("wb") as sink:
        sources = ((_pair_sentences(corpus), True), (_mono_sentences(corpus), False))
        for sentences, is_parallel in sources:
            blocks = track(_blocks(sentences), "tokenising sentences", total=None if not rows else rows // _BLOCK)
            for block in blocks:
                ids = encode(tokenizer, [text for _, _, text in block], max_length)
                np.concatenate([np.asarray(sequence, dtype=dtype) for sequence in ids]).tofile(sink)
                lengths.append(np.array([len(sequence) for sequence in ids], dtype=np.int64))
                language.append(np.array([languages.setdefault(tag, len(languages)) for tag, _, _ in block], np.uint16))
                group.append(np.array([number for _, number, _ in block], dtype=np.int64))
                parallel += len(block) if is_parallel else 0
        if not lengths:
            raise UserError("the corpus has no sentence", path=corpus.path)
        np.save(partial / "offsets.npy", np.concatenate([[0], np.cumsum(np.concatenate(lengths))]))
        np.save(partial / "language.npy", np.concatenate(language))
        np.save(partial / "group.npy", np.concatenate(group))
        meta = {"dtype": np.dtype(dtype).name, "parallel": parallel, "languages": list(languages)}
        write_json(partial / "meta.json", meta)
    return TokenStore.open(out)


def encode(tokenizer: PreTrainedTokenizerBase, texts: list[str], max_length: int) -> list[list[int]]:
    """Token ids with special tokens, cut to `max_length` (the closing special token stays)."""
    return tokenizer(texts, truncation=True, max_length=max_length, return_attention_mask=False)["input_ids"]


def _backend(tokenizer: PreTrainedTokenizerBase) -> Any:
    if not tokenizer.is_fast:
        raise UserError("the tokenizer is not a fast one", remedy="save it as tokenizer.json")
    return tokenizer.backend_tokenizer  # type: ignore[attr-defined]


def _pair_sentences(corpus: Corpus) -> Iterator[Sentence]:
    """Every distinct (language, group, text) of the pairs, once.

    A record with k versions is k - 1 neighbouring rows with the same source, so that most repetitions are inside one
    batch; those that are not cost a little disk and change no group.
    """
    columns = ["source_lang", "target_lang", "source", "target", "group"]
    for batch in corpus.pair_batches(columns=columns):
        source_lang, target_lang, source, target, group = (batch.column(name).to_pylist() for name in columns)
        seen = dict.fromkeys(zip(source_lang, group, source, strict=True))
        seen.update(dict.fromkeys(zip(target_lang, group, target, strict=True)))
        yield from seen


def _mono_sentences(corpus: Corpus) -> Iterator[Sentence]:
    for batch in corpus.mono_batches(columns=["lang", "group", "text"]):
        yield from zip(*(batch.column(name).to_pylist() for name in ("lang", "group", "text")), strict=True)


def _blocks(sentences: Iterable[Sentence]) -> Iterator[list[Sentence]]:
    block: list[Sentence] = []
    for sentence in sentences:
        block.append(sentence)
        if len(block) == _BLOCK:
            yield block
            block = []
    if block:
        yield block
