"""LAFAND-MT (Adelani et al. 2022): news in African languages with English, each language in its own folder.

In: the repository's folder with `data/text_files/en-<xxx>/<split>.{en,<xxx>}[.gz]`. Out: one record per sentence pair.
Lines whose English is the stray heading `News Crawl 2019` are skipped and counted.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from mlcl.core.errors import UserError
from mlcl.core.files import RowCounter, existing
from mlcl.core.languages import canonical
from mlcl.formats import Record
from mlcl.formats.moses import read_side_by_side

_HEADING = "News Crawl 2019"


def read(path: Path, rows: RowCounter, *, split: str = "train", languages: list[str] | None = None) -> Iterator[Record]:
    """Read LAFAND-MT.

    Args:
        path: The folder of the repository.
        rows: Counts sentence pairs.
        split: `train`, `dev` or `test`.
        languages: Languages beside English to keep; all when not given.
    """
    folder = existing(Path(path) / "data" / "text_files")
    pairs = {folder.name.removeprefix("en-"): folder for folder in sorted(folder.glob("en-*"))}
    if languages is not None:
        wanted = {canonical(language) for language in languages}
        pairs = {code: folder for code, folder in pairs.items() if canonical(code) in wanted}
    if not pairs:
        raise UserError("no folder en-<language> for the languages asked for", path=folder)
    for code, pair in pairs.items():
        files = {"en": existing(pair / f"{split}.en"), code: existing(pair / f"{split}.{code}")}
        for record in read_side_by_side(files, rows):
            if record.texts[0] == ("en", _HEADING):
                rows.good(-1)
                rows.skip(f"heading {_HEADING!r} instead of the sentence")
            else:
                yield record
