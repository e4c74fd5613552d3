"""What is set for the libraries under torch, and that a user's own settings stay."""

from __future__ import annotations

import os
import subprocess
import sys

from mlcl.core.environment import tune_environment


def test_sets_what_the_user_has_not_set(monkeypatch):
    monkeypatch.setenv("GOMP_SPINCOUNT", "7")
    monkeypatch.delenv("ONEDNN_PRIMITIVE_CACHE_CAPACITY", raising=False)
    monkeypatch.setattr(os, "environ", dict(os.environ))
    tune_environment()
    assert os.environ["GOMP_SPINCOUNT"] == "7"
    assert os.environ["ONEDNN_PRIMITIVE_CACHE_CAPACITY"] == "4096"


def test_is_imported_without_torch():
    code = "import sys, mlcl.core.environment; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
