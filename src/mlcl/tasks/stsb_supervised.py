"""STS benchmark in eleven languages, learnt: how similar are two sentences, from 0 to 5?

In: ROOT/stsb, read by `formats.stsb`. Out: Spearman correlation (x 100) of a ridge probe of frozen vectors, and of
their cosine on the same pairs (direction `cosine`). Task `stsb` measures the cosine alone, also across languages.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from mlcl.core.files import RowCounter
from mlcl.core.languages import canonical
from mlcl.formats import stsb as layout
from mlcl.tasks import Embed, Result, _probe, _transfer
from mlcl.tasks._labelled import Example
from mlcl.tasks._probe import ProbeOptions as Options
from mlcl.tasks._splits import published


def _parse(file: Path, code: str, rows: RowCounter) -> Iterator[Example]:
    pairs = layout.scored_pairs(file, code, canonical(code))
    for row, (first, second, score) in enumerate(zip(pairs.first, pairs.second, pairs.scores, strict=True)):
        if first.strip() and second.strip():
            name = str(row)  # row n is the same pair in every language
            yield Example(first, score, second, unit=name, item=name)
        else:
            rows.skip("empty text")


TASK = published(
    "stsb_supervised", "regression", (), "spearman", layout.files, _parse, data="stsb",
    cutting="where train and dev alone are there, dev is the test and 10 % of train, by row, are dev",
)  # fmt: skip
HEADLINE = (TASK.metric, _probe.PROBE)


def load(root: Path, options: Options) -> _transfer.TransferData:
    """The examples to fit, choose and test on."""
    return _transfer.load(TASK, root, options)


def evaluate(embed: Embed, root: Path, options: Options | None = None) -> list[Result]:
    """Fit probes on the training languages and measure them in every language."""
    return _probe.evaluate(TASK, embed, root, options or Options())
