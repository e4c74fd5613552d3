"""A new vocabulary for a trained model: which old rows each new token is made of.

In: the old and the new tokenizer and, for FOCUS, auxiliary vectors of the new tokens. Out: a `Mixture`, with which any
matrix over the old vocabulary becomes one over the new. Tokens that both vocabularies spell alike are copied by every
method. The others:

`focus`   a weighted mean of those shared tokens whose auxiliary vectors are similar, weights by sparsemax of the
          cosines (FOCUS, Dobler and de Melo 2023, arXiv 2305.14481);
`mean`    the mean of the pieces into which the old tokenizer cuts the token (Gee et al. 2022, arXiv 2402.09977);
`random`  drawn from the normal distribution of the old rows.

A token without an auxiliary vector falls back to `mean`, and one that the old tokenizer cannot spell to `random`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import regex
import torch
from torch import Tensor

from mlcl.core.errors import UserError
from mlcl.text.spelling import Spelling, normalised, same_role, spellings

METHODS = ("focus", "mean", "random")
_LEAST_SHARED = 10  # anchors below which similarity to them says nothing
_BLOCK = 1024  # new tokens whose similarities are in memory at once
_SUPPORT = 256  # most similar anchors that sparsemax looks at first; more if they are not enough
# Scripts in which a token's place in the word says nothing, because words are not set apart.
_UNSPACED = regex.compile(
    r"[\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}\p{Tibetan}]|^[^\p{L}\p{M}]+$"
)


@dataclass(frozen=True)
class Mixture:
    """New rows as weighted means of old rows.

    Attributes:
        new: (E,) new ids, one for each term of a mean.
        old: (E,) the old ids.
        weight: (E,) their weights, which sum to 1 for each new id that has any.
        origin: (V,) how each new token was made: `shared`, `focus`, `mean` or `random`.
    """

    new: np.ndarray
    old: np.ndarray
    weight: np.ndarray
    origin: np.ndarray

    def counts(self) -> dict[str, int]:
        """Number of tokens by origin."""
        return dict(Counter(self.origin.tolist()))

    def apply(self, rows: Tensor, seed: int = 0) -> Tensor:
        """Old rows (W, D) or (W,) -> new rows (V, D) or (V,), float32; tokens made of nothing are drawn."""
        flat = rows.float().reshape(len(rows), -1)
        place = torch.from_numpy(np.stack([self.new, self.old]))
        weight = torch.from_numpy(self.weight).float()
        size = (len(self.origin), len(rows))
        made = torch.sparse_coo_tensor(place, weight, size, check_invariants=True) @ flat
        drawn = torch.from_numpy(self.origin == "random")
        normal = torch.randn(int(drawn.sum()), flat.shape[1], generator=torch.Generator().manual_seed(seed))
        made[drawn] = flat.mean(dim=0) + normal * flat.std(dim=0, correction=0)
        return made.reshape(-1, *rows.shape[1:])


def transplant(
    old: Any, new: Any, method: str, vectors: np.ndarray | None = None, shared: dict[int, int] | None = None
) -> Mixture:
    """How to make the rows of a new vocabulary.

    Args:
        old: Tokenizer of the trained model, a fast one.
        new: Tokenizer that it shall have, a fast one.
        method: `focus`, `mean` or `random`.
        vectors: (V, K) auxiliary vectors of the new tokens, of length 1, or 0 where there is none; for `focus`.
        shared: What `shared_tokens(old, new)` gives, where that is known already.

    Raises:
        UserError: an unknown method, equal vocabularies, or too little in common for `focus`.
    """
    if method not in METHODS:
        raise UserError(f"unknown method {method!r}", remedy=f"known: {', '.join(METHODS)}")
    if old.get_vocab() == new.get_vocab():
        raise UserError("the new tokenizer has the vocabulary of the old one", remedy="there is nothing to transplant")
    shared = shared_tokens(old, new) if shared is None else shared
    size = max(new.get_vocab().values()) + 1
    origin = np.full(size, "random", dtype="<U6")
    origin[list(shared)] = "shared"
    terms = [(np.array([*shared]), np.array([*shared.values()]), np.ones(len(shared)))]
    if method == "focus":
        assert vectors is not None, "focus needs auxiliary vectors"
        terms.append(_by_similarity(vectors, shared))
        origin[terms[-1][0]] = "focus"
    if method != "random":
        terms.append(_by_pieces(old, new, np.flatnonzero(origin == "random")))
        origin[terms[-1][0]] = "mean"
    columns = [np.concatenate([term[column] for term in terms]) for column in range(3)]
    return Mixture(columns[0].astype(np.int64), columns[1].astype(np.int64), columns[2].astype(np.float64), origin)


def shared_tokens(old: Any, new: Any) -> dict[int, int]:
    """New id -> old id of tokens that both vocabularies have.

    They have it when both spell the same at the same place in a word, if need be after the normalisation of either
    tokenizer, which may know lower case only. In scripts without spaces, and for punctuation, the place does not count.
    Special tokens are matched by what they do.
    """
    spelt = sorted(spellings(old).items())
    known: dict[Spelling, int] = {}
    for number, spelling in [*spelt, *((number, normalised(new, spelling)) for number, spelling in spelt)]:
        known.setdefault(spelling, number)
    shared = same_role(old, new)
    for number, spelling in spellings(new).items():
        if number in shared:
            continue
        for candidate in _variants(old, spelling):
            if candidate in known:
                shared[number] = known[candidate]
                break
    return shared


def _variants(old: Any, spelling: Spelling) -> list[Spelling]:
    """How the old vocabulary may have a token, likeliest first."""
    found = [spelling, normalised(old, spelling)]
    if _UNSPACED.search(spelling.text):
        found += [Spelling(not one.starts, one.text) for one in found]
    return found


def sparsemax(scores: np.ndarray) -> np.ndarray:
    """Rows of scores (N, K), descending, -> weights (N, K) that sum to 1, most of them 0 (arXiv 1602.02068)."""
    room = 1 + np.arange(1, scores.shape[1] + 1) * scores - np.cumsum(scores, axis=1)  # > 0 inside the support
    support = (room > 0).sum(axis=1)
    threshold = (np.take_along_axis(np.cumsum(scores, axis=1), support[:, None] - 1, axis=1) - 1) / support[:, None]
    return np.maximum(scores - threshold, 0)


def _by_similarity(vectors: np.ndarray, shared: dict[int, int]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Terms (new, old, weight) of all tokens that are not shared and have an auxiliary vector."""
    known = np.linalg.norm(vectors, axis=1) > 0
    anchors = np.array(sorted(number for number in shared if known[number]), dtype=np.int64)
    if len(anchors) < _LEAST_SHARED:
        raise UserError(
            f"the vocabularies share {len(anchors)} tokens that occur in the texts, too few to be similar to",
            remedy="take --method mean, or texts that have the old vocabulary's words as well",
        )
    old = np.array([shared[number] for number in anchors.tolist()], dtype=np.int64)
    known[list(shared)] = False
    wanted = np.flatnonzero(known)
    terms = [(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0))]
    basis = np.ascontiguousarray(vectors[anchors].T)
    for start in range(0, len(wanted), _BLOCK):
        rows = wanted[start : start + _BLOCK]
        place, weight = _sparsest(vectors[rows] @ basis)
        used = weight > 0
        terms.append((np.repeat(rows, used.sum(axis=1)), old[place[used]], weight[used]))
    return tuple(np.concatenate([term[column] for term in terms]) for column in range(3))  # type: ignore[return-value]


