"""Bilingual dictionaries from a parallel corpus: which word of one language goes with which of another?

In: a `TokenStore` with groups, which tokens begin a word. Out: a `Dictionary` of words as token ids, and sentences in
which some words have been replaced by their translations (code-switching).

A word is a run of tokens from one that begins a word to the next, or a single token in scripts without spaces. Two
words translate each other when each is the other's best partner by Dice's coefficient over common groups,
`2 n_ab / (n_a + n_b)` (competitive linking, Melamed 2000). That is crude beside a real aligner, and enough for
code-switching, which replaces few words and forgives errors (CoSDA-ML, arXiv 2006.06402).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import regex

from mlcl.training.token_store import TokenStore

Ids = np.ndarray
INSIDE, START, SPACE, APART = 0, 1, 2, 3
"""What a token is to words: inside or at the end of one, its beginning, the bare mark of a beginning (which is no word
by itself), or none of a word (punctuation, specials)."""
_BASE = np.uint64(0x9E3779B97F4A7C15)  # of the hash of a word, a polynomial in its token ids
_UNSPACED = regex.compile(r"[\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}\p{Tibetan}]")
_TABLE = 1 << 24  # entries of a table of counts
_GROUPS = 65_536  # that are looked at together: float32 counts exactly up to far more
_WORD = regex.compile(r"[\p{L}\p{N}]")


def token_kinds(tokenizer: Any) -> np.ndarray:
    """`INSIDE`, `START`, `SPACE` or `APART` for each token id (V,).

    Knows how SentencePiece (▁) and byte-level BPE (Ġ) mark what begins a word, and WordPiece (##) what does not.
    """
    pieces = tokenizer.convert_ids_to_tokens(list(range(len(tokenizer))))
    mark = next((mark for mark in "▁Ġ" if sum(piece.startswith(mark) for piece in pieces) > len(pieces) // 100), None)
    special = set(tokenizer.all_special_ids)
    kinds = np.full(len(pieces), INSIDE, dtype=np.int8)
    for number, piece in enumerate(pieces):
        begins = piece.startswith(mark) if mark else not piece.startswith("##")
        body = piece.removeprefix(mark or "##")
        spelled = mark != "Ġ" or body.isascii()  # else the letters of a byte-level piece stand for bytes
        if number in special or (body and spelled and not _WORD.search(body)):
            kinds[number] = APART
        elif mark and not body:
            kinds[number] = SPACE
        elif begins or _UNSPACED.search(piece):
            kinds[number] = START
    return kinds


@dataclass(frozen=True)
class Words:
    """Words of a stream of tokens.

    Attributes:
        start: (W,) where each word begins in the stream.
        stop: (W,) where it ends.
        hash: (W,) uint64, equal for equal words.
    """

    start: np.ndarray
    stop: np.ndarray
    hash: np.ndarray


def words_of(ids: Ids, kinds: np.ndarray) -> Words:
    """The words in token ids (T,); sentences are kept apart by their special tokens."""
    kind = kinds[ids]
    begins = np.flatnonzero((kind == START) | (kind == SPACE))
    ends = np.append(np.flatnonzero(kind != INSIDE), len(ids))
    stop = ends[np.searchsorted(ends, begins, side="right")]
    whole = (kind[begins] == START) | (stop - begins > 1)
    begins, stop = begins[whole], stop[whole]
    if not len(begins):
        return Words(begins, stop, np.empty(0, np.uint64))
    length = stop - begins
    first = np.cumsum(length) - length
    inside = np.arange(length.sum()) - np.repeat(first, length)  # place of each token in its word
    token = ids[np.repeat(begins, length) + inside].astype(np.uint64) + np.uint64(1)
    values = token * _powers(int(length.max()))[inside]
    return Words(begins, stop, np.add.reduceat(values, first))


def _powers(count: int) -> np.ndarray:
    return np.cumprod(np.full(count, _BASE, dtype=np.uint64))


class Dictionary:
    """Translations of words, between the languages of a store.

    Args:
        kinds: (V,) as from `token_kinds`.
        keys: (E,) ascending keys of words with their language (see `_key`); one entry for each translation.
        words: E translations as token ids.
        pairs: (E, 2) languages of both.
    """

    def __init__(self, kinds: np.ndarray, keys: np.ndarray, words: list[Ids], pairs: np.ndarray) -> None:
        self.kinds, self.keys, self.words, self.pairs = kinds, keys, words, pairs

    def __len__(self) -> int:
        return len(self.words)

    def switch(
        self, ids: Ids, language: int, rate: float, rng: np.random.Generator, max_length: int
    ) -> tuple[Ids, int]:
        """A sentence with some of its words translated, and how many those are.

        Each word that the dictionary has is replaced with probability `rate`, at least one of them if there is any;
        which of its translations, and so which language, is drawn anew for each word (CoSDA-ML).

        Args:
            ids: (L,) the sentence.
            language: Its language.
            rate: Share of its known words that are replaced.
            rng: Source of the choices.
            max_length: Most tokens of the result; replacements that do not fit are not made.
        """
        words = words_of(ids, self.kinds)
        keys = _key(words.hash, language)
        low, high = np.searchsorted(self.keys, keys, "left"), np.searchsorted(self.keys, keys, "right")
        known = np.flatnonzero(high > low)
        if not len(known):
            return ids, 0
        chosen = known[rng.random(len(known)) < rate]
        if not len(chosen):
            chosen = rng.choice(known, size=1)
        parts, at, room, count = [], 0, max_length - len(ids), 0
        for word in chosen:
            translation = self.words[int(rng.integers(low[word], high[word]))]
            longer = len(translation) - int(words.stop[word] - words.start[word])
            if longer > room:
                continue
            parts += [ids[at : words.start[word]], translation]
            at, room, count = int(words.stop[word]), room - longer, count + 1
        return np.concatenate([*parts, ids[at:]]), count


def induce(
    store: TokenStore,
    kinds: np.ndarray,
    *,
    held_out: np.ndarray,
    partners: int = 3,
    groups: int = 2000,
    least_count: int = 3,
    least_dice: float = 0.3,
    seed: int = 0,
) -> Dictionary:
    """A dictionary between each language and those that it shares most groups with.

    Args:
        store: The tokenised corpus.
        kinds: (V,) as from `token_kinds`.
        held_out: Group ids that must not be looked at.
        partners: Languages that each language is paired with at least.
        groups: Most common groups of two languages that are looked at.
        least_count: Groups in which two words must meet.
        least_dice: Least coefficient, from 0 to 1.
        seed: Seed of the choice of groups.
    """
    group = np.asarray(store.group[: store.parallel])
    language = np.asarray(store.language[: store.parallel])
    usable = np.flatnonzero((group >= 0) & ~np.isin(group, held_out))
    members: dict[int, tuple[np.ndarray, np.ndarray]] = {}  # groups, first sentences
    for number in np.unique(language[usable]).tolist():
        rows = usable[language[usable] == number]
        ids, first = np.unique(group[rows], return_index=True)
        members[number] = ids, rows[first]
    rng = np.random.default_rng(seed)
    keys, words, pairs = [], [], []
    for a, b in _language_pairs(members, partners):
        common, at_a, at_b = np.intersect1d(members[a][0], members[b][0], assume_unique=True, return_indices=True)
        if len(common) > groups:
            some = np.sort(rng.choice(len(common), size=groups, replace=False))
            at_a, at_b = at_a[some], at_b[some]
        left = _occurrences(store, members[a][1][at_a], kinds, least_count)
        right = _occurrences(store, members[b][1][at_b], kinds, least_count)
        for i, j in _best_partners(left, right, least_count, least_dice):
            if left.hash[i] == right.hash[j]:  # a name or a number: replacing it by itself would switch nothing
                continue
            keys += [int(_key(left.hash[i : i + 1], a)[0]), int(_key(right.hash[j : j + 1], b)[0])]
            words += [right.example(j), left.example(i)]
            pairs += [(a, b), (b, a)]
    order = np.argsort(np.array(keys, dtype=np.uint64), kind="stable")
    return Dictionary(
        kinds,
        np.array(keys, dtype=np.uint64)[order],
        [words[i] for i in order],
        np.array(pairs, dtype=np.int64).reshape(-1, 2)[order],
    )


def _language_pairs(members: dict[int, tuple[np.ndarray, np.ndarray]], partners: int) -> list[tuple[int, int]]:
    """Each language with the `partners` that it shares most groups with; each pair once, ascending."""
    languages = list(members)
    every = np.unique(np.concatenate([groups for groups, _ in members.values()])) if members else np.empty(0, np.int64)
    shared = np.zeros((len(languages), len(languages)), dtype=np.int64)
    for start in range(0, len(every), _GROUPS):
        block = every[start : start + _GROUPS]
        there = np.zeros((len(languages), len(block)), dtype=np.float32)  # has this language a sentence of this group?
        for row, (groups, _) in enumerate(members.values()):
            mine = groups[np.searchsorted(groups, block[0]) : np.searchsorted(groups, block[-1], side="right")]
            there[row, np.searchsorted(block, mine)] = 1
        shared += (there @ there.T).astype(np.int64)
    np.fill_diagonal(shared, 0)
    pairs: set[tuple[int, int]] = set()
    for row, counts in enumerate(shared):
        best = np.argsort(-counts, kind="stable")[:partners]
        pairs.update((min(row, other), max(row, other)) for other in best.tolist() if counts[other])
    return sorted((languages[a], languages[b]) for a, b in pairs)


@dataclass(frozen=True)
class _Occurrences:
    """Which words occur in which of n sentences.

    Attributes:
        sentence: (C,) ascending numbers of sentences.
        word: (C,) numbers of words; no (sentence, word) comes twice.
        counts: (U,) sentences that have each word.
        hash: (U,) hashes of the words.
    """

    sentence: np.ndarray
    word: np.ndarray
    counts: np.ndarray
    hash: np.ndarray
    _ids: Ids
    _start: np.ndarray
    _stop: np.ndarray

    def example(self, word: int) -> Ids:
        """The token ids of a word."""
        return self._ids[self._start[word] : self._stop[word]]


def _occurrences(store: TokenStore, sentences: np.ndarray, kinds: np.ndarray, least_count: int) -> _Occurrences:
    """Words that occur in at least `least_count` of n sentences of a store."""
    parts = [np.asarray(store.sentence(i)) for i in sentences.tolist()]
    ids = np.concatenate(parts) if parts else np.empty(0, np.int64)
    words = words_of(ids, kinds)
    ends = np.cumsum([len(part) for part in parts])
    sentence = np.searchsorted(ends, words.start, side="right")
    hashes, first, word = np.unique(words.hash, return_index=True, return_inverse=True)
    once = np.unique(sentence * max(1, len(hashes)) + word)
    sentence, word = np.divmod(once, max(1, len(hashes)))
    counts = np.bincount(word, minlength=len(hashes))
    frequent = counts >= least_count
    keep = frequent[word]
    number = np.cumsum(frequent) - 1
    first = first[frequent]
    return _Occurrences(
        sentence[keep],
        number[word[keep]],
        counts[frequent],
        hashes[frequent],
        ids,
        words.start[first],
        words.stop[first],
    )


def _best_partners(
    left: _Occurrences, right: _Occurrences, least_count: int, least_dice: float
) -> list[tuple[int, int]]:
    """Words that are each other's best partner."""
    if not len(left.word) or not len(right.word):
        return []
    sentences = int(max(left.sentence[-1], right.sentence[-1])) + 1
    per_right = np.bincount(right.sentence, minlength=sentences)
    start = np.cumsum(per_right) - per_right
    repeats = per_right[left.sentence]  # (C_left,)
    first = np.repeat(np.cumsum(repeats) - repeats, repeats)
    partner = right.word[np.repeat(start[left.sentence], repeats) + np.arange(repeats.sum()) - first]
    together, counts = _counted(np.repeat(left.word, repeats) * len(right.counts) + partner)
    together, counts = together[counts >= least_count], counts[counts >= least_count]
    a, b = np.divmod(together, len(right.counts))
    dice = 2 * counts / (left.counts[a] + right.counts[b])
    a, b, dice = (values[dice >= least_dice] for values in (a, b, dice))
    best_of_a, best_of_b = (_best(side, dice) for side in (a, b))
    mutual = np.intersect1d(best_of_a, best_of_b)
    return list(zip(a[mutual].tolist(), b[mutual].tolist(), strict=True))


def _counted(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Distinct values (ascending) and how often each comes."""
    if values.max(initial=0) > _TABLE:
        distinct, counts = np.unique(values, return_counts=True)
        return distinct, counts
    table = np.bincount(values)  # several times faster than sorting
    distinct = np.flatnonzero(table)
    return distinct, table[distinct]


def _best(side: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """The position of the highest score of each word of a side; equal scores go to the first."""
    order = np.lexsort((np.arange(len(side)), -scores, side))
    _, first = np.unique(side[order], return_index=True)
    return order[first]


def _key(code: np.ndarray, language: int) -> np.ndarray:
    """(n,) uint64: the word with this hash, in this language."""
    return (code + np.uint64(language + 1)) * _BASE
