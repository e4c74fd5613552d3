"""The report of a benchmark: what its tables say, and how its page looks in a real browser."""

from __future__ import annotations

import numpy as np
import pytest

import browser
from mlcl.reports.benchmark_page import _round_up, html_page
from mlcl.reports.benchmark_report import markdown
from mlcl.reports.benchmark_tables import Benchmark
from mlcl.reports.published import published
from mlcl.reports.results_report import Evaluation

MODELS = {
    "ours": "runs/ours/model",
    "a peer with a rather long name": "org/peer-multilingual-base-v2",
    "tfidf": "tfidf",
}
LANGUAGES = ("en de fr es it pt nl sv da nb fi et lv pl cs bg ru uk sr el tr ar he fa hi bn ta te th vi id zh-Hans ja "
             "ko sw ha yo am").split()  # fmt: skip
HEADLINES = {
    "tatoeba": [("accuracy", "mean")],
    "multiparallel": [("accuracy", "mean")],
    "xnli": [("accuracy", "linear"), ("accuracy", "full")],
    "xsim": [("xsim_error", "into en")],
    "xquad": [("map", "mixed pool")],
    "<task> & co": [("f1", "mining")],
}
KNOWN = {"ours": LANGUAGES[:20], "a peer with a rather long name": LANGUAGES[:1], "tfidf": None}


def row(task, metric, direction, model, language, value, split="test", n=1000, **changes):
    interval = {"low": None, "high": None} if task == "xsim" else {"low": value - 3, "high": value + 3}
    return {
        "task": task, "split": split, "language": language, "code": "" if language.startswith("avg:") else language,
        "direction": direction, "metric": metric, "value": value, **interval, "n": n, "model": model, "seed": None,
        "train_language": None, **changes,
    }  # fmt: skip


def averaged(rows, trained):
    """The rows with their averages, as tasks give them."""
    values = [one["value"] for one in rows]
    groups = {"avg:all": values}
    if trained:
        groups["avg:trained"] = [one["value"] for one in rows if one["language"] in trained]
        groups["avg:untrained"] = [one["value"] for one in rows if one["language"] not in trained]
    first = rows[0]
    return [
        *rows,
        *(
            {
                **first,
                "language": name,
                "code": "",
                "value": (mean := float(np.mean(found))),
                "n": len(found),
                "low": mean - 3,
                "high": mean + 3,
            }
            for name, found in groups.items()
            if found
        ),
    ]


@pytest.fixture(scope="module")
def benchmark():
    chance = np.random.default_rng(0)
    rows, fertility, times = [], [], []
    for place, model in enumerate(MODELS):
        level = (75, 55, 25)[place]

        def scores(languages, spread=12.0, level=level):
            return zip(
                languages, np.clip(chance.normal(level, spread, size=len(languages)), 0, 100).tolist(), strict=True
            )

        tests = [
            ("tatoeba", "accuracy", "mean", LANGUAGES, {}),
            ("multiparallel", "accuracy", "mean", LANGUAGES[:18], {"split": "pud"}),
            ("multiparallel", "accuracy", "mean", LANGUAGES, {"split": "sib200-dev"}),
            ("xnli", "accuracy", "linear", LANGUAGES[:15], {"train_language": "en"}),
            ("xnli", "accuracy", "full", LANGUAGES[:15], {"train_language": "en"}),
            ("xsim", "xsim_error", "into en", LANGUAGES[:9], {}),
            ("xquad", "map", "mixed pool", LANGUAGES[:11], {}),
            ("<task> & co", "f1", "mining", ["zh-Hans"], {}),
        ]
        for task, metric, direction, languages, changes in tests:
            found = [row(task, metric, direction, model, tag, value, **changes) for tag, value in scores(languages)]
            rows += averaged(found, KNOWN[model])
        rows += [
            row("xnli", "majority_accuracy", "floor", model, tag, 33.3, train_language="en") for tag in LANGUAGES[:15]
        ]
        rows += [
            row("xquad", "own_language_top1", "mixed pool", model, tag, value) for tag, value in scores(LANGUAGES[:11])
        ]
        if model != "tfidf":
            fertility += [
                {"model": model, "task": "tatoeba", "split": "test", "language": tag, "premium": 1 + abs(float(x)),
                 "tokens_per_sentence": 20.0, "score": value}
                for (tag, value), x in zip(scores(LANGUAGES), chance.normal(0, 1, size=len(LANGUAGES)), strict=True)
            ]  # fmt: skip
        times += [
            {
                "model": model,
                "task": task,
                "texts": 10_000,
                "encode_seconds": 0.0 if task == "xsim" else 9.0,
                "seconds": 14.0,
            }
            for task in HEADLINES
        ]
    comparisons = [
        {
            "task": "tatoeba", "split": "test", "metric": "accuracy", "direction": "mean", "first": "ours",
            "second": other, "difference": 12.34, "low": 8.0, "high": 17.0, "p": 0.0004, "p_holm": 0.0012, "n": 37,
            "resampled": "languages",
        }
        for other in list(MODELS)[1:]
    ]  # fmt: skip
    comparisons.append(
        {**comparisons[0], "task": "xsim", "metric": "xsim_error", "direction": "into en", "low": None, "high": None,
         "p": None, "p_holm": None, "difference": -3.0, "resampled": "examples"}
    )  # fmt: skip
    evaluation = Evaluation(rows, MODELS, KNOWN, {task: found[0] for task, found in HEADLINES.items()})
    facts = {"command": "mlcl benchmark --model ours --data DATA --out OUT", "versions": "mlcl 1"}
    return Benchmark(evaluation, HEADLINES, comparisons, fertility, times, {"bucc": "no bucc2018/ under DATA"}, facts)


