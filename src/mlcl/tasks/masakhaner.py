"""MasakhaNER 2.0 (Adelani et al. 2022) and, for Amharic, 1.0 (Adelani et al. 2021): names and dates in African news.

In: ROOT/masakhaner/MasakhaNER2.0/data/<lang>/{train,dev,test}.txt[.gz] (`word tag`) and ROOT/masakhaner/data/<lang>/
for 1.0; a language that both have is read from 2.0. Out: tagged sentences for `mlcl finetune`; there is no probe of
frozen vectors, `_probe` says why. Splits are official. `DATE` is a label as published; `_tagging.restricted` makes it
`O` where a model knows persons, organisations and places only.
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

LABELS = ("PER", "ORG", "LOC", "DATE")
_RELEASES = ("data", "MasakhaNER2.0/data")


def _files(path: Path) -> Files:
    names = {part: f"{part}.txt" for part in ("train", "dev", "test")}
    releases = [files_by_folder(path / release, names) for release in _RELEASES if (path / release).is_dir()]
    return {code: files for release in releases for code, files in release.items()}


def _parse(file: Path, code: str, rows: RowCounter) -> Iterator[TaggedSentence]:
    return (TaggedSentence(*sentence) for sentence in read_iob2(file, rows, labels=LABELS, separator=" "))


TASK = published("masakhaner", "tagging", LABELS, "span_f1", _files, _parse)
HEADLINE = (TASK.metric, _probe.PROBE)
NEEDS_FINETUNE = True


def load(root: Path, options: Options) -> NoReturn:
    """There is nothing to embed: see `_probe`. Raises UserError."""
    TASK.languages(root)
    _probe.needs_finetune(TASK)


def evaluate(embed: Embed, root: Path, options: Options | None = None) -> list[Result]:
    """Frozen vectors of texts cannot tag words: see `_probe`. Raises UserError."""
    _probe.needs_finetune(TASK)
