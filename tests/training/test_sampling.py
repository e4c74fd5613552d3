"""Sampling: temperature, directions, held-out groups, and batches as a function of their number."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from mlcl.core.errors import UserError
from mlcl.training.mixing import Stage
from mlcl.training.sampling import Sampler
from mlcl.training.token_store import TokenStore


def make_store(groups: list[tuple[int, list[str]]], mono: list[str] = (), origin=None, origins=None) -> TokenStore:
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
        origin=np.zeros(count, np.uint16) if origin is None else np.asarray(origin),
        origins=["made-up"] if origins is None else origins,
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


@pytest.fixture
def two_origins() -> TokenStore:
    """800 en-de pairs of a crawl; 200 of them, and 100 en-sw pairs, of a curated source."""
    groups = [(i, ["en", "de"]) for i in range(1000)] + [(1000 + i, ["en", "sw"]) for i in range(100)]
    origin = [0] * 1600 + [1] * 600 + [1] * 40
    return make_store(groups, mono=["yo"] * 40, origin=origin, origins=["crawl", "curated"])


def origin_shares(sampler: Sampler, batches: range) -> np.ndarray:
    drawn = np.zeros(2)
    for number in batches:
        draw = sampler.draw(number, 256, 64)
        drawn += np.bincount(sampler.store.origin[draw.anchors], minlength=2)
    return drawn / drawn.sum()


def test_weights_and_caps_of_origins_show_in_the_draws(two_origins):
    sampler = Sampler(two_origins)
    sampler.follow([Stage(alpha=1.0)])
    assert origin_shares(sampler, range(20))[0] == pytest.approx(1600 / 2200, abs=0.03)
    sampler.follow([Stage(alpha=1.0, origin_caps={"crawl": 0.3})])
    assert origin_shares(sampler, range(20))[0] == pytest.approx(0.3, abs=0.03)
    sampler.follow([Stage(alpha=1.0, origin_weights={"crawl": 0.0})])
    assert origin_shares(sampler, range(5)).tolist() == [0, 1]


def test_a_tiny_language_is_not_repeated_beyond_the_limit(two_origins):
    sw = two_origins.languages.index("sw")
    for limit, least, most in ((None, 300, 1e9), (2.0, 0, 300)):
        sampler = Sampler(two_origins, alpha=0.0, max_repeats=limit)
        size, batches = 256, sampler.pairs // 256 + 1
        draws = [sampler.draw(number, size) for number in range(batches)]
        drawn = sum(
            int(np.sum(two_origins.language[side] == sw)) for draw in draws for side in (draw.anchors, draw.positives)
        )
        assert least < drawn < most  # 100 sentences; as partners of the English side they come too


def test_batches_of_a_curriculum_depend_on_their_number_and_the_ends_alone(two_origins):
    stages = [Stage(end=5, alpha=1.0), Stage(end=9, alpha=0.5, origin_caps={"crawl": 0.2}), Stage(alpha=0.0)]
    straight, resumed = Sampler(two_origins, seed=4), Sampler(two_origins, seed=4)
    for sampler in (straight, resumed):
        sampler.follow(stages)
    assert [straight.stage_of(batch) for batch in (0, 4, 5, 8, 9, 1000)] == [0, 0, 1, 1, 2, 2]
    run = [straight.draw(batch, 32, 8) for batch in range(12)]
    for batch in (11, 5, 9, 4):  # any order: a batch needs none before it
        again = resumed.draw(batch, 32, 8)
        for name in ("anchors", "positives", "lm"):
            assert np.array_equal(getattr(run[batch], name), getattr(again, name))
    alone = Sampler(two_origins, seed=4)
    alone.follow([stages[1]])
    assert np.array_equal(alone.draw(7, 32, 8).anchors, run[7].anchors)


def test_unknown_origins_and_limits_that_cannot_be_filled_are_refused(two_origins):
    sampler = Sampler(two_origins)
    with pytest.raises(UserError, match="no origin 'crwl'"):
        sampler.follow([Stage(origin_caps={"crwl": 0.5})])
    with pytest.raises(UserError, match=r"no more than 50 % of the draws be filled \(pairs, stage 1\)"):
        sampler.follow([Stage(end=1), Stage(origin_caps={"crawl": 0.2, "curated": 0.3})])