def _sparsest(similarity: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Sparsemax over (N, A) similarities, of which only the highest are sorted: places and weights (N, k)."""
    k = min(_SUPPORT, similarity.shape[1])
    while True:
        place = np.argpartition(-similarity, k - 1, axis=1)[:, :k]
        order = np.argsort(-np.take_along_axis(similarity, place, axis=1), axis=1, kind="stable")
        place = np.take_along_axis(place, order, axis=1)
        weight = sparsemax(np.take_along_axis(similarity, place, axis=1))
        if k == similarity.shape[1] or (weight[:, -1] == 0).all():  # nothing beyond can be in the support
            return place, weight
        k = min(4 * k, similarity.shape[1])


def _by_pieces(old: Any, new: Any, wanted: Iterable[int]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Terms (new, old, weight) of the wanted tokens that the old tokenizer can spell."""
    spelt = spellings(new)
    numbers = [number for number in map(int, wanted) if number in spelt]
    if not numbers:  # the tokenizer takes no empty list
        return np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0)
    inside = {spelling.text: number for number, spelling in spellings(old).items() if not spelling.starts}
    starts = {number: spelling.text for number, spelling in spellings(old).items() if spelling.starts}
    # Not by its backend, in which some published tokenizers have padding to a fixed length switched on.
    cut = old([spelt[n].text for n in numbers], add_special_tokens=False, padding=False, truncation=False)["input_ids"]
    specials = set(old.all_special_ids)
    rows: list[tuple[int, int, float]] = []
    for number, pieces in zip(numbers, cut, strict=True):
        if not pieces or specials & set(pieces):
            continue
        if not spelt[number].starts:  # the old tokenizer took it for the start of a word
            pieces[0] = inside.get(starts.get(pieces[0], ""), pieces[0])
        rows += [(number, piece, 1 / len(pieces)) for piece in pieces]
    table = np.array(rows, dtype=np.float64).reshape(-1, 3)
    return table[:, 0].astype(np.int64), table[:, 1].astype(np.int64), table[:, 2]
