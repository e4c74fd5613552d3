"""Diagnoses of runs that have each illness and of one that has none; the page in a browser."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import browser
from mlcl.reports import analyse_plots as plots
from mlcl.reports.analyse_diagnoses import DIAGNOSES, diagnose
from mlcl.reports.analyse_page import html_page, language_table, results, settings
from mlcl.reports.analyse_run import Measures, Run

TRAINING = {
    "per_device_train_batch_size": 128, "gradient_accumulation_steps": 1, "info_nce_weight": 1.0, "lm_weight": 0.1,
    "queue_size": 0, "momentum": 0.99, "margin": 0.0, "symmetric": True, "learnable_temperature": False,
}  # fmt: skip
MEASURES = Measures(
    model="run/model", groups=300, accuracy={"de": (0.9, 200), "fr": (0.88, 200), "sw": (0.85, 200)}, alignment=0.3,
    uniformity=-3.0, effective_rank=120.0, dimension=256, equal_sides=0.01, near_copies=0.01, sampled_pairs=512,
)  # fmt: skip


def lines(steps: int = 200, every: int = 10, **curves) -> list[dict]:
    """What a healthy run logs; a keyword is a function of the share of the run, or None to leave the key out."""
    usual = {
        "info_nce": lambda t: 0.4 + 4 * math.exp(-5 * t),
        "lm": lambda t: 5 + 4 * math.exp(-3 * t),
        "lr": lambda t: 1e-3 * (1 - t),
        "padding_fraction": lambda t: 0.0,
        "data_wait_fraction": lambda t: 0.01,
        "pairs_per_second": lambda t: 500.0,
        "effective_rank": lambda t: 60 + 60 * t,
        "uniformity": lambda t: -1 - 2 * t,
        "alignment": lambda t: 0.6 - 0.3 * t,
        "gradient_cosine": lambda t: 0.02,
        "gradient_norm_info_nce": lambda t: 2.0,
        "gradient_norm_lm": lambda t: 4.0,
        "eval_accuracy": lambda t: 0.9 * (1 - math.exp(-5 * t)),
    }
    wanted = {key: curve for key, curve in (usual | curves).items() if curve is not None}
    found = []
    for step in range(every, steps + 1, every):
        line = {"step": step, **{key: curve(step / steps) for key, curve in wanted.items()}}
        found.append({**line, "loss": line.get("info_nce", 0.0) + 0.1 * line.get("lm", 0.0)})
    return found


def run(training=None, measures=MEASURES, **curves) -> Run:
    return Run(
        name="run", path=Path("run"), lines=lines(**curves), training=TRAINING | (training or {}),
        settings={"training": {"lm_weight": 0.1}, "sampling": {"alpha": 0.5}},
        sentences={"de": 40_000, "fr": 30_000, "sw": 2_000}, alpha=0.5, measures=measures,
    )  # fmt: skip


def found(what: Run) -> set[str]:
    return {verdict.key for verdict in diagnose(what) if verdict.found}


HEALTHY = run()
ILL = {
    "not_finite": run(info_nce=lambda t: math.nan if t > 0.9 else 3.0 - t),
    "diverging": run(info_nce=lambda t: 4 - 3 * t if t < 0.7 else 1.9 + 2 * (t - 0.7)),
    "collapse": run(measures=replace(MEASURES, uniformity=-0.05, effective_rank=1.3)),
    "leaking_positives": run(info_nce=lambda t: 0.05 - 0.01 * t),
    "false_negatives": run(measures=replace(MEASURES, near_copies=0.12)),
    "starving_languages": run(measures=replace(MEASURES, accuracy={**MEASURES.accuracy, "sw": (0.3, 100)})),
    "lm_overwhelms": run({"lm_weight": 4.0}),
    "lm_overwhelmed": run({"lm_weight": 0.001}, lm=lambda t: 9.0),
    "conflicting_terms": run(gradient_cosine=lambda t: -0.3 * t),
    "temperature_at_bound": run({"learnable_temperature": True}, temperature=lambda t: 0.05 - 0.04 * t),
    "stale_queue": run({"queue_size": 4096, "momentum": 0.999}, queue_filled=lambda t: 4096),
    "data_starvation": replace(HEALTHY, sentences={"de": 300}, lines=lines(eval_accuracy=lambda t: 0.9 - t / 2)),
    "padding": run(padding_fraction=lambda t: 0.6),
    "waiting_for_data": run(data_wait_fraction=lambda t: 0.4),
}


def test_a_healthy_run_has_nothing_and_all_was_looked_at_that_could_be():
    verdicts = diagnose(HEALTHY)
    assert found(HEALTHY) == set()
    unknown = {verdict.key for verdict in verdicts if verdict.found is None}
    assert unknown == {"temperature_at_bound", "stale_queue"}  # it has neither
    assert len(verdicts) == len(DIAGNOSES) == len(ILL)


@pytest.mark.parametrize("key", DIAGNOSES)
def test_each_illness_is_found_alone_with_evidence_and_remedy(key):
    assert found(ILL[key]) == {key}
    (verdict,) = [verdict for verdict in diagnose(ILL[key]) if verdict.found]
    assert any(letter.isdigit() for letter in verdict.evidence)
    assert verdict.remedy
    assert verdict.title != key


def test_further_evidence_of_the_same_illnesses():
    by_chance = math.log(128)
    stuck = run(measures=None, info_nce=lambda t: by_chance + 0.001 * (1 - t), uniformity=None, effective_rank=None)
    assert found(stuck) == {"collapse"}
    assert found(run(measures=replace(MEASURES, equal_sides=0.2))) == {"leaking_positives"}
    assert found(replace(HEALTHY, bad_batches=["bad-batch-7.json"])) == {"not_finite"}
    no_gradients = {"gradient_norm_info_nce": None, "gradient_norm_lm": None}
    assert found(run({"lm_weight": 4.0}, **no_gradients)) == {"lm_overwhelms"}
    old = run({"queue_size": 4096, "momentum": 0.9}, queue_filled=lambda t: 4096, queue_cosine=lambda t: 0.4)
    assert found(old) == {"stale_queue"}
    assert found(run({"queue_size": 4096, "momentum": 0.9}, queue_filled=lambda t: 4096)) == set()
    scheduled = run({"lm_weight": 4.0}, lm_weight=lambda t: 0.1)  # what was logged goes before the setting
    assert found(scheduled) == set()


def test_a_starving_language_gets_the_remedy_that_fits_how_often_it_was_drawn():
    low = replace(MEASURES, accuracy={**MEASURES.accuracy, "sw": (0.3, 100)})
    for sentences, expected in ((2_000_000, "lower sampling.alpha"), (30, "related languages"), (2_500, "the script")):
        ill = replace(HEALTHY, measures=low, sentences={"de": 40_000, "fr": 30_000, "sw": sentences})
        (verdict,) = [verdict for verdict in diagnose(ill) if verdict.found]
        assert expected in verdict.remedy
        assert "Swahili (sw) 30%" in verdict.evidence
    few = replace(MEASURES, accuracy={**MEASURES.accuracy, "sw": (0.0, 5)})
    assert found(replace(HEALTHY, measures=few)) == set()  # five sentences prove nothing


def test_counted_draws_go_before_expected_ones():
    assert HEALTHY.drawn()["de"] == pytest.approx(math.sqrt(40) / (math.sqrt(40) + math.sqrt(30) + math.sqrt(2)))
    counted = replace(
        HEALTHY, lines=[{"step": 1, "pairs_by_language": {"de": 3}}, {"step": 2, "pairs_by_language": {"sw": 1}}]
    )
    assert counted.drawn() == {"de": 0.75, "sw": 0.25}


def test_a_run_that_logged_nothing_and_one_that_has_just_begun_are_no_error():
    for lines_ in ([], [{"step": 1, "loss": 3.0, "info_nce": 3.0}]):
        bare = Run("bare", Path("bare"), lines_)
        assert {verdict.key for verdict in diagnose(bare) if verdict.found} == set()
        assert "bare" in html_page([bare], {"bare": diagnose(bare)})


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=60), st.integers(1, 10))
def test_thinned_curves_keep_mean_and_last_step(values, most):
    points = list(enumerate(values))
    thin = plots.thinned(points, most)
    assert len(thin) <= most
    assert thin[-1][0] == points[-1][0]
    assert min(values) - 1e-6 <= min(v for _, v in thin)
    assert max(v for _, v in thin) <= max(values) + 1e-6


# Subnormal numbers become 0 when they are divided by a step; no axis shows them.
@given(st.floats(-1e9, 1e9, allow_subnormal=False), st.floats(0, 1e9, allow_subnormal=False))
def test_ticks_enclose_the_values(low, spread):
    ticks = plots._ticks(low, low + spread)
    assert 2 <= len(ticks) <= 7
    assert ticks[0] <= low + 1e-9 * abs(low)
    assert ticks[-1] >= low + spread - 1e-9 * abs(low + spread)
    assert np.all(np.diff(ticks) > 0)


def test_tables_say_what_is_known_of_each_run():
    other = replace(HEALTHY, name="other", settings={"training": {"lm_weight": 0.3}, "sampling": {"alpha": 0.5}})
    header, rows = language_table([HEALTHY, other])
    assert rows[0][:4] == ["run", "sw", "Swahili", 2_000]
    assert rows[0][header.index("dev accuracy (%)")] == pytest.approx(85)
    assert settings([HEALTHY, other])[1] == [["training.lm_weight", "0.1", "0.3"], ["sampling.alpha", "0.5", "0.5"]]
    first, _ = results([HEALTHY, other], {one.name: diagnose(one) for one in (HEALTHY, other)})
    assert first["last"]["lm"] == HEALTHY.last("lm")
    assert first["measures"]["accuracy"]["sw"] == {"value": 0.85, "n": 200}


def test_the_page_reads_well_everywhere(tmp_path):
    """390 and 1280 pixels wide, light and dark: nothing sticks out, every panel has its curves, text can be read."""
    runs = [HEALTHY, *(replace(ill, name=f"a run that has {key}") for key, ill in list(ILL.items())[:5])]
    path = tmp_path / "report.html"
    path.write_text(html_page(runs, {one.name: diagnose(one) for one in runs}), encoding="utf-8")
    with browser.browser() as page:
        for width in (390, 1280):
            for dark in (False, True):
                page.open(path, width, dark)
                page.evaluate("document.querySelectorAll('details').forEach(part => part.open = true)")
                assert page.complaints() == []
                assert page.requests() == [path.absolute().as_uri()]
                browser.check_layout(page, width)
        drawn = page.evaluate(
            "[...document.querySelectorAll('.panel')].map(e => [e.querySelector('h3').textContent,"
            " e.querySelectorAll('path').length, !!e.closest('section').querySelector('table')])"
        )
        inside = page.evaluate(
            "[...document.querySelectorAll('.panel path')].every(p => { const a = p.getBoundingClientRect(),"
            " b = p.closest('.panel').getBoundingClientRect(); return a.top >= b.top && a.bottom <= b.bottom + 1 })"
        )
        headings = page.evaluate("[...document.querySelectorAll('h2')].map(e => e.textContent)")
        findings = page.evaluate("document.querySelectorAll('.finding').length")
    assert headings == [
        "What is wrong", "Runs", "Losses", "Balance of the terms", "Space", "Speed", "Languages",
        "Everything that was looked at", "Settings",
    ]  # fmt: skip
    assert findings == 6
    assert inside
    titles = [title for title, _, _ in drawn]
    assert {"InfoNCE", "LM term", "learning rate", "effective rank", "cosine of the two gradients"} <= set(titles)
    assert all(paths == len(runs) and has_table for _, paths, has_table in drawn)
