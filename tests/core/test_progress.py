"""Progress: a log without a terminal gets a line now and then, with how far the work has come."""

from __future__ import annotations

import pytest

from mlcl.core import progress


@pytest.mark.parametrize(("total", "line"), [(40, "encoding: 5 texts, 25%, "), (0, "encoding: 5 texts, ")])
def test_a_log_without_a_terminal_is_told_how_far_it_is(monkeypatch, capsys, total, line):
    monkeypatch.setattr(progress, "_LINE_EVERY", 0.0)
    with progress.rated("encoding", total, "texts") as reached:
        reached(10, 5)
    shown = capsys.readouterr().err
    assert line in shown
    assert shown.rstrip().endswith("a second")
    with progress.rated("encoding", total, "texts", show=False) as reached:
        reached(10, 5)
    assert capsys.readouterr().err.strip() == ""


def test_a_short_work_is_one_line(capsys):
    with progress.rated("encoding", 4, "texts") as reached:
        reached(2, 1)
        reached(4, 1)
    assert len(capsys.readouterr().err.strip().split("\n")) == 1
