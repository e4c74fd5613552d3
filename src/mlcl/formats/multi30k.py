"""Multi30k task 1 (Elliott et al. 2016): English image captions with human translations into German, French, Czech.

In: the repository's folder with `data/task1/raw/<split>.<lang>[.gz]`. Out: one record per caption, English first.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from mlcl.core.files import RowCounter
from mlcl.formats import Record, moses


def read(path: Path, rows: RowCounter, *, split: str = "train", languages: list[str] | None = None) -> Iterator[Record]:
    """Read Multi30k.

    Args:
        path: The folder of the repository.
        rows: Counts captions.
        split: `train`, `val` or `test_2016_flickr`.
        languages: Languages to keep; all when not given.
    """
    return moses.read(Path(path) / "data" / "task1" / "raw" / split, rows, languages=languages)
