"""Tests of Triton kernels: on a GPU as they are; without one, in a process of their own under Triton's interpreter.

The interpreter is chosen by an environment variable at the moment triton is imported, for a whole process. So a test
file runs itself again in a child, and the variable never reaches the other tests.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import torch

INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
DEVICE = "cpu" if INTERPRETED else "cuda"
KERNELS_RUN = INTERPRETED or torch.cuda.is_available()


def run_interpreted(file: str) -> None:
    """Run a test file under the interpreter and fail with its output."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    environment["TRITON_INTERPRET"] = "1"
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", file]
    root = Path(__file__).resolve().parent.parent
    child = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, timeout=600)
    assert child.returncode == 0, child.stdout + child.stderr
    assert " passed" in child.stdout, "nothing ran"