def test_every_test_has_its_row_with_its_numbers(benchmark):
    header, rows = benchmark.summary()
    assert header == ["task", "measure", "languages", "examples each", "floor", *MODELS]
    assert [line[0] for line in rows] == [
        "tatoeba", "multiparallel (pud)", "multiparallel (sib200-dev)", "xnli (linear, from en)",
        "xnli (full, from en)", "xsim", "xquad", "<task> & co",
    ]  # fmt: skip
    xnli = rows[3]
    assert xnli[1:5] == ["accuracy, linear", "15", "1,000", "33.3"]
    expected = np.mean(
        [
            one["value"]
            for one in benchmark.evaluation.rows
            if (one["task"], one["direction"], one["model"]) == ("xnli", "linear", "ours") and one["code"]
        ]
    )
    assert xnli[5].startswith(f"{expected:.1f} [")
    assert rows[0][4] == ""


def test_comparisons_are_told_with_their_task(benchmark):
    _, rows = benchmark.compared()
    peer = "a peer with a rather long name"
    assert rows[0] == [peer, "tatoeba", "+12.3 [+8.0, +17.0]", "< 0.001", "0.001", "37 languages"]
    assert rows[-1] == [peer, "xsim", "-3.0", "", "", "examples"]


def test_gaps_are_between_seen_and_other_languages(benchmark):
    trained, labelled = benchmark.gaps()
    gap = next(one for one in trained if (one.column.task, one.model) == ("tatoeba", "ours"))
    of = {one["language"]: one["value"] for one in benchmark.evaluation.rows
          if (one["task"], one["model"]) == ("tatoeba", "ours")}  # fmt: skip
    assert gap.languages == (20, len(LANGUAGES) - 20)
    assert gap.seen == pytest.approx(np.mean([of[tag] for tag in LANGUAGES[:20]]))
    assert gap.unseen == pytest.approx(np.mean([of[tag] for tag in LANGUAGES[20:]]))
    assert {one.model for one in trained} == {"ours", "a peer with a rather long name"}  # tfidf: nothing is known
    assert {(one.column.task, one.languages) for one in labelled} == {("xnli", (1, 14))}
    assert len(labelled) == 6


def test_languages_are_ordered_by_ease_and_starred(benchmark):
    heads, cells = benchmark.languages("ours")
    assert len(heads) == len(LANGUAGES)
    assert {tag for tag, _, star in heads if star} == set(LANGUAGES[20:])
    above = [cell["tatoeba"]["value"] for cell in cells if set(cell) == {"tatoeba", "multiparallel (sib200-dev)"}]
    assert np.corrcoef(above, range(len(above)))[0, 1] < -0.5


def test_a_language_of_one_test_is_not_the_best():
    rows = [row(task, "accuracy", "mean", "m", tag, value) for task, tag, value in (
        ("a", "de", 80.0), ("b", "de", 80.0), ("c", "de", 80.0), ("a", "ia", 95.0), ("a", "sw", 20.0),
        ("b", "sw", 20.0), ("c", "sw", 20.0),
    )]  # fmt: skip
    headlines = dict.fromkeys("abc", ("accuracy", "mean"))
    evaluation = Evaluation(rows, {"m": "m"}, {"m": None}, headlines)
    shown = Benchmark(evaluation, {task: [one] for task, one in headlines.items()}, [], [], [], {}, {})
    assert [tag for tag, _, _ in shown.languages("m")[0]] == ["de", "ia", "sw"]


