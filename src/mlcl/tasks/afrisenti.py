"""AfriSenti (Muhammad et al. 2023, SemEval-2023 task 12): sentiment of tweets in African languages.

In: ROOT/afrisenti/data/<lang>/{train,dev,test}.tsv[.gz] (`tweet<TAB>label`, quotes are plain characters). Out: probes
of frozen vectors as `_probe` says. The splits are official; a tweet of train or dev that stands in test is left out.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from mlcl.core.files import RowCounter
from mlcl.formats._labelled import Files, LabelledRow, checked, files_by_folder, read_tsv
from mlcl.tasks import Embed, Result, _probe, _transfer
from mlcl.tasks._labelled import Example
from mlcl.tasks._probe import ClassifierOptions as Options
from mlcl.tasks._splits import published

LABELS = ("negative", "neutral", "positive")


def _files(path: Path) -> Files:
    return files_by_folder(path / "data", {part: f"{part}.tsv" for part in ("train", "dev", "test")})


def _parse(file: Path, code: str, rows: RowCounter) -> Iterator[Example]:
    numbered = ((line, LabelledRow(*fields)) for line, fields in read_tsv(file, ("tweet", "label"), rows))
    return (Example(*row) for row in checked(numbered, LABELS, file, rows))


TASK = published("afrisenti", "classification", LABELS, "macro_f1", _files, _parse)
HEADLINE = (TASK.metric, _probe.PROBE)


def load(root: Path, options: Options) -> _transfer.TransferData:
    """The examples to fit, choose and test on."""
    return _transfer.load(TASK, root, options)


def evaluate(embed: Embed, root: Path, options: Options | None = None) -> list[Result]:
    """Fit probes on the training languages and measure them in every language."""
    return _probe.evaluate(TASK, embed, root, options or Options())
