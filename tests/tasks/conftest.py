from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

import layouts


@pytest.fixture
def tiny_root(tmp_path):
    """Tiny made-up data in every official layout."""
    return layouts.write_all(tmp_path / "data")
