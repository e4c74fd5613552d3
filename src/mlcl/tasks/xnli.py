"""XNLI (Conneau et al. 2018): does the first sentence entail the second, contradict it, or neither?

In: ROOT/xnli, read by `formats.xnli`. Out: probes of frozen vectors as `_probe` says. Where there is one file only, it
is cut by premise, which is parallel over the languages: a premise and its translations are never on two sides. The
training set of the published results, MultiNLI, is no part of the release; what is measured here are small training
sets.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from mlcl.core.files import RowCounter
from mlcl.formats import xnli as layout
from mlcl.tasks import Embed, Result, _probe, _transfer
from mlcl.tasks._labelled import Example
from mlcl.tasks._probe import ClassifierOptions as Options
from mlcl.tasks._splits import published


def _parse(file: Path, code: str, rows: RowCounter) -> Iterator[Example]:
    return (Example(*row) for row in layout.labelled(file, code, rows))


TASK = published(
    "xnli", "pair", layout.LABELS, "accuracy", layout.files, _parse,
    cutting="the one published file is cut by premise (promptID): 60 % train, 10 % dev, 30 % test",
)  # fmt: skip
HEADLINE = (TASK.metric, _probe.PROBE)


def load(root: Path, options: Options) -> _transfer.TransferData:
    """The examples to fit, choose and test on."""
    return _transfer.load(TASK, root, options)


def evaluate(embed: Embed, root: Path, options: Options | None = None) -> list[Result]:
    """Fit probes on the training languages and measure them in every language."""
    return _probe.evaluate(TASK, embed, root, options or Options())
