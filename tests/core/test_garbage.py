"""Collections become rare, and as frequent as before afterwards, also after an error."""

from __future__ import annotations

import gc

import pytest

from mlcl.core.garbage import rare_collections


def test_the_thresholds_come_back():
    before = gc.get_threshold()
    with rare_collections():
        assert gc.get_threshold()[0] > before[0]
    assert gc.get_threshold() == before
    with pytest.raises(RuntimeError), rare_collections():
        raise RuntimeError
    assert gc.get_threshold() == before
