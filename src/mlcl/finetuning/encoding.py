"""Examples to token ids, and token ids to packed batches.

In: `Example`s or `TaggedSentence`s. Out: `Encoded`, whose labels are numbers and whose words know their first piece;
and batches (dictionaries of tensors) as `MLCTaskModel.forward` takes them.
"""

from __future__ import annotations

import zlib
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import accumulate
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor

from mlcl.finetuning.model import MLCTaskConfig
from mlcl.model.packing import pack
from mlcl.tasks._labelled import Example, Examples, TaggedSentence

_Pieces: TypeAlias = tuple[np.ndarray, np.ndarray, np.ndarray]
"""Token ids (L,), words that have a piece (W,), and the place of each one's first piece (W,)."""


def _no_words() -> np.ndarray:
    return np.empty(0, dtype=np.int64)


@dataclass(frozen=True, slots=True)
class Encoded:
    """One example, ready for the model.

    Attributes:
        ids: Token ids of its sequence, or of its two sequences where the head encodes the texts of a pair one by one.
        labels: (1,) number of the label, score between 0 and 1, or number that stands for a passage; for tagging (W,),
            the tags of the words in `words`.
        firsts: (W,) places of the words' first pieces in the sequence (tagging).
        words: (W,) numbers of these words in the sentence; those without a piece are missing.
        size: Words of the sentence, with and without a piece.
        features: What the head sees, (1, F) or (W, F), where it was computed before.
    """

    ids: tuple[np.ndarray, ...]
    labels: np.ndarray
    firsts: np.ndarray = field(default_factory=_no_words)
    words: np.ndarray = field(default_factory=_no_words)
    size: int = 0
    features: Tensor | None = None

    @property
    def tokens(self) -> int:
        """Tokens in all its sequences."""
        return sum(len(sequence) for sequence in self.ids)

    def with_features(self, features: Tensor) -> Encoded:
        """The same with its features in place of its token ids."""
        return replace(self, ids=(), features=features)


class ExampleEncoder:
    """Turns examples of one task into `Encoded`s and counts what is lost on the way.

    Args:
        config: The task.
        tokenizer: Any Hugging Face tokenizer.
        max_length: Longest sequence in tokens, special tokens included.

    Attributes:
        cut_texts: Texts, or pairs in one sequence, that were longer.
        cut_words: Words of tagging beyond `max_length`; they are predicted `O`.
        lost_words: Words of tagging that have no piece at all, such as a zero-width space; also predicted `O`.
    """

    def __init__(self, config: MLCTaskConfig, tokenizer: Any, max_length: int) -> None:
        self.config, self.tokenizer, self.max_length = config, tokenizer, max_length
        self._number_of = {label: number for number, label in enumerate(config.labels)}
        self.cut_texts = self.cut_words = self.lost_words = 0

    def encode(self, examples: Examples) -> list[Encoded]:
        """The examples, in order."""
        if self.config.kind == "tagging":
            return self._sentences([example for example in examples if isinstance(example, TaggedSentence)])
        return self._texts([example for example in examples if isinstance(example, Example)])

    def _texts(self, examples: list[Example]) -> list[Encoded]:
        if not examples:
            return []
        first = [example.text for example in examples]
        second = [example.pair or "" for example in examples]
        if self.config.kind == "classification":
            columns = [self._ids(first)]
        elif self.config.two_towers:
            columns = [self._ids(first), self._ids(second)]
        else:
            columns = [self._ids(first, second)]
        return [
            Encoded(ids=ids, labels=self._label(example.label))
            for example, ids in zip(examples, zip(*columns, strict=True), strict=True)
        ]

    def _label(self, label: str | float) -> np.ndarray:
        if self.config.kind == "retrieval":
            return np.array([zlib.crc32(str(label).encode())], dtype=np.int64)
        if self.config.kind != "regression":
            return np.array([self._number_of[str(label)]], dtype=np.int64)
        low, high = self.config.score_range
        return np.array([(float(label) - low) / (high - low)], dtype=np.float32)

    def _ids(self, *columns: list[str]) -> list[np.ndarray]:
        """Token ids of texts, or of pairs by the tokenizer's own template for pairs."""
        cut = "longest_first" if len(columns) == 2 else True
        plain = {"return_attention_mask": False, "return_token_type_ids": False}
        rows = self.tokenizer(*columns, truncation=cut, max_length=self.max_length, **plain)["input_ids"]
        full = [number for number, row in enumerate(rows) if len(row) >= self.max_length]
        if full:
            whole = self.tokenizer(*([column[i] for i in full] for column in columns), verbose=False, **plain)
            self.cut_texts += sum(len(row) > self.max_length for row in whole["input_ids"])
        nothing = self.tokenizer.pad_token_id or 0  # a tokenizer without special tokens may give no token at all
        return [np.array(row or [nothing], dtype=np.int32) for row in rows]

    def _sentences(self, sentences: list[TaggedSentence]) -> list[Encoded]:
        if not sentences:
            return []
        if getattr(self.tokenizer, "is_fast", False):
            pieces = _by_offsets(self.tokenizer, [sentence.words for sentence in sentences], self.max_length)
        else:
            pieces = _by_words(self.tokenizer, [sentence.words for sentence in sentences], self.max_length)
        encoded = []
        for sentence, (ids, words, firsts) in zip(sentences, pieces, strict=True):
            size = len(sentence.words)
            beyond = size - 1 - int(words[-1]) if len(words) and len(ids) >= self.max_length else 0
            self.cut_words += beyond
            self.lost_words += size - len(words) - beyond
            labels = np.array([self._number_of[sentence.tags[word]] for word in words], dtype=np.int64)
            encoded.append(Encoded((ids,), labels, firsts, words, size))
        return encoded


