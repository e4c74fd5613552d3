"""What the plots draw, read back from the figures."""

from __future__ import annotations

import json
import warnings

import numpy as np
import pytest

from mlcl.core.errors import UserError
from mlcl.reports import plots


def draw(figure):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figure.draw_without_rendering()
    return figure


def labels(axes):
    return [label.get_text() for label in axes.get_xticklabels()]


def test_bars_are_ordered_by_the_first_model_and_marked():
    values = {"a": {"de": 50.0, "fr": 70.0}, "b": {"de": 60.0, "fr": 10.0, "sw": 5.0}}
    (axes,) = draw(plots.accuracy_bars(values, marked={"sw"})).axes
    assert labels(axes) == ["fr", "de", "sw *"]
    first, second = axes.containers
    assert [bar.get_height() for bar in first][:2] == [70, 50]
    assert [bar.get_height() for bar in second] == [10, 60, 5]
    assert "outside training" in axes.get_xlabel()


def test_many_languages_take_several_lines_and_none_is_lost():
    values = {"a": {f"l{number}": float(number) for number in range(100)}}
    figure = draw(plots.accuracy_bars(values))
    assert len(figure.axes) == 3
    assert [label for axes in figure.axes for label in labels(axes)] == [f"l{n}" for n in reversed(range(100))]
    draw(plots.accuracy_bars({}))


def test_heat_map_shows_the_matrix():
    matrix = np.array([[np.nan, 10.0], [90.0, np.nan]])
    figure = draw(plots.heat_map(matrix, ["de", "fr"], low=0, high=100))
    axes = figure.axes[0]
    np.testing.assert_array_equal(axes.images[0].get_array().filled(np.nan), matrix)
    assert [text.get_text() for text in axes.texts] == ["10", "90"]
    assert axes.images[0].get_clim() == (0, 100)
    with pytest.raises(ValueError, match="labels are 3"):
        plots.heat_map(matrix, ["de", "fr", "es"])


def test_space_map_has_every_point_once_per_language():
    vectors = np.random.default_rng(0).normal(size=(30, 5))
    languages = ["de", "fr", "zh-Hans"] * 10
    figure = draw(plots.space_map(vectors, languages, groups=[i // 3 for i in range(30)]))
    drawn = {part.get_label(): len(part.get_offsets()) for part in figure.axes[0].collections}
    assert drawn == {"de": 10, "fr": 10, "zh-Hans": 10}
    assert len(figure.axes[0].lines) == 30


def test_pca_keeps_the_largest_spread():
    generator = np.random.default_rng(0)
    vectors = generator.normal(size=(200, 6)) * np.array([0.1, 5, 0.1, 2, 0.1, 0.1])
    points = plots.project(vectors)
    centred = vectors - vectors.mean(axis=0)
    assert abs(np.corrcoef(points[:, 0], centred[:, 1])[0, 1]) > 0.99
    assert abs(np.corrcoef(points[:, 1], centred[:, 3])[0, 1]) > 0.99
    assert plots.project(np.ones((1, 4))).shape == (1, 2)
    assert plots.project(vectors[:12], "tsne").shape == (12, 2)


def test_loss_curves_have_one_axis_per_logged_term():
    metrics = [{"step": 10, "info_nce": 3.0, "lm": 9.0}, {"step": 20, "info_nce": 2.0, "lm": None}, {"step": 20}]
    figure = draw(plots.loss_curves(metrics))
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["InfoNCE", "language model"]
    assert [axes.lines[0].get_xydata().tolist() for axes in figure.axes] == [[[10, 3], [20, 2]], [[10, 9]]]


def test_metrics_file(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text("".join(json.dumps({"step": step}) + "\n" for step in (1, 2)))
    assert plots.read_metrics(path) == [{"step": 1}, {"step": 2}]
    path.write_text('{"step": 1}\n{"st')
    assert plots.read_metrics(path, running=True) == [{"step": 1}]
    with pytest.raises(UserError, match=r"metrics\.jsonl:2: not valid JSON"):
        plots.read_metrics(path)
    with pytest.raises(UserError, match="no such file"):
        plots.read_metrics(tmp_path / "none")
