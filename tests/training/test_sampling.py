"""Sampling: temperature, directions, held-out groups, and batches as a function of their number."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from mlcl.core.errors import UserError
from mlcl.training.sampling import Sampler
from mlcl.training.token_store import TokenStore


def make_store(groups: list[tuple[int, list[str]]], mono: list[str] = ()) -> TokenStore:
    """A store with one token per sentence: its own index."""
    tags = [tag for _, tags in groups for tag in tags] + list(mono)
    languages = sorted(set(tags))
    numbers = [number for number, tags in groups for _ in tags]
    count = len(tags)
    return TokenStore(
        tokens=np.arange(count),
        offsets=np.arange(count + 1),
        language=np.array([languages.index(tag) for tag in tags]),
        group=np.array(numbers + [-1] * len(mono)),
        parallel=len(numbers),
        languages=languages,
    )


@pytest.fixture
def store() -> TokenStore:
    """900 en-de pairs, 100 en-sw-de triples, 50 single sentences in Yoruba; groups are not contiguous."""
    groups = [(2 * i, ["en", "de"]) for i in range(900)] + [(2 * i + 1, ["en", "sw", "de"]) for i in range(100)]
    return make_store(groups[500:] + groups[:500], mono=["yo"] * 50)


def test_pairs_are_translations_in_two_different_sentences(store):
    draw = Sampler(store, seed=3).draw(0, 500, 20)
    assert np.array_equal(store.group[draw.anchors], store.group[draw.positives])
    assert (draw.anchors != draw.positives).all()
    assert len(draw.lm) == 20


@pytest.mark.parametrize("alpha", [0.0, 0.5, 1.0])
def test_languages_follow_the_temperature(store, alpha):
    sampler = Sampler(store, alpha=alpha, seed=1)
    drawn = Counter()
    for number in range(40):
        draw = sampler.draw(number, 256)
        sides = np.concatenate([draw.anchors, draw.positives])
        drawn.update(store.language[sides].tolist())
    size = {"en": 1000, "de": 1000, "sw": 100}
    weight = {tag: count**alpha for tag, count in size.items()}
    share = {tag: w / sum(weight.values()) for tag, w in weight.items()}
    # A drawn sentence is of its language with `share`; its partner is any other member of the group.
    partner_sw = (share["en"] + share["de"]) * (100 / 1000) / 2
    expected = (share["sw"] + partner_sw) / 2
    assert drawn[store.languages.index("sw")] / drawn.total() == pytest.approx(expected, abs=0.02)


def test_every_direction_of_a_group_occurs_and_sides_swap(store):
    sampler, language = Sampler(store, alpha=0.0), store.language
    directions = Counter()
    for number in range(20):
        draw = sampler.draw(number, 256)
        directions.update(zip(language[draw.anchors].tolist(), language[draw.positives].tolist(), strict=True))
    assert len(directions) == 6
    for (a, b), count in directions.items():
        assert count == pytest.approx(directions[b, a], rel=0.25)


def test_the_pivot_is_favoured(store):
    en = store.languages.index("en")

    def share(sampler: Sampler) -> float:
        draws = [sampler.draw(number, 256) for number in range(10)]
        return float(np.mean([(store.language[d.anchors] == en) | (store.language[d.positives] == en) for d in draws]))

    assert share(Sampler(store, alpha=0.0, pivot="en", pivot_share=1.0)) > 0.95 > share(Sampler(store, alpha=0.0))


def test_a_batch_depends_on_seed_and_number_only(store):
    first, again, other = Sampler(store, seed=5), Sampler(store, seed=5), Sampler(store, seed=6)
    first.draw(0, 64, 8)
    expected, same, different = first.draw(9, 64, 8), again.draw(9, 64, 8), other.draw(9, 64, 8)
    for name in ("anchors", "positives", "lm"):
        assert np.array_equal(getattr(expected, name), getattr(same, name))
    assert not np.array_equal(expected.anchors, different.anchors)


def test_held_out_groups_never_come_in_training(store):
    sampler = Sampler(store, dev_groups=50, seed=2)
    anchors, positives = sampler.dev_pairs()
    assert len(anchors) == 50 == len(set(store.group[anchors]))
    assert np.array_equal(store.group[anchors], store.group[positives])
    seen = set()
    for number in range(30):
        draw = sampler.draw(number, 256, 256)
        seen |= set(store.group[np.concatenate([draw.anchors, draw.positives, draw.lm])].tolist())
    assert not seen & set(sampler.dev_ids.tolist())


def test_monolingual_sentences_come_in_the_lm_term_only(store):
    sampler = Sampler(store, alpha=0.0)
    draw = sampler.draw(0, 400, 400)
    assert (draw.lm >= store.parallel).any()
    assert (draw.anchors < store.parallel).all()
    assert (draw.positives < store.parallel).all()


def test_a_corpus_without_pairs_and_an_unknown_pivot_are_refused(store):
    with pytest.raises(UserError, match="no translation pair"):
        Sampler(make_store([(0, ["en"]), (1, ["de"])]))
    with pytest.raises(UserError, match="'fr'"):
        Sampler(store, pivot="fr")
