"""The first pass of a build: every source becomes units of cleaned texts on disk.

In: the settings of a build, the evaluation texts to keep out, and the work folder, perhaps with units of a build that
was stopped. Out: the unit files in the order of the sources, what was dropped, and a report for each source.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cache
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING

import mlcl
from mlcl.core.files import read_json
from mlcl.core.languages import canonical
from mlcl.core.progress import rated
from mlcl.corpus.engine import EngineSettings, make_units
from mlcl.corpus.sources import Part, SourceReport, split
from mlcl.corpus.spool import unit_facts
from mlcl.corpus.tally import Tally
from mlcl.corpus.units import Job
from mlcl.corpus.work import digest, stamp

if TYPE_CHECKING:
    from mlcl.corpus.build import BuildSettings

_CODE = ("core", "corpus", "formats", "text")  # whose change makes other units


@dataclass(frozen=True)
class Units:
    """What the first pass leaves."""

    files: list[Path]
    texts_read: int
    tally: Tally
    reports: list[SourceReport]
    root: Path


def first_pass(
    settings: BuildSettings,
    root: Path,
    folder: Path,
    forbidden: frozenset[int],
    engine_settings: EngineSettings,
    show: bool,
) -> Units:
    """Make the units that the work folder does not have yet, and gather all.

    Raises:
        UserError: unreadable data, or too many malformed rows.
    """
    by_source = split(settings.sources, root)
    parts = [part for source in by_source for part in source]
    job = _job(settings, root, folder, forbidden, engine_settings, parts)
    for part in parts:
        if not part.files:  # such as catalogs of packages: nothing tells whether they are still the same
            shutil.rmtree(folder / job.folders[part.number], ignore_errors=True)

    sizes = [part.bytes() for part in parts]
    reached = [0] * len(parts)
    with rated("reading and cleaning", sum(sizes), "texts", show) as progress:
        for done in make_units(parts, job, engine_settings):
            reached[done.part] = max(reached[done.part], min(done.bytes_read, sizes[done.part]))
            progress(sum(reached), done.texts)
    return _gather(settings, by_source, root, job)


def _gather(settings: BuildSettings, by_source: Sequence[Sequence[Part]], root: Path, job: Job) -> Units:
    files: list[Path] = []
    tally = Tally()
    reports: list[SourceReport] = []
    texts_read = 0
    for source, parts in zip(settings.sources, by_source, strict=True):
        report: SourceReport | None = None
        for part in parts:
            state = read_json(job.report(part.number))
            these = [job.unit(part.number, number) for number in range(state["units"])]
            for facts in map(unit_facts, these):
                texts_read += facts["texts_read"]
                tally.add_state(facts["drops"])
            files += these
            state["samples"] = [sample if sample[0] == "/" else f"{job.root}/{sample}" for sample in state["samples"]]
            of_part = SourceReport.from_state(source, settings.max_bad_share, state)
            if report is None:
                report = of_part
            else:
                report.add(of_part)
        assert report is not None, "a source has a part"
        report.check(root)
        reports.append(report)
    return Units(files, texts_read, tally, reports, job.root)


def _job(
    settings: BuildSettings,
    root: Path,
    folder: Path,
    forbidden: frozenset[int],
    engine_settings: EngineSettings,
    parts: Sequence[Part],
) -> Job:
    languages = None if settings.languages is None else frozenset(map(canonical, settings.languages))
    common = [
        _code(),
        str(root.absolute()),
        sorted(forbidden),
        None if languages is None else sorted(languages),
        asdict(settings.clean),
        [stamp(Path(path)) for path in settings.clean.word_lists.values()],
        engine_settings.texts_per_unit,
    ]
    start = digest(common)
    names = []
    for part in parts:
        source = part.source
        stamps = [stamp(file) for file in part.files]
        names.append(f"units/{digest([start, asdict(source), stamps])}")
    return Job(
        folder.absolute(),
        root if engine_settings.engine == "local" else root.absolute(),  # messages name files as the user did
        tuple(names),
        forbidden,
        languages,
        settings.clean,
        settings.max_bad_share,
        engine_settings.texts_per_unit,
    )


@cache
def _code() -> str:
    """Digest of the program: other code makes other units."""
    state = blake2b(digest_size=12)
    for name in _CODE:
        for file in sorted((Path(mlcl.__file__).parent / name).rglob("*.py")):
            state.update(file.read_bytes())
    return state.hexdigest()
