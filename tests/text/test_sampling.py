"""The language-balanced sample: exact sizes, no repeats, small languages heard, the same draw for the same seed."""

from __future__ import annotations

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlcl.core.errors import UserError
from mlcl.text.sampling import quotas, sample_texts


class Pairs:
    """A corpus of pairs and monolingual rows in several batches."""

    def __init__(self, pairs: list[tuple[str, str, str, str]], mono: list[tuple[str, str]], size: int = 7) -> None:
        self.pairs, self.mono, self.size = pairs, mono, size

    def pair_batches(self, columns=None):
        names = ["source_lang", "target_lang", "source", "target"]
        assert columns == names
        yield from self._batches(self.pairs, names)

    def mono_batches(self, columns=None):
        assert columns == ["lang", "text"]
        yield from self._batches(self.mono, columns)

    def _batches(self, rows, names):
        for start in range(0, len(rows), self.size):
            part = list(zip(*rows[start : start + self.size], strict=True))
            yield pa.record_batch([pa.array(column) for column in part], names=names)


CORPUS = Pairs(
    [("en", "de", f"en {n}", f"de {n}") for n in range(50)] + [("en", "sw", f"en x{n}", f"sw {n}") for n in range(5)],
    [("fi", f"fi {n}") for n in range(20)],
)


def test_everything_when_there_is_room():
    sample = sample_texts(CORPUS, alpha=0.5, max_sentences=1000)
    assert {tag: len(texts) for tag, texts in sample.items()} == {"de": 50, "en": 55, "fi": 20, "sw": 5}
    assert sample["de"] == [f"de {n}" for n in range(50)]  # stored order
    assert list(sample) == ["de", "en", "fi", "sw"]


@pytest.mark.parametrize("size", [1, 2, 7, 100])
def test_batches_do_not_matter(size):
    expected = sample_texts(CORPUS, alpha=0.5, max_sentences=40, seed=3)
    other = Pairs(CORPUS.pairs, CORPUS.mono, size)
    assert sample_texts(other, alpha=0.5, max_sentences=40, seed=3) == expected


def test_small_languages_are_heard_and_nothing_comes_twice():
    sample = sample_texts(CORPUS, alpha=0.0, max_sentences=40)
    assert [len(sample[tag]) for tag in ("de", "en", "fi", "sw")] == [11, 11, 11, 5]
    assert all(len(set(texts)) == len(texts) for texts in sample.values())
    assert sample_texts(CORPUS, alpha=0.0, max_sentences=40, seed=1) != sample


def test_a_repeated_source_counts_once():
    pairs = [("en", tag, "one source", f"text {tag}") for tag in ("de", "fr", "sw")]
    sample = sample_texts(Pairs(pairs, []), alpha=1.0, max_sentences=100)
    assert sample["en"] == ["one source"]


def test_a_limit_on_characters():
    corpus = Pairs([], [("de", "x" * 100) for _ in range(100)])
    assert len(sample_texts(corpus, alpha=0.5, max_sentences=100, max_characters=1000)["de"]) == 10


def test_an_empty_corpus():
    with pytest.raises(UserError, match="no text"):
        sample_texts(Pairs([], []), alpha=0.5, max_sentences=10)


@given(
    st.dictionaries(st.text(min_size=1, max_size=3), st.integers(1, 10_000), min_size=1, max_size=12),
    st.floats(0, 1),
    st.integers(12, 20_000),
)
def test_quotas_use_the_budget_and_no_more_than_there_is(available, alpha, total):
    shares = quotas(available, alpha, total)
    assert shares.keys() == available.keys()
    assert all(1 <= shares[tag] <= available[tag] for tag in available)
    assert sum(shares.values()) <= total + len(available)  # every language gives one sentence at least
    if sum(available.values()) <= total:
        assert shares == available
    else:
        assert sum(shares.values()) > total - 2 * len(available)
    order = sorted(available, key=available.__getitem__)
    assert all(shares[a] <= shares[b] for a, b in zip(order, order[1:], strict=False))
