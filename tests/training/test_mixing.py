"""Shares of languages and origins: temperature, weights, caps, limited repetition; and the stages of a curriculum."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from mlcl.core.errors import UserError
from mlcl.training.mixing import Infeasible, SamplingSettings, StageSettings, check, plan, proportions, steps_of_run

LANGUAGE, ORIGIN = np.array([0, 0, 1, 1, 2]), np.array([0, 1, 0, 1, 1])
COUNTS = np.array([9000, 1000, 500, 1500, 20])
FREE = np.ones(2)


def shares_of(labels: np.ndarray, p: np.ndarray) -> np.ndarray:
    return np.bincount(labels, p)


def test_without_limits_languages_follow_the_temperature_and_origins_the_data():
    p = proportions(COUNTS, LANGUAGE, ORIGIN, 0.5, FREE, FREE)
    expected = np.sqrt([10_000, 2000, 20])
    assert shares_of(LANGUAGE, p) == pytest.approx(expected / expected.sum())
    assert p[0] / p[1] == pytest.approx(9)
    assert p[3] / p[2] == pytest.approx(3)


def test_a_weight_is_as_if_the_sentences_were_there_so_often():
    p = proportions(COUNTS, LANGUAGE, ORIGIN, 0.5, np.array([1.0, 3.0]), FREE)
    same = proportions(COUNTS * np.where(ORIGIN == 1, 3, 1), LANGUAGE, ORIGIN, 0.5, FREE, FREE)
    assert p == pytest.approx(same)
    assert proportions(COUNTS, LANGUAGE, ORIGIN, 0.0, np.array([1.0, 0.0]), FREE).tolist() == [0.5, 0, 0.5, 0, 0]


def test_a_capped_origin_gives_its_rest_to_the_others_and_keeps_its_own_proportions():
    free = proportions(COUNTS, LANGUAGE, ORIGIN, 1.0, FREE, FREE)
    p = proportions(COUNTS, LANGUAGE, ORIGIN, 1.0, FREE, np.array([0.4, 1.0]))
    assert shares_of(ORIGIN, p) == pytest.approx([0.4, 0.6])
    for origin in (0, 1):
        cells = origin == ORIGIN
        assert p[cells] / p[cells].sum() == pytest.approx(free[cells] / free[cells].sum())


def test_no_sentence_comes_more_often_than_allowed():
    free = proportions(COUNTS, LANGUAGE, ORIGIN, 0.0, FREE, FREE)
    assert free[4] / (20 / COUNTS.sum()) > 100
    p = proportions(COUNTS, LANGUAGE, ORIGIN, 0.0, FREE, FREE, max_repeats=4)
    repeats = p / (COUNTS / COUNTS.sum())
    assert repeats.max() == pytest.approx(4)
    below = repeats < 4 - 1e-9
    assert p[below] / p[below].sum() == pytest.approx(free[below] / free[below].sum())


@given(
    arrays(np.int64, 6, elements=st.integers(1, 10_000)),
    st.floats(0, 1),
    arrays(np.float64, 3, elements=st.floats(0.05, 1)),
    arrays(np.float64, 3, elements=st.just(0.0) | st.floats(1e-3, 5)),
    st.floats(1, 20),
)
def test_limits_are_kept_and_the_rest_keeps_its_proportions(counts, alpha, caps, weights, repeats):
    language, origin = np.array([0, 0, 1, 1, 2, 2]), np.array([0, 1, 1, 2, 2, 0])
    assume(weights.any())
    try:
        p = proportions(counts, language, origin, alpha, weights, caps, repeats)
    except Infeasible as error:
        assert error.share < 1  # noqa: PT017
        return
    upper = repeats * counts / counts.sum()
    assert p.sum() == pytest.approx(1)
    assert (p >= 0).all()
    assert (p <= upper + 1e-6).all()
    assert (shares_of(origin, p) <= caps + 1e-6).all()
    free = proportions(counts, language, origin, alpha, weights, np.ones(3))
    # Optimality (Karush-Kuhn-Tucker): cells that no limit touches have grown by one factor, the largest of all.
    loose = (p < upper * (1 - 1e-6)) & (shares_of(origin, p) < caps * (1 - 1e-6))[origin] & (free > 1e-12)
    growth = p[loose] / free[loose]
    if len(growth):
        assert growth == pytest.approx(growth.max(), rel=1e-4)
        assert (p[free > 1e-12] / free[free > 1e-12] <= growth.max() * (1 + 1e-4)).all()


def test_limits_that_cannot_be_filled_say_how_much_is_left():
    with pytest.raises(Infeasible, match="0.3"):
        proportions(COUNTS, LANGUAGE, ORIGIN, 1.0, FREE, np.array([0.1, 0.2]))
    with pytest.raises(Infeasible):
        proportions(COUNTS, LANGUAGE, ORIGIN, 1.0, np.zeros(2), FREE)


def test_stages_end_at_shares_or_steps_and_inherit_what_they_leave_open():
    settings = SamplingSettings(
        alpha=0.7,
        pivot_share=0.2,
        origin_caps={"a": 0.5},
        stages=[StageSettings(until=0.5), StageSettings(until=80, alpha=0.5, origin_caps={}), StageSettings(alpha=0.3)],
    )
    stages = plan(settings, steps=100, batches_per_step=6)
    assert [(s.end, s.alpha, s.pivot_share, dict(s.origin_caps)) for s in stages] == [
        (300, 0.7, 0.2, {"a": 0.5}), (480, 0.5, 0.2, {}), (None, 0.3, 0.2, {"a": 0.5}),
    ]  # fmt: skip
    (alone,) = plan(SamplingSettings(alpha=0.7), steps=None, batches_per_step=1)
    assert (alone.end, alone.alpha) == (None, 0.7)


@pytest.mark.parametrize(
    ("settings", "steps", "message"),
    [
        ({"alpha": 1.5}, 10, r"sampling.alpha is 1.5"),
        ({"max_repeats": 0.5}, 10, r"sampling.max_repeats is 0.5"),
        ({"origin_caps": {"a": 0.0}}, 10, r"origin_caps.a is 0.0"),
        ({"origin_weights": {"a": -1.0}}, 10, r"origin_weights.a is -1.0, it must be 0 or"),
        ({"stages": [StageSettings(alpha=0.1), StageSettings()]}, 10, r"stages.0.until is missing"),
        ({"stages": [StageSettings(until=0.5), StageSettings(until=3), StageSettings()]}, 10, r"stages.1.until does"),
        ({"stages": [StageSettings(until=0.5), StageSettings(pivot_share=2)]}, 10, r"stages.1.pivot_share is 2"),
        ({"stages": [StageSettings(until=0.5), StageSettings()]}, None, r"the clock ends this run"),
    ],
)
def test_mistakes_name_the_setting(settings, steps, message):
    with pytest.raises(UserError, match=message):
        plan(SamplingSettings(**settings), steps, 1)


def test_an_origin_that_the_corpus_lacks_is_named_with_the_likely_one():
    settings = SamplingSettings(stages=[StageSettings(until=1, origin_weights={"ntrx": 2.0}), StageSettings()])
    check(settings, 10, None)
    with pytest.raises(UserError, match=r"no origin 'ntrx' \(did you mean ntrex\?\)"):
        check(settings, 10, ["ntrex", "po"])


def test_steps_of_a_run():
    args = SimpleNamespace(
        ends_by_clock=False, max_steps=-1, num_train_epochs=3, world_size=2, gradient_accumulation_steps=4
    )
    assert steps_of_run(args, batches_per_epoch=100) == 3 * 13  # 50 batches of a rank are 13 steps
    args.max_steps = 7
    assert steps_of_run(args, 100) == 7
    args.ends_by_clock = True
    assert steps_of_run(args, 100) is None
