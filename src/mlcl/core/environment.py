"""Settings of the libraries under torch, which are read from environment variables when these are first used."""

from __future__ import annotations

import os

_SETTINGS = {
    # OpenMP threads that spin for long lose a factor of 20 when another program wants a core; a short spin costs 5 %
    # on a quiet machine.
    "GOMP_SPINCOUNT": "3000",
    # Kernels that oneDNN keeps; its 1,024 are fewer than the shapes of one training run (core/shapes.py).
    "ONEDNN_PRIMITIVE_CACHE_CAPACITY": "4096",
}


def tune_environment() -> None:
    """Set what is not set already; call it before torch is imported. `mlcl` on the command line does."""
    for name, value in _SETTINGS.items():
        os.environ.setdefault(name, value)
