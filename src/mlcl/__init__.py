"""MLC: large-scale multilingual contrastive pre-training.

Texts in any languages in; one shared vector space, and the proof that it works, out. The names below are imported when
they are first used, so that `import mlcl` and `mlcl --help` stay quick (torch alone takes seconds).
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from mlcl import objectives
    from mlcl.model.config import MLCConfig
    from mlcl.model.encoder import Encoder
    from mlcl.model.model import MLCModel
    from mlcl.retrieval.mining import mine
    from mlcl.training.arguments import MLCTrainingArguments
    from mlcl.training.trainer import MLCTrainer

_HOMES = {
    "Encoder": "mlcl.model.encoder",
    "MLCConfig": "mlcl.model.config",
    "MLCModel": "mlcl.model.model",
    "MLCTrainer": "mlcl.training.trainer",
    "MLCTrainingArguments": "mlcl.training.arguments",
    "mine": "mlcl.retrieval.mining",
}
"""Public name -> the module that it lives in."""

__all__ = [
    "Encoder",
    "MLCConfig",
    "MLCModel",
    "MLCTrainer",
    "MLCTrainingArguments",
    "__version__",
    "mine",
    "objectives",
]


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used (PEP 562)."""
    if name == "objectives":
        return import_module("mlcl.objectives")
    if name in _HOMES:
        value = getattr(import_module(_HOMES[name]), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module 'mlcl' has no attribute {name!r}")


def __dir__() -> list[str]:
    """The public names, those not yet imported included."""
    return sorted({*globals(), *__all__})
