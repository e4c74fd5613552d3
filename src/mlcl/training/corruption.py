"""From a sentence to what the LM term feeds in and asks for, one class per term.

In: the token ids of a sentence, or of a translation pair. Out: `Example`, the input of the backbone, and for each token
that is to be predicted its label and the place in the input that it belongs to:

    masked      the token itself, most often hidden by a mask                      BERT, arXiv 1810.04805
    causal      the token before it                                                decoders
    blanks      the token before it, in a part that writes what blanks stand for   GLM, arXiv 2103.10360
    spans       the first token: the decoder writes what the sentinels stand for   T5, arXiv 1910.10683
    infilling   the first token: the decoder writes the whole sentence             mBART, arXiv 2001.08210
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from mlcl.core.errors import UserError
from mlcl.model.backbones import Family
from mlcl.training.spans import Ids, hide, partition, replaced

SPAN_LENGTH = 3.0  # mean tokens of a span that a sentinel replaces, as in T5
INFILLED_LENGTH = 3.5  # mean tokens of a span that a mask replaces, as in BART
BLANK_LENGTH = 3.0  # mean tokens of a span that a blank replaces, as in GLM


class Example(NamedTuple):
    """One input of the LM term.

    Attributes:
        inputs: (L,) token ids for the backbone.
        places: (P,) place in `inputs` that each label belongs to, ascending.
        labels: (P,) token ids.
    """

    inputs: Ids
    places: Ids
    labels: Ids


@dataclass(frozen=True)
class Corruption(ABC):
    """How the inputs of an LM term are made.

    Attributes:
        special_ids: Token ids that are never hidden.
    """

    special_ids: tuple[int, ...]

    @abstractmethod
    def corrupt(self, ids: Ids, rng: np.random.Generator) -> Example:
        """Token ids (L,) -> an example, which is at most as long; that of `Blanks` is longer."""

    def join(self, first: Ids, second: Ids) -> Ids:
        """A translation pair as one input (XLM, arXiv 1901.07291): the second loses its opening special token."""
        return np.concatenate([first, second[1:] if len(second) and second[0] in self.special_ids else second])

    def _free(self, ids: Ids) -> Ids:
        """Places that may be hidden."""
        return np.flatnonzero(~np.isin(ids, self.special_ids))


@dataclass(frozen=True)
class Masking(Corruption):
    """BERT's 80/10/10.

    Attributes:
        mask_token_id: Id of the mask token.
        vocab_size: Random replacements are drawn from [0, vocab_size).
        special_ids: Ids that are never masked and never drawn.
        probability: Share of tokens that are predicted.
    """

    mask_token_id: int
    vocab_size: int
    special_ids: tuple[int, ...]
    probability: float = 0.15

    @classmethod
    def of(cls, tokenizer: Any, probability: float) -> Masking:
        """Masking with a tokenizer's ids."""
        return cls(
            mask_token_id=_mask_token(tokenizer),
            vocab_size=len(tokenizer),
            special_ids=tuple(tokenizer.all_special_ids),
            probability=probability,
        )

    def corrupt(self, ids: Ids, rng: np.random.Generator) -> Example:
        """See `Corruption`."""
        inputs, labels = self.apply(ids, rng)
        places = np.flatnonzero(labels != -100)
        return Example(inputs, places, labels[places])

    def apply(self, ids: Ids, rng: np.random.Generator) -> tuple[Ids, Ids]:
        """Token ids (L,) -> masked ids (L,) and labels (L,) with -100 where nothing is predicted.

        At least one token is predicted where there is one to mask, so that short sentences take part.
        """
        free = self._free(ids)
        labels = np.full(len(ids), -100, dtype=np.int64)
        if not len(free):
            return ids, labels
        chosen = free[rng.random(len(free)) < self.probability]
        if not len(chosen):
            chosen = rng.choice(free, size=1)
        labels[chosen] = ids[chosen]
        masked = ids.astype(np.int64)
        fate = rng.random(len(chosen))
        masked[chosen[fate < 0.8]] = self.mask_token_id
        random_at = chosen[fate >= 0.9]
        masked[random_at] = rng.integers(0, self.vocab_size, size=len(random_at))
        return masked, labels


@dataclass(frozen=True)
class NextToken(Corruption):
    """Nothing is hidden: causal attention sees no later token."""

    def corrupt(self, ids: Ids, rng: np.random.Generator) -> Example:
        """See `Corruption`."""
        return Example(ids, np.arange(len(ids) - 1), ids[1:].astype(np.int64))


