"""What every task must do, whatever it measures.

A new task needs a tiny layout in `tests/layouts.py` (in `tests/labelled_layouts.py` if it has labels), nothing else.
"""

from __future__ import annotations

import dataclasses
import json
import math
import re

import numpy as np
import pytest

import labelled_layouts
import layouts
from mlcl import tasks
from mlcl.core import plugins
from mlcl.core.errors import UserError
from mlcl.core.files import RowCounter
from mlcl.core.languages import canonical
from mlcl.retrieval.tfidf import TfidfEncoder


class Perfect:
    """An encoder that knows the meaning of the made-up sentences; counts its calls."""

    def __init__(self):
        self.calls = []
        self.table = np.random.default_rng(0).normal(size=(400, 32)).astype(np.float32)

    def __call__(self, texts):
        self.calls.append(texts)
        return 7 * self.table[[layouts.meaning(text) for text in texts]]


MODULES = {name: plugins.load("mlcl.tasks", name) for name in tasks.names()}
WITHOUT_PROBE = [name for name, module in MODULES.items() if getattr(module, "NEEDS_FINETUNE", False)]


@pytest.fixture(params=sorted(set(MODULES) - set(WITHOUT_PROBE)))
def task(request):
    return MODULES[request.param]


@pytest.fixture
def root(tmp_path):
    return labelled_layouts.write_all(layouts.write_all(tmp_path / "data"))


@pytest.mark.parametrize("name", WITHOUT_PROBE)
def test_a_task_without_a_probe_says_what_to_use(name, root, tmp_path):
    task = MODULES[name]
    for ask in (lambda: task.load(root, task.Options()), lambda: task.evaluate(Perfect(), root)):
        with pytest.raises(UserError, match=f"mlcl finetune --task {name}"):
            ask()
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=re.escape(str(tmp_path / "empty"))):
        task.load(tmp_path / "empty", task.Options())


@pytest.mark.parametrize("name", [name for name, module in MODULES.items() if hasattr(module, "TASK")])
def test_a_labelled_task_keeps_the_contract(name, root):
    task = MODULES[name].TASK
    assert task.name == name
    assert MODULES[name].HEADLINE[0] == task.metric
    assert (WITHOUT_PROBE.count(name) == 1) == (task.kind == "tagging")
    for language in task.languages(root):
        assert canonical(language.tag) == language.tag
        assert language.splits
        texts = []
        for split in language.splits:
            rows = RowCounter()
            examples = task.read(root, language.code, split, rows)
            assert len(examples) == rows.good_rows > 0
            assert not rows.bad
            if task.kind == "tagging":
                assert {tag for sentence in examples for tag in sentence.tags} <= set(task.tags)
                texts.append({sentence.words for sentence in examples})
            else:
                assert not task.labels or {example.label for example in examples} <= set(task.labels)
                assert all((example.pair is None) == (task.kind == "classification") for example in examples)
                texts.append({(example.text, example.pair) for example in examples})
        assert len(set().union(*texts)) == sum(map(len, texts)), "a text stands in one split only"
    with pytest.raises(UserError, match="there is no file for language 'xx'"):
        task.read(root, "xx", "test", RowCounter())


def test_a_task_keeps_the_contract(task, root):
    embed = Perfect()
    options = task.Options(trained_languages=["de", "en"])
    assert isinstance(options, tasks.TaskOptions)
    assert dataclasses.is_dataclass(options)
    assert type(options).__dataclass_params__.frozen
    results = task.evaluate(embed, root, options)
    assert len(embed.calls) == 1, "every text is embedded once"
    assert len(set(embed.calls[0])) == len(embed.calls[0])
    json.dumps([dataclasses.asdict(result) for result in results], allow_nan=False)
    for result in results:
        assert result.task == task.__name__.rpartition(".")[2]
        assert math.isfinite(result.value)
        assert (result.low is None) == (result.high is None)
        if result.low is not None:
            assert result.low - 1e-9 <= result.value <= result.high + 1e-9
        if not result.language.startswith("avg:"):
            assert canonical(result.language) == result.language
            assert result.code
    split = results[0].split
    headline = [r for r in results if (r.split, r.metric, r.direction) == (split, *task.HEADLINE)]
    averages = {result.language: result for result in headline if result.language.startswith("avg:")}
    single = [result for result in headline if not result.language.startswith("avg:")]
    assert {"avg:all", "avg:trained", "avg:untrained", "avg:non-latin"} == set(averages)
    assert averages["avg:all"].value == pytest.approx(np.mean([result.value for result in single]))
    trained = [result.value for result in single if result.language in ("de", "en")]
    assert averages["avg:trained"].value == pytest.approx(np.mean(trained))
    assert averages["avg:trained"].n + averages["avg:untrained"].n == averages["avg:all"].n == len(single)


def test_unknown_training_languages_make_no_such_average(task, root):
    languages = {result.language for result in task.evaluate(Perfect(), root)}
    assert {"avg:all", "avg:non-latin"} <= languages
    assert not {"avg:trained", "avg:untrained"} & languages


def test_missing_data_is_a_clear_error(task, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=re.escape(str(tmp_path / "empty"))):
        task.load(tmp_path / "empty", task.Options())
    with pytest.raises(UserError, match="no such file or folder"):
        task.load(tmp_path / "nowhere", task.Options())


def test_languages_can_be_chosen(task, root):
    chosen = "es" if task is MODULES["fakenews"] else "de"  # there is no German collection
    results = task.evaluate(Perfect(), root, task.Options(languages=[chosen]))
    measured = {result.language for result in results if not result.language.startswith("avg:")}
    assert {chosen} <= measured <= {chosen, "en"}
    with pytest.raises(UserError, match="'sw' is not here"):
        task.load(root, task.Options(languages=["sw"]))


def test_a_broken_encoder_is_a_clear_error(task, root):
    with pytest.raises(UserError, match="not finite"):
        task.evaluate(lambda texts: np.full((len(texts), 4), np.nan, np.float32), root)
    with pytest.raises(UserError, match="gave 1 vectors"):
        task.evaluate(lambda texts: np.ones((1, 4), np.float32), root)


def test_a_collapsed_encoder_scores_at_chance_and_stays_finite(task, root):
    results = task.evaluate(lambda texts: np.ones((len(texts), 4), np.float32), root)
    headline = [r.value for r in results if (r.metric, r.direction) == task.HEADLINE]
    right = [100 - value if task.HEADLINE[0].endswith("error") else value for value in headline]
    # Learners find out what is most frequent, and nothing else
    floor = [r.value for r in results if r.metric == f"majority_{task.HEADLINE[0]}"]
    assert right == floor if floor else max(right) < 25


def test_sparse_vectors_are_measured_like_dense_ones(task, root):
    encoder = TfidfEncoder()
    probed = any(field.name == "strengths" for field in dataclasses.fields(task.Options))
    options = task.Options(strengths=[1.0]) if probed else task.Options()  # one fit is enough
    sparse = task.evaluate(encoder, root, options)

    def dense(texts):
        rows = encoder(texts)
        return rows[:, np.unique(rows.indices)].toarray()

    for thin, full in zip(sparse, task.evaluate(dense, root, options), strict=True):
        assert (thin.language, thin.metric, thin.direction) == (full.language, full.metric, full.direction)
        assert thin.value == pytest.approx(full.value, abs=1e-3)
