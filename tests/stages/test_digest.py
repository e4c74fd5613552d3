from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from mlcl.core.files import RowCounter
from mlcl.stages._digest import code_digest, digest


@dataclass(frozen=True)
class Point:
    x: float
    y: object = None


@dataclass(frozen=True)
class Other:
    x: float
    y: object = None


def test_equal_values_have_equal_digests():
    first, second = (
        [Point(1.0, {"a": ("b", 2)}), {"x", "y"}, np.arange(4.0), Path("p"), None, RowCounter(), np.mean] for _ in "12"
    )
    assert digest(*first) == digest(*second)


def test_different_values_have_different_digests():
    values = [
        "ab", ["a", "b"], ["ab", ""], ("a", ["b"]), b"ab", 1, 1.0, True, "1", None, "None", Point(1.0), Other(1.0),
        Point(1.0, 2), {"x": 1}, {"x": 2}, {"x"}, np.arange(3), np.arange(3.0), np.arange(3)[:, None], [], [[]],
        np.mean,
    ]  # fmt: skip
    assert len({digest(value) for value in values}) == len(values)
    assert digest("a", "b") != digest("ab")
    with pytest.raises(TypeError, match="generator"):
        digest(number for number in range(3))


def test_sets_do_not_depend_on_the_run():
    script = "from mlcl.stages._digest import digest; print(digest({str(n) for n in range(50)}))"
    source = str(Path(digest.__code__.co_filename).parents[2])
    runs = {
        subprocess.run(
            [sys.executable, "-c", script], env={"PYTHONHASHSEED": seed, "PYTHONPATH": source}, check=True,
            capture_output=True, text=True,
        ).stdout
        for seed in ("1", "2")
    }  # fmt: skip
    assert len(runs) == 1


def test_code_has_a_digest():
    assert code_digest("mlcl.tasks") == code_digest("mlcl.tasks") != code_digest("mlcl.retrieval")
