"""Sources of a corpus: what the user's settings say, the parts that they are read in, and the records that stand there.

In: a `Source` and the data root. Out: its parts (a file each where the format has a file for each language, else the
whole source), their records with good, bad and skipped rows counted; and the keys of evaluation texts.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any

from mlcl import formats
from mlcl.core.errors import UserError
from mlcl.core.files import RowCounter
from mlcl.core.progress import track
from mlcl.core.text import key_hash, normalise_key
from mlcl.formats._files import by_language


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


@dataclass(frozen=True)
class Part:
    """What is read in one go: a source, or one of its files.

    Attributes:
        number: Place among all parts of a build, in the order of the sources.
        source: The source, with options that choose this part.
        files: The files on disk that it is read from; empty where the format finds its data elsewhere (packages).
    """

    number: int
    source: Source
    files: tuple[Path, ...]

    def bytes(self) -> int:
        """Size of its files on disk."""
        return sum(file.stat().st_size for file in self.files if file.is_file())


@dataclass(slots=True)
class SourceReport:
    """What was read from a source, or from a part of one."""

    source: Source
    records: int
    rows: RowCounter

    def add(self, other: SourceReport) -> None:
        """Append the report of the next part."""
        self.records += other.records
        rows, more = self.rows, other.rows
        rows.good_rows += more.good_rows
        rows.bad.update(more.bad)
        rows.skipped.update(more.skipped)
        rows.samples += more.samples[: rows.keep - len(rows.samples)]

    def check(self, root: Path) -> None:
        """Raise where a source was read to its end and is not usable.

        Raises:
            UserError: too large a share of bad rows, or no record at all.
        """
        self.rows.check()
        if not self.records:
            raise UserError(
                f"the source {self.source.name!r} has no usable row",
                path=root / self.source.path,
                remedy="check its options",
            )

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

    def state(self) -> dict[str, Any]:
        """All of it but the source, for JSON."""
        rows = self.rows
        return {
            "records": self.records,
            "good": rows.good_rows,
            "bad": dict(rows.bad),
            "skipped": dict(rows.skipped),
            "samples": rows.samples,
        }

    @classmethod
    def from_state(cls, source: Source, max_bad_share: float, state: dict[str, Any]) -> SourceReport:
        """The report that `state` was taken from."""
        rows = RowCounter(max_bad_share)
        rows.good_rows, rows.samples = state["good"], state["samples"]
        rows.bad, rows.skipped = Counter(state["bad"]), Counter(state["skipped"])
        return cls(source, state["records"], rows)


def split(sources: Iterable[Source], root: Path) -> list[list[Part]]:
    """The parts of each source, in reading order; nothing but file names is read.

    A source with a `pattern` is a part for each language that the pattern finds, unless it has a limit, which counts
    over all of them, or two file names mean one language.

    Raises:
        UserError: a limit below 1, or a pattern that finds nothing.
    """
    found: list[list[Part]] = []
    number = 0
    for source in sources:
        if source.limit is not None and source.limit < 1:
            raise UserError(
                f"limit={source.limit} of the source {source.name!r}", remedy="give a number from 1 upwards"
            )
        parts = []
        for piece, files in _pieces(source, root):
            parts.append(Part(number, piece, files))
            number += 1
        found.append(parts)
    return found


def read_part(part: Part, root: Path, rows: RowCounter) -> Iterator[formats.Record]:
    """The records of a part, at most `limit`; `rows` counts."""
    source = part.source
    return islice(formats.read(source.format, root / source.path, rows, **source.options), source.limit)


def read_source(
    source: Source, root: Path, max_bad_share: float, reports: list[SourceReport], show: bool = True
) -> Iterator[formats.Record]:
    """All records of a source, in this process; its report is appended to `reports` at the end.

    Raises:
        UserError: unreadable data, more than `max_bad_share` of bad rows, or no record at all.
    """
    [parts] = split([source], root)
    report = SourceReport(source, 0, RowCounter(max_bad_share))
    for part in parts:
        for record in track(read_part(part, root, report.rows), f"reading {source.name}", show=show):
            report.records += 1
            yield record
    report.check(root)
    reports.append(report)


def evaluation_keys(
    sources: Iterable[Source], root: Path, max_bad_share: float, repair: Callable[[str], str], show: bool = True
) -> frozenset[int]:
    """Hashes of the normalised texts of evaluation sources, for decontamination by exact match.

    Args, raises: as `evaluation_texts`.
    """
    texts = evaluation_texts(sources, root, max_bad_share, repair, show)
    return frozenset(key_hash(key) for text in texts if (key := normalise_key(text)))


def evaluation_texts(
    sources: Iterable[Source], root: Path, max_bad_share: float, repair: Callable[[str], str], show: bool = True
) -> Iterator[str]:
    """The texts of evaluation sources, in all their languages, each also as a corpus would have it.

    `repair` is what happens to the texts of the corpus before they are compared with these: a copy of an evaluation
    text whose e-mail address was masked is not equal to it any more.

    Raises:
        UserError: as `read_source`.
    """
    reports: list[SourceReport] = []
    for source in sources:
        for record in read_source(source, root, max_bad_share, reports, show):
            for _, text in record.texts:
                yield text
                if (repaired := repair(text)) != text:
                    yield repaired


def _pieces(source: Source, root: Path) -> list[tuple[Source, tuple[Path, ...]]]:
    pattern, options = source.options.get("pattern"), source.options
    languages = options.get("languages")
    if isinstance(pattern, str) and "{language}" in pattern and isinstance(languages, list | None) and source.path:
        found = by_language(root / source.path, "", pattern, languages)
        if source.limit is None and len({tag for _, tag, _ in found}) == len(found):
            return [(replace(source, options={**options, "languages": [tag]}), (file,)) for _, tag, file in found]
        return [(source, tuple(file for _, _, file in found))]
    return [(source, tuple(_files(root / source.path)) if source.path else ())]


def _files(path: Path) -> list[Path]:
    """The files of a path, of a folder, or of a common prefix (`train` of `train.en` and `train.de`)."""
    if path.is_file():
        return [path]
    if path.is_dir():
        inside = (file for file in path.rglob("*") if not any(part[0] == "." for part in file.relative_to(path).parts))
        return sorted(file for file in inside if file.is_file())
    folder = path.parent
    return sorted(file for file in folder.iterdir() if file.name.startswith(path.name)) if folder.is_dir() else []
