"""Sources of a corpus: what the user's settings say, and the records that stand there.

In: a `Source` and the data root. Out: its records, with good, bad and skipped rows counted; and
the keys of evaluation texts.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from mlcl import formats
from mlcl.core.errors import UserError
from mlcl.core.files import RowCounter
from mlcl.core.progress import track
from mlcl.core.text import key_hash, normalise_key


@dataclass(frozen=True)
class Source:
    """One source of text."""

    format: str
    """Name of the format: a file in `formats/`, such as moses, tsv, gettext, ntrex."""
    path: str = ""
    """File, folder or prefix, relative to the data root."""
    origin: str = ""
    """Name of the data set in the corpus; the format's name when empty."""
    licence: str = ""
    """Licence of the texts; it goes into the manifest."""
    limit: int | None = None
    """Most records to read; all when not given."""
    options: dict[str, Any] = field(default_factory=dict)
    """Options of the format; `formats/<format>.py` documents them."""

    @property
    def name(self) -> str:
        """The origin, or the format's name."""
        return self.origin or self.format


@dataclass(slots=True)
class SourceReport:
    """What was read from one source."""

    source: Source
    records: int
    rows: RowCounter

    def as_dict(self, root: Path) -> dict[str, Any]:
        """For the manifest; file names are relative to the root, so a corpus does not depend on where the data lie."""
        prefix = f"{root}/"
        return {
            "format": self.source.format,
            "path": self.source.path,
            "origin": self.source.name,
            "licence": self.source.licence,
            "limit": self.source.limit,
            "options": self.source.options,
            "records": self.records,
            "rows_good": self.rows.good_rows,
            "rows_bad": dict(sorted(self.rows.bad.items())),
            "rows_bad_samples": [sample.removeprefix(prefix) for sample in self.rows.samples],
            "rows_skipped": dict(sorted(self.rows.skipped.items())),
        }


def read_source(
    source: Source, root: Path, max_bad_share: float, reports: list[SourceReport], show: bool = True
) -> Iterator[formats.Record]:
    """Records of a source, at most `limit`; its report is appended to `reports` at the end.

    Raises:
        UserError: unreadable data, more than `max_bad_share` of bad rows, or no record at all.
    """
    rows = RowCounter(max_bad_share)
    if source.limit is not None and source.limit < 1:
        raise UserError(f"limit={source.limit} of the source {source.name!r}", remedy="give a number from 1 upwards")
    records = islice(formats.read(source.format, root / source.path, rows, **source.options), source.limit)
    count = 0
    for record in track(records, f"reading {source.name}", show=show):
        count += 1
        yield record
    rows.check()
    if not count:
        raise UserError(
            f"the source {source.name!r} has no usable row", path=root / source.path, remedy="check its options"
        )
    reports.append(SourceReport(source, count, rows))


def evaluation_keys(sources: Iterable[Source], root: Path, max_bad_share: float, show: bool = True) -> frozenset[int]:
    """Hashes of the normalised texts of evaluation sources, for decontamination by exact match."""
    texts = evaluation_texts(sources, root, max_bad_share, show)
    return frozenset(key_hash(key) for text in texts if (key := normalise_key(text)))


def evaluation_texts(sources: Iterable[Source], root: Path, max_bad_share: float, show: bool = True) -> Iterator[str]:
    """The texts of evaluation sources, in all their languages."""
    reports: list[SourceReport] = []
    for source in sources:
        for record in read_source(source, root, max_bad_share, reports, show):
            for _, text in record.texts:
                yield text
