"""What every task must do, whatever it measures. A new task needs a tiny layout in `tests/layouts.py`, nothing else."""

from __future__ import annotations

import dataclasses
import json
import math
import re

import numpy as np
import pytest

import layouts
from mlcl import tasks
from mlcl.core import plugins
from mlcl.core.errors import UserError
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


@pytest.fixture(params=tasks.names())
def task(request):
    return plugins.load("mlcl.tasks", request.param)


@pytest.fixture
def root(tmp_path):
    return layouts.write_all(tmp_path / "data")


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
    results = task.evaluate(Perfect(), root, task.Options(languages=["de"]))
    assert {"de"} <= {result.language for result in results if not result.language.startswith("avg:")} <= {"de", "en"}
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
    assert max(headline) < 25


def test_sparse_vectors_are_measured_like_dense_ones(task, root):
    encoder = TfidfEncoder()
    sparse = task.evaluate(encoder, root)

    def dense(texts):
        rows = encoder(texts)
        return rows[:, np.unique(rows.indices)].toarray()

    for thin, full in zip(sparse, task.evaluate(dense, root), strict=True):
        assert (thin.language, thin.metric, thin.direction) == (full.language, full.metric, full.direction)
        assert thin.value == pytest.approx(full.value, abs=1e-3)