@dataclass(frozen=True)
class SpanCorruption(Corruption):
    """T5's: each hidden span becomes one sentinel; the labels are each sentinel with what it hides, then the end.

    Attributes:
        sentinels: Their token ids, in order.
        end: Id of the end token.
        probability: Share of tokens that are hidden.
    """

    sentinels: tuple[int, ...]
    end: int
    probability: float = 0.15

    def corrupt(self, ids: Ids, rng: np.random.Generator) -> Example:
        """See `Corruption`. Spans alternate with what stays, as in T5, and one ends the sentence."""
        free = self._free(ids)
        if len(free) < 2:
            return _nothing(ids)
        hidden = min(max(1, round(len(free) * self.probability)), len(free) - 1)
        spans = min(max(1, round(hidden / SPAN_LENGTH)), len(free) - hidden, len(self.sentinels))
        kept_sizes, hidden_sizes = (partition(total, spans, rng) for total in (len(free) - hidden, hidden))
        stops = np.cumsum(np.stack([kept_sizes, hidden_sizes], axis=1).ravel())  # kept, hidden, kept, hidden, ...
        inputs, labels, done = [], [], 0
        for sentinel, start, stop in zip(self.sentinels, stops[0::2], stops[1::2], strict=False):
            first, last = free[start], free[stop - 1] + 1  # a special token inside of a span goes with it
            inputs += [*ids[done:first], sentinel]
            labels += [sentinel, *ids[first:last]]
            done = last
        return _written([*inputs, *ids[done:]], [*labels, self.end])


@dataclass(frozen=True)
class Infilling(Corruption):
    """BART's text infilling: spans of Poisson-distributed length become one mask each; the label is the whole sentence.

    Attributes:
        mask_token_id: Id of the mask token.
        probability: Share of tokens that are hidden.
    """

    mask_token_id: int
    probability: float = 0.15

    def corrupt(self, ids: Ids, rng: np.random.Generator) -> Example:
        """See `Corruption`. Spans of length 0, which BART has as well, would make the input longer and are left out."""
        free = self._free(ids)
        if not len(free):
            return _nothing(ids)
        hidden = hide(len(ids), free, max(1, round(len(free) * self.probability)), INFILLED_LENGTH, rng)
        return _written(replaced(ids, hidden, self.mask_token_id), ids)


@dataclass(frozen=True)
class Blanks(Corruption):
    """GLM's blank infilling, for decoders: the sentence with a blank for each span, then what the blanks stand for.

        a b c d e f g </s>   ->   input   a b [] e [] g </s>   [ c d   [ f      with [] the blank, [ what opens a span
                                  label                        c d ]   f ]      and ] what closes it

    The first part is read in both directions, the second causally: a place sees the whole first part, the spans before
    its own and what its own has so far. Positions go on through both parts, which is what rotary decoders know from
    generating (GLM's two-dimensional positions need a backbone that has them). So the order says which blank a span is
    for: spans are written as they stand in the text, where GLM shuffles them.

    Attributes:
        blank: Token id that replaces a span.
        opening: Token id before a span.
        closing: Token id that ends one; it is a label only.
        probability: Share of tokens that are hidden.
        share: Share of sentences that get blanks; the others predict the next token.
    """

    blank: int
    opening: int
    closing: int
    probability: float = 0.15
    share: float = 1.0

    def corrupt(self, ids: Ids, rng: np.random.Generator) -> Example:
        """See `Corruption`. At least one token is hidden, and one is not; a sentence without two has no label."""
        if rng.random() >= self.share:
            return NextToken(self.special_ids).corrupt(ids, rng)
        free = self._free(ids)
        if len(free) < 2:
            return _nothing(ids)
        wanted = min(max(1, round(len(free) * self.probability)), len(free) - 1)
        hidden = hide(len(ids), free, wanted, BLANK_LENGTH, rng)
        first = replaced(ids, hidden, self.blank)
        starts, stops = np.flatnonzero(np.diff(hidden, prepend=False, append=False)).reshape(-1, 2).T
        spans = [ids[start:stop] for start, stop in zip(starts, stops, strict=True)]
        second = np.concatenate([[self.opening, *span] for span in spans])
        labels = np.concatenate([[*span, self.closing] for span in spans])
        inputs = np.concatenate([first, second]).astype(np.int64)
        return Example(inputs, np.arange(len(first), len(inputs)), labels.astype(np.int64))

    @staticmethod
    def longest_sentence(reach: int, probability: float) -> int:
        """Most tokens of a sentence whose example has at most `reach`: each span brings a blank and an opening."""
        return min(reach - 2, int((reach - 1) / (1 + 2 * probability)))


