"""WikiANN / PAN-X (Pan et al. 2017; balanced splits of Rahimi et al. 2019): names of persons, places, organisations.

In: ROOT/wikiann/panx_dataset/<lang>/{train,dev,test}[.gz] (`lang:word<TAB>tag`). Out: tagged sentences for
`mlcl finetune`; there is no probe of frozen vectors, `_probe` says why. The labels were made from Wikipedia links, and
hundreds of sentences stand in several parts: those of train that are in dev or test are left out.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

from mlcl.core.files import RowCounter
from mlcl.formats._iob2 import read_iob2
from mlcl.formats._labelled import Files, files_by_folder
from mlcl.tasks import Embed, Result, _probe
from mlcl.tasks import TaskOptions as Options
from mlcl.tasks._labelled import TaggedSentence
from mlcl.tasks._splits import published

LABELS = ("PER", "ORG", "LOC")


def _files(path: Path) -> Files:
    return files_by_folder(path / "panx_dataset", {part: part for part in ("train", "dev", "test")})


def _parse(file: Path, code: str, rows: RowCounter) -> Iterator[TaggedSentence]:
    return (TaggedSentence(*sentence) for sentence in read_iob2(file, rows, labels=LABELS, prefix=f"{code}:"))


TASK = published(
    "wikiann", "tagging", LABELS, "span_f1", _files, _parse,
    cutting="where train and dev alone are there, dev is the test and 10 % of train, by sentence, are dev",
)  # fmt: skip
HEADLINE = (TASK.metric, _probe.PROBE)
NEEDS_FINETUNE = True


def load(root: Path, options: Options) -> NoReturn:
    """There is nothing to embed: see `_probe`. Raises UserError."""
    TASK.languages(root)
    _probe.needs_finetune(TASK)


def evaluate(embed: Embed, root: Path, options: Options | None = None) -> list[Result]:
    """Frozen vectors of texts cannot tag words: see `_probe`. Raises UserError."""
    _probe.needs_finetune(TASK)
