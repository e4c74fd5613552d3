"""Universal NER (Mayhew et al. 2024): names of persons, places and organisations, labelled by people.

In: ROOT/uner/UNER_<Language>-<Treebank>/<xx>_<treebank>-ud-<part>.iob2[.gz]. A treebank is called by its file, as in
`en_pud`. Out: tagged sentences for `mlcl finetune`; there is no probe of frozen vectors, `_probe` says why. The PUD
treebanks have a test part only: a model for them is fitted on `FITTED_ON`, which has the same labels.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

from mlcl.core.files import RowCounter
from mlcl.core.languages import canonical
from mlcl.formats._iob2 import read_iob2
from mlcl.formats._labelled import Files
from mlcl.tasks import Embed, Result, _probe
from mlcl.tasks import TaskOptions as Options
from mlcl.tasks._labelled import TaggedSentence
from mlcl.tasks._splits import published

LABELS = ("PER", "ORG", "LOC")
FITTED_ON = "wikiann"
"""Task whose train and dev are used where a treebank has none."""
_FILE = re.compile(r"(?P<code>[a-z]{2,3}_[a-z]+)-ud-(?P<part>train|dev|test)\.iob2(?:\.gz)?")


def _files(path: Path) -> Files:
    found: dict[str, dict[str, Path]] = {}
    for file in sorted(path.glob("UNER_*/*.iob2*")):
        if match := _FILE.fullmatch(file.name):
            found.setdefault(match["code"], {})[match["part"]] = file
    return found


def _parse(file: Path, code: str, rows: RowCounter) -> Iterator[TaggedSentence]:
    sentences = read_iob2(file, rows, labels=LABELS, columns=(1, 2), comment="#")
    return (TaggedSentence(*sentence) for sentence in sentences)


TASK = published(
    "uner", "tagging", LABELS, "span_f1", _files, _parse, tag=lambda code: canonical(code.partition("_")[0]),
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
