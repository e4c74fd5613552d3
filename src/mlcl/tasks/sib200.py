"""SIB-200 (Adelani et al. 2024): the topic of a sentence, one of seven, in up to two hundred languages.

In: ROOT/sib200/data/annotated/<lang_Script>/{train,dev,test}.tsv[.gz], read by `formats.sib200`. Out: probes of frozen
vectors as `_probe` says. (`multiparallel` uses the same sentences for retrieval.)
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from mlcl.core.files import RowCounter
from mlcl.formats import sib200 as layout
from mlcl.formats._labelled import Files, files_by_folder
from mlcl.tasks import Embed, Result, _probe, _transfer
from mlcl.tasks._labelled import Example
from mlcl.tasks._probe import ClassifierOptions as Options
from mlcl.tasks._splits import published


def _files(path: Path) -> Files:
    return files_by_folder(path / "data" / "annotated", {part: f"{part}.tsv" for part in ("train", "dev", "test")})


def _parse(file: Path, code: str, rows: RowCounter) -> Iterator[Example]:
    return (Example(*row) for row in layout.labelled(file, rows))


TASK = published(
    "sib200", "classification", layout.LABELS, "accuracy", _files, _parse,
    cutting="where train and dev alone are there, dev is the test and 10 % of train, by index_id, are dev",
)  # fmt: skip
HEADLINE = (TASK.metric, _probe.PROBE)


def load(root: Path, options: Options) -> _transfer.TransferData:
    """The examples to fit, choose and test on."""
    return _transfer.load(TASK, root, options)


def evaluate(embed: Embed, root: Path, options: Options | None = None) -> list[Result]:
    """Fit probes on the training languages and measure them in every language."""
    return _probe.evaluate(TASK, embed, root, options or Options())