def test_two_codes_of_one_language_stay_two_rows():
    rows = [row("t", "accuracy", "mean", "m", "dtp", value, code=code) for code, value in (("dtp", 1.0), ("kzj", 9.0))]
    evaluation = Evaluation(rows, {"m": "m"}, {"m": None}, {"t": ("accuracy", "mean")})
    heads, cells = Benchmark(evaluation, {"t": [("accuracy", "mean")]}, [], [], [], {}, {}).languages("m")
    assert {(head[0], cell["t"]["value"]) for head, cell in zip(heads, cells, strict=True)} == {
        ("dtp dtp", 1.0),
        ("dtp kzj", 9.0),
    }


def test_markdown_has_everything(benchmark):
    text = markdown(benchmark)
    for part in (
        "## Significance",
        "## Time",
        "## Published numbers",
        "LaBSE",
        "- bucc: no bucc2018/ under DATA",
    ):
        assert part in text
    lines = text.split("\n")
    for number, line in enumerate(lines):
        if line.startswith("|---"):
            widths = {other.replace("\\|", "").count("|") for other in (lines[number - 1], line, lines[number + 1])}
            assert len(widths) == 1, lines[number - 1]


def test_published_numbers_are_whole():
    tables = published()
    assert len(tables) >= 5
    for table in tables:
        assert table.source
        assert table.protocol
        assert all(len(line) == len(table.header) for line in table.rows)
    from mlcl.core import plugins

    assert {task for table in tables for task in table.tasks} <= set(plugins.names("mlcl.tasks"))


@pytest.mark.parametrize(("value", "top"), [(0.3, 1), (1.5, 2), (3, 4), (4.1, 10), (12, 20), (21, 40), (41, 100)])
def test_axes_end_at_round_numbers(value, top):
    assert _round_up(value) == top


def test_one_model_and_one_task_make_a_page():
    rows = [row("t", "spearman", "within", "m", "de", -3.0)]
    evaluation = Evaluation(rows, {"m": "m"}, {"m": None}, {"t": ("spearman", "within")})
    alone = Benchmark(evaluation, {"t": [("spearman", "within")]}, [], [], [], {}, {})
    assert "-3.0" in html_page(alone)
    assert "| t | spearman, within | 1 | 1,000 |" in markdown(alone)


def test_the_page_reads_well_everywhere(benchmark, tmp_path):
    """390 and 1280 pixels wide, light and dark: nothing sticks out, every chart is drawn, text can be read."""
    path = tmp_path / "report.html"
    path.write_text(html_page(benchmark), encoding="utf-8")
    grounds = {}
    with browser.browser() as page:
        for width in (390, 1280):
            for dark in (False, True):
                page.open(path, width, dark)
                page.evaluate("document.querySelectorAll('details').forEach(part => part.open = true)")
                assert page.complaints() == []
                assert page.requests() == [path.absolute().as_uri()], "the page needs nothing but itself"
                browser.check_layout(page, width)
                grounds[width, dark] = page.evaluate("getComputedStyle(document.body).backgroundColor")
        charts = page.evaluate(
            "[...document.querySelectorAll('[role=img]')].map(e => [e.ariaLabel, e.getBoundingClientRect().height,"
            " e.querySelectorAll('circle, rect').length, !!e.closest('section').querySelector('table')])"
        )
        headings = page.evaluate("[...document.querySelectorAll('h2')].map(e => e.textContent)")
        links = page.evaluate("[...document.querySelectorAll('nav a')].every(a => document.querySelector(a.hash))")
    assert headings == [
        "Result", "Significance", "Languages and tasks", "Transfer", "Language bias", "Tokens and quality", "Time",
        "Published numbers", "All numbers", "How it was measured",
    ]  # fmt: skip
    assert links
    assert len(charts) == 8  # result, two comparisons, two transfer, bias, fertility, time
    for label, height, marks, has_table in charts:
        assert label
        assert height > 30
        assert marks > 0
        assert has_table, "the numbers of a chart stand in a table near it"
    assert grounds[390, False] == grounds[1280, False] != grounds[390, True] == grounds[1280, True]