def corruption_for(
    family: Family, tokenizer: Any, probability: float, *, blank_share: float = 0.0, blank_token: str | None = None
) -> Corruption:
    """How the LM term of a family hides tokens, with a tokenizer's ids.

    Args:
        family: Of the backbone.
        tokenizer: Its tokenizer.
        probability: Share of tokens that are hidden.
        blank_share: Share of a decoder's inputs that are blank infilling; the others predict the next token.
        blank_token: Token that stands for a blank; None = the tokenizer's mask token.

    Raises:
        UserError: the tokenizer lacks what the term needs, or blanks for a family that is no decoder.
    """
    if tokenizer is None:
        raise UserError("the LM term needs a tokenizer", remedy="give one, or set lm_weight to 0")
    special = tuple(tokenizer.all_special_ids)
    if blank_share > 0:
        if family.term != "causal":
            kinds = {"masked": "masked tokens", "spans": "span corruption", "infilling": "text infilling"}
            raise UserError(
                f"blank_share is for decoders, and the LM term of this backbone is {kinds[family.term]}",
                remedy="leave it out",
            )
        return _blanks(tokenizer, special, probability, blank_share, blank_token)
    if family.term == "causal":
        return NextToken(special)
    if family.term == "infilling":
        return Infilling(special, _mask_token(tokenizer), probability)
    if family.term == "spans":
        if tokenizer.eos_token_id is None:
            raise UserError("the span corruption term needs a tokenizer with an end token", remedy=_WITHOUT)
        return SpanCorruption(special, _sentinels(tokenizer), tokenizer.eos_token_id, probability)
    return Masking.of(tokenizer, probability)


_WITHOUT = "give one, or set lm_weight to 0"


def _mask_token(tokenizer: Any) -> int:
    if tokenizer.mask_token_id is None:
        raise UserError("the LM term needs a tokenizer with a mask token", remedy=_WITHOUT)
    return tokenizer.mask_token_id


def _blanks(tokenizer: Any, special: tuple[int, ...], probability: float, share: float, token: str | None) -> Blanks:
    """With GLM's own tokens where a tokenizer has them, else with its mask and its end token."""
    vocabulary = tokenizer.get_vocab()
    if token is not None and token not in vocabulary:
        raise UserError(f"blank_token {token!r} is no token of the tokenizer", remedy="name one that texts do not have")
    name = token or tokenizer.mask_token or ("[MASK]" if "[MASK]" in vocabulary else None)
    if name is None:
        raise UserError(
            "blank infilling needs a token that stands for a blank, and the tokenizer has no mask token",
            remedy="name an unused token of it as training.blank_token, or set blank_share to 0",
        )
    blank = vocabulary[name]
    closing = vocabulary.get("<eop>", tokenizer.eos_token_id)
    if closing is None:
        raise UserError(
            "blank infilling needs a tokenizer with an end token", remedy="give one, or set blank_share to 0"
        )
    return Blanks(special, blank, vocabulary.get("<sop>", blank), closing, probability, share)


def _sentinels(tokenizer: Any) -> tuple[int, ...]:
    """Ids of <extra_id_0>, <extra_id_1>, ...; mT5 has them as ordinary pieces that begin a word."""
    vocabulary = tokenizer.get_vocab()
    for before in ("", "\u2581"):
        found: list[int] = []
        while (number := vocabulary.get(f"{before}<extra_id_{len(found)}>")) is not None:
            found.append(number)
        if found:
            return tuple(found)
    raise UserError(
        "the span corruption term needs a tokenizer with sentinels <extra_id_0>, <extra_id_1>, ...", remedy=_WITHOUT
    )


def _written(inputs: Any, labels: Any) -> Example:
    """An example whose labels a decoder writes: all of them belong to the first token."""
    labels = np.asarray(labels, dtype=np.int64)
    return Example(np.asarray(inputs, dtype=np.int64), np.zeros(len(labels), dtype=np.int64), labels)


def _nothing(ids: Ids) -> Example:
    """A sentence that is too short to hide anything in."""
    nothing = np.empty(0, dtype=np.int64)
    return Example(ids, nothing, nothing)
