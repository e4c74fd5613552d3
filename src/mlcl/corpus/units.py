"""Units, the work that workers share out in the first pass of a build, and that a stopped build does not do again.

In: the records of a part of a source, cut into units of about `texts_per_unit` texts. Out: for each unit one file of
cleaned texts (see `spool`), written whole or not at all, with what was dropped in its metadata. What a unit becomes
depends on its records and the `Job` alone, so any process on any machine may make it, once or twice.
"""

from __future__ import annotations

import os
import pickle
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from mlcl.core.files import RowCounter, atomic_file, metered, write_json
from mlcl.core.garbage import collect_rarely
from mlcl.core.text import key_hash
from mlcl.corpus.clean import CleanSettings, clean_text, filter_versions, versions
from mlcl.corpus.sources import Part, SourceReport, read_part
from mlcl.corpus.spool import UnitFile
from mlcl.corpus.tally import Tally
from mlcl.formats import Record

_CHARACTERS = 300  # a unit also ends after so many for each of its texts, so that long texts do not fill the memory


@dataclass(frozen=True)
class Job:
    """What a worker has to know.

    Attributes:
        folder: Work folder of the build; all workers see it.
        root: Data root.
        folders: Folder of the units of each part, below `folder`.
        forbidden: Key hashes of the evaluation texts.
        languages: Canonical tags to keep; None for all.
        clean: Limits of the filters.
        max_bad_share: Largest tolerated share of malformed rows.
        texts_per_unit: About how many texts are a unit.
    """

    folder: Path
    root: Path
    folders: tuple[str, ...]
    forbidden: frozenset[int]
    languages: frozenset[str] | None
    clean: CleanSettings
    max_bad_share: float
    texts_per_unit: int

    def unit(self, part: int, number: int) -> Path:
        """The file of a unit."""
        return self.folder / self.folders[part] / f"{number:06d}.arrow"

    def report(self, part: int) -> Path:
        """The report of a part; it is there when the part was read to its end."""
        return self.folder / self.folders[part] / "report.json"


@dataclass(frozen=True, slots=True)
class Unit:
    """Records to clean: number `number` of a part, after which `bytes_read` of the part's files have been read."""

    part: int
    number: int
    records: list[Record]
    bytes_read: int


@dataclass(frozen=True, slots=True)
class Done:
    """A unit that is on disk: how many texts were read for it, and how far its part has been read by then (bytes)."""

    part: int
    texts: int
    bytes_read: int


def read_units(part: Part, job: Job) -> Iterator[Unit]:
    """Cut a part into units, without those that are on disk; at the end its report is written.

    Raises:
        UserError: unreadable data.
    """
    rows = RowCounter(job.max_bad_share)
    (job.folder / job.folders[part.number]).mkdir(parents=True, exist_ok=True)
    records: list[Record] = []
    count = number = texts = characters = 0
    with metered() as bytes_read:
        for record in read_part(part, job.root, rows):
            records.append(record)
            texts += len(record.texts)
            characters += sum(len(text) for _, text in record.texts)
            if texts >= job.texts_per_unit or characters >= _CHARACTERS * job.texts_per_unit:
                if not job.unit(part.number, number).exists():
                    yield Unit(part.number, number, records, bytes_read())
                count += len(records)
                number += 1
                records, texts, characters = [], 0, 0
        if records:
            if not job.unit(part.number, number).exists():
                yield Unit(part.number, number, records, bytes_read())
            count += len(records)
            number += 1
    rows.samples = [sample.removeprefix(f"{job.root}/") for sample in rows.samples]  # another engine says it otherwise
    state = SourceReport(part.source, count, rows).state()
    write_json(job.report(part.number), {"units": number, **state})


def clean_unit(unit: Unit, job: Job, origin: str) -> Done:
    """Drop evaluation texts, clean and filter the records of a unit, and write what is left."""
    tally = Tally()
    file = UnitFile()
    texts_read = 0
    for record in unit.records:
        candidates = versions(record.texts, job.clean)
        texts_read += len(candidates)
        found = [key_hash(version.key) in job.forbidden for version in candidates] if job.forbidden else []
        if any(found):
            # The whole record: the other versions would still teach the translation of a test sentence.
            for version, is_found in zip(candidates, found, strict=True):
                tally.add("evaluation text", origin, version.lang, version.text, sample=is_found)
            continue
        if job.languages is not None:
            for version in candidates:
                if version.lang not in job.languages:
                    tally.add("language not asked for", origin, version.lang, version.text)
            candidates = [version for version in candidates if version.lang in job.languages]
        kept, dropped = filter_versions(candidates, job.clean)
        for drop in dropped:
            tally.add(drop.reason, origin, drop.lang, drop.text)
        if kept:
            negatives = [text for text in map(clean_text, record.negatives) if text]
            file.add(kept, record.document, origin, negatives)
    with atomic_file(job.unit(unit.part, unit.number)) as partial:
        file.write(partial, {"texts_read": texts_read, "drops": tally.state()})
    return Done(unit.part, texts_read, unit.bytes_read)


# --- in other processes ----------------------------------------------------------------------------------------------


def save_job(job: Job, origins: list[str]) -> Path:
    """Write the job into its folder, where worker processes find it: it may be too large to send with each unit."""
    path = job.folder / f"job-{os.getpid()}-{os.urandom(4).hex()}.pickle"
    with atomic_file(path) as partial:
        partial.write_bytes(pickle.dumps((job, origins)))
    return path


@lru_cache(maxsize=1)
def load_job(path: Path) -> tuple[Job, list[str]]:
    """The job and the origin of each part; once in a process, which is made ready and leaves a sign that it is here."""
    collect_rarely()
    job, origins = pickle.loads(path.read_bytes())
    sign = path.parent / "workers" / f"{socket.gethostname()}-{os.getpid()}"
    sign.parent.mkdir(exist_ok=True)
    sign.touch()
    return job, origins