def _by_offsets(tokenizer: Any, sentences: Sequence[tuple[str, ...]], max_length: int) -> list[_Pieces]:
    """Token ids, words that have a piece, and the place of each one's first piece, by the characters that pieces cover.

    The words are joined by spaces and read as running text, as in pre-training: `is_split_into_words` would leave the
    space out of byte-level vocabularies. A piece that is nothing but the space before a word (`▁` in front of a Chinese
    character) is none of the word's. Words of languages without spaces get some too, because a piece over two words
    could carry but one label.
    """
    texts = [" ".join(words) for words in sentences]
    rows = tokenizer(
        texts, truncation=True, max_length=max_length, return_offsets_mapping=True, return_attention_mask=False
    )
    found = []
    for text, words, ids, offsets in zip(texts, sentences, rows["input_ids"], rows["offset_mapping"], strict=True):
        ends = list(accumulate(len(word) + 1 for word in words))  # where the next word starts
        numbers: list[int] = []
        places: list[int] = []
        for place, (start, stop) in enumerate(offsets):
            while start < stop and text[start].isspace():
                start += 1
            if start < stop:
                number = bisect_right(ends, start)
                if not numbers or number > numbers[-1]:
                    numbers.append(number)
                    places.append(place)
        found.append(_arrays(ids or [tokenizer.pad_token_id or 0], numbers, places))
    return found


def _by_words(tokenizer: Any, sentences: Sequence[tuple[str, ...]], max_length: int) -> list[_Pieces]:
    """The same for tokenizers written in Python, which know no offsets: word by word."""
    sentinel = -1
    frame = tokenizer.build_inputs_with_special_tokens([sentinel])
    before, room = frame.index(sentinel), max_length - (len(frame) - 1)
    known: dict[str, list[int]] = {}
    found = []
    for words in sentences:
        ids: list[int] = []
        numbers: list[int] = []
        places: list[int] = []
        for number, word in enumerate(words):
            if word not in known:
                known[word] = tokenizer.convert_tokens_to_ids(tokenizer.tokenize(word))
            if known[word] and len(ids) < room:
                numbers.append(number)
                places.append(before + len(ids))
                ids += known[word]
        whole = tokenizer.build_inputs_with_special_tokens(ids[:room])
        found.append(_arrays(whole or [tokenizer.pad_token_id or 0], numbers, places))
    return found


def _arrays(ids: list[int], words: list[int], firsts: list[int]) -> _Pieces:
    return np.array(ids, dtype=np.int32), np.array(words, dtype=np.int64), np.array(firsts, dtype=np.int64)


def collate(examples: list[Encoded]) -> dict[str, Tensor]:
    """A batch: one packed stream with what is needed to undo the sorting, or the features where these are there."""
    labels = torch.from_numpy(np.concatenate([example.labels for example in examples]))
    if examples[0].features is not None:
        features = [example.features for example in examples if example.features is not None]
        return {"features": torch.cat(features), "labels": labels}
    towers = len(examples[0].ids)
    packed = pack([example.ids[tower] for tower in range(towers) for example in examples])
    batch = {"input_ids": packed.input_ids, "lengths": packed.lengths, "order": packed.order, "labels": labels}
    if examples[0].size:
        starts = torch.empty_like(packed.lengths)
        starts[packed.order] = packed.lengths.cumsum(0) - packed.lengths  # of each sentence, in input order
        firsts = [start + torch.from_numpy(e.firsts) for start, e in zip(starts.tolist(), examples, strict=True)]
        batch["words"] = torch.cat(firsts)
    return batch
