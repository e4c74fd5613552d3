"""Fake news in six languages (ANS, LIAR, FakeNewsCorpusSpanish, Bend the Truth, VFND, CHECKED) under one schema.

In: ROOT/fakenews, read by `formats.fakenews`, which says how labels are folded into `real` and `fake`. Out: probes of
frozen vectors as `_probe` says. The collections differ in more than language (claims, statements, articles, posts), so
transfer between them is harder than between translations.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from mlcl.core.files import RowCounter
from mlcl.formats import fakenews as layout
from mlcl.tasks import Embed, Result, _probe, _transfer
from mlcl.tasks._labelled import Example
from mlcl.tasks._probe import ClassifierOptions as Options
from mlcl.tasks._splits import published


def _parse(file: Path, code: str, rows: RowCounter) -> Iterator[Example]:
    return (Example(*row) for row in layout.labelled(file, code, rows))


TASK = published(
    "fakenews", "classification", layout.LABELS, "macro_f1", layout.files, _parse,
    cutting="where train and dev are published (ar, en, es, zh), dev is the test and 10 % of train, by text, are dev; "
    "lone files (ur, vi) are cut by text: 60 % train, 10 % dev, 30 % test",
    tag=layout.tag,
)  # fmt: skip
HEADLINE = (TASK.metric, _probe.PROBE)


def load(root: Path, options: Options) -> _transfer.TransferData:
    """The examples to fit, choose and test on."""
    return _transfer.load(TASK, root, options)


def evaluate(embed: Embed, root: Path, options: Options | None = None) -> list[Result]:
    """Fit probes on the training languages and measure them in every language."""
    return _probe.evaluate(TASK, embed, root, options or Options())
