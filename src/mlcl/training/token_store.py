"""The corpus as token ids on disk: tokenised once, read through memory maps.

In: a `Corpus` and a tokenizer. Out: a folder with all token ids in one flat file and, for every sentence, where it
starts, its language, its origin and its group. Sentences of pairs come first, then monolingual ones. Nothing but the
maps is in memory, so that the corpus may be larger than it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from transformers import PreTrainedTokenizerBase

from mlcl.core.errors import UserError
from mlcl.core.files import atomic_directory, read_json, write_json
from mlcl.core.progress import track
from mlcl.corpus.store import Corpus

_VERSION = 2  # 2: origins
_BLOCK = 8192  # sentences that are tokenised in one call
_PAIR_COLUMNS = ["source_lang", "target_lang", "source", "target", "group", "origin"]
Sentence = tuple[str, int, str, str]  # language tag, group, origin, text


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
        origin: (N,) index into `origins`.
        origins: Names of the data sets.
    """

    tokens: np.ndarray
    offsets: np.ndarray
    language: np.ndarray
    group: np.ndarray
    parallel: int
    languages: list[str]
    origin: np.ndarray
    origins: list[str]

    def __len__(self) -> int:
        return len(self.language)

    def sentence(self, index: int) -> np.ndarray:
        """Token ids of one sentence."""
        return self.tokens[self.offsets[index] : self.offsets[index + 1]]

    def without_groups(self, groups: np.ndarray) -> TokenStore:
        """The same sentences, those of some groups with none, for what must not learn what they are translations of."""
        if not len(groups):
            return self
        return replace(self, group=np.where(np.isin(self.group, groups), -1, self.group))

    @classmethod
    def open(cls, folder: Path) -> TokenStore:
        """Map a finished store."""
        meta = read_json(folder / "meta.json")
        arrays: dict[str, Any] = {
            name: np.load(folder / f"{name}.npy", mmap_mode="r") for name in ("offsets", "language", "group", "origin")
        }
        tokens = np.memmap(folder / "tokens.bin", dtype=meta["dtype"], mode="r")
        names = {key: meta[key] for key in ("parallel", "languages", "origins")}
        return cls(tokens=tokens, **names, **arrays)


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
    origins: dict[str, int] = {}
    lengths: list[np.ndarray] = []
    columns: dict[str, list[np.ndarray]] = {"language": [], "group": [], "origin": []}
    parallel = 0
    rows = sum(corpus.manifest["rows"].values())
    with atomic_directory(out) as partial, (partial / "tokens.bin").open("wb") as sink:
        sources = ((_pair_sentences(corpus), True), (_mono_sentences(corpus), False))
        for sentences, is_parallel in sources:
            blocks = track(_blocks(sentences), "tokenising sentences", total=None if not rows else rows // _BLOCK)
            for block in blocks:
                ids = encode(tokenizer, [text for *_, text in block], max_length)
                np.concatenate([np.asarray(sequence, dtype=dtype) for sequence in ids]).tofile(sink)
                lengths.append(np.array([len(sequence) for sequence in ids], dtype=np.int64))
                tags, groups, names, _ = zip(*block, strict=True)
                columns["language"].append(_codes(tags, languages))
                columns["group"].append(np.array(groups, dtype=np.int64))
                columns["origin"].append(_codes(names, origins))
                parallel += len(block) if is_parallel else 0
        if not lengths:
            raise UserError("the corpus has no sentence", path=corpus.path)
        np.save(partial / "offsets.npy", np.concatenate([[0], np.cumsum(np.concatenate(lengths))]))
        for name, parts in columns.items():
            np.save(partial / f"{name}.npy", np.concatenate(parts))
        meta = {"dtype": np.dtype(dtype).name, "parallel": parallel}
        write_json(partial / "meta.json", {**meta, "languages": list(languages), "origins": list(origins)})
    return TokenStore.open(out)


def _codes(names: Iterable[str], known: dict[str, int]) -> np.ndarray:
    """Names as numbers of 16 bits, in the order in which they first come."""
    return np.array([known.setdefault(name, len(known)) for name in names], dtype=np.uint16)


def encode(tokenizer: PreTrainedTokenizerBase, texts: list[str], max_length: int) -> list[list[int]]:
    """Token ids with special tokens, cut to `max_length` (the closing special token stays)."""
    return tokenizer(texts, truncation=True, max_length=max_length, return_attention_mask=False)["input_ids"]


def _backend(tokenizer: PreTrainedTokenizerBase) -> Any:
    if not tokenizer.is_fast:
        raise UserError("the tokenizer is not a fast one", remedy="save it as tokenizer.json")
    return tokenizer.backend_tokenizer  # type: ignore[attr-defined]


def _pair_sentences(corpus: Corpus) -> Iterator[Sentence]:
    """Every distinct (language, group, text) of the pairs, once, with the origin where it comes first.

    A record with k versions is k - 1 neighbouring rows with the same source, so that most repetitions are inside one
    batch; those that are not cost a little disk and change no group.
    """
    for batch in corpus.pair_batches(columns=_PAIR_COLUMNS):
        yield from distinct_sentences(batch)


def distinct_sentences(rows: pa.RecordBatch | pa.Table) -> list[Sentence]:
    """Every distinct (language, group, text) of some rows of pairs, once, with the origin where it comes first."""
    source_lang, target_lang, source, target, group, origin = (rows[name].to_pylist() for name in _PAIR_COLUMNS)
    seen: dict[tuple[str, int, str], str] = {}
    for language, text in ((source_lang, source), (target_lang, target)):
        for sentence, name in zip(zip(language, group, text, strict=True), origin, strict=True):
            seen.setdefault(sentence, name)
    return [(language, number, name, text) for (language, number, text), name in seen.items()]


def in_memory(pairs: list[Sentence], tokenizer: PreTrainedTokenizerBase, max_length: int) -> TokenStore:
    """A store of sentences of pairs alone, not written to disk."""
    ids = [sequence for block in _blocks(pairs) for sequence in encode(tokenizer, [t for *_, t in block], max_length)]
    languages: dict[str, int] = {}
    origins: dict[str, int] = {}
    tags, groups, names, _ = zip(*pairs, strict=True)
    return TokenStore(
        tokens=np.concatenate([np.asarray(sequence, dtype=np.uint32) for sequence in ids]),
        offsets=np.cumsum([0, *(len(sequence) for sequence in ids)]),
        language=_codes(tags, languages),
        group=np.array(groups, dtype=np.int64),
        parallel=len(pairs),
        languages=list(languages),
        origin=_codes(names, origins),
        origins=list(origins),
    )


def _mono_sentences(corpus: Corpus) -> Iterator[Sentence]:
    columns = ["lang", "group", "origin", "text"]
    for batch in corpus.mono_batches(columns=columns):
        yield from zip(*(batch.column(name).to_pylist() for name in columns), strict=True)


def _blocks(sentences: Iterable[Sentence]) -> Iterator[list[Sentence]]:
    block: list[Sentence] = []
    for sentence in sentences:
        block.append(sentence)
        if len(block) == _BLOCK:
            yield block
            block = []
    if block:
        yield block
