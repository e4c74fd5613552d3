"""PAWS-X (Yang et al. 2019): do two sentences that share most of their words mean the same?

In: ROOT/pawsx, read by `formats.pawsx`. Out: probes of frozen vectors as `_probe` says. Where there is one file only,
it is cut into the same rows in every language, and pairs that share a sentence in English are never on two sides.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from mlcl.core.files import RowCounter
from mlcl.formats import pawsx as layout
from mlcl.tasks import Embed, Result, _probe, _transfer
from mlcl.tasks._labelled import Example
from mlcl.tasks._probe import ClassifierOptions as Options
from mlcl.tasks._splits import published


def _parse(file: Path, code: str, rows: RowCounter) -> Iterator[Example]:
    return (Example(*row) for row in layout.labelled(file, rows))


TASK = published(
    "pawsx", "pair", layout.LABELS, "accuracy", layout.files, _parse,
    cutting="the one published file (dev_2k) is cut by pairs that are connected through shared English sentences: "
    "60 % train, 10 % dev, 30 % test, the same rows in every language",
)  # fmt: skip
HEADLINE = (TASK.metric, _probe.PROBE)


def load(root: Path, options: Options) -> _transfer.TransferData:
    """The examples to fit, choose and test on."""
    return _transfer.load(TASK, root, options)


def evaluate(embed: Embed, root: Path, options: Options | None = None) -> list[Result]:
    """Fit probes on the training languages and measure them in every language."""
    return _probe.evaluate(TASK, embed, root, options or Options())
