"""Build a corpus: sources in, a `Corpus` folder out. Two passes, so that a corpus larger than memory builds.

    pass 1  read -> drop evaluation texts -> clean -> units on disk: the work, shared out by an engine
    between deduplicate and group on 64-bit hashes
    pass 2  units -> pair and monolingual rows with their groups -> shards, by as many processes as there are workers

The same sources and settings give the same bytes, on any engine, and also when a build was killed and goes on. Texts
are conserved: every text that was read is kept, or counted as dropped under one reason.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from mlcl.core.errors import UserError
from mlcl.core.files import refuse_existing
from mlcl.core.garbage import rare_collections
from mlcl.core.languages import canonical
from mlcl.core.progress import step, warn
from mlcl.corpus import engine, near, quality, work
from mlcl.corpus.card import write_card
from mlcl.corpus.clean import CleanSettings
from mlcl.corpus.decontaminate import NearIndex
from mlcl.corpus.engine import EngineSettings
from mlcl.corpus.first_pass import first_pass
from mlcl.corpus.second_pass import write_shards
from mlcl.corpus.selection import select
from mlcl.corpus.sources import Source, SourceReport, evaluation_keys, evaluation_texts
from mlcl.corpus.spool import Spool
from mlcl.corpus.store import Corpus, write_manifest
from mlcl.reports.corpus_report import write_report


@dataclass(frozen=True)
class BuildSettings:
    """What a corpus is made of."""

    sources: list[Source]
    """The texts to train on."""
    evaluation: list[Source] = field(default_factory=list)
    """Texts that must not be in the corpus: a record with one of them in any version is dropped."""
    languages: list[str] | None = None
    """Languages to keep; all when not given."""
    clean: CleanSettings = field(default_factory=CleanSettings)
    """Limits of the cleaning filters."""
    near_duplicates: float | None = None
    """Jaccard similarity of shingles from which on two texts of a language are one, such as 0.8; only equal texts are
    when not given. A pair is dropped when both of its sides came before."""
    near_evaluation: float | None = None
    """Jaccard similarity of shingles from which on a text is too close to an evaluation text, such as 0.7; only equal
    texts are when not given. The whole record is dropped."""
    max_bad_share: float = 0.01
    """Largest tolerated share of malformed rows in a source."""
    rows_per_shard: int = 500_000
    """Most rows of one Parquet file."""


def build(
    settings: BuildSettings,
    root: str | Path,
    out: str | Path,
    *,
    overwrite: bool = False,
    show_progress: bool = True,
    engine_settings: EngineSettings | None = None,
) -> Corpus:
    """Build a corpus from its sources.

    Args:
        settings: Sources and limits.
        root: Folder that the paths of the sources are relative to.
        out: The corpus folder to make.
        overwrite: Replace `out` where it exists.
        show_progress: Show progress bars.
        engine_settings: Where the work is done; in this process when not given.

    Raises:
        UserError: unreadable sources, too many malformed rows, a language that no source has, `out` exists or is being
            built, or the disk is full. `out` is whole or not there; `work` says what is kept of a build that stops.
    """
    root, out = Path(root), Path(out)
    engine_settings = engine_settings or EngineSettings()
    refuse_existing(out, overwrite)
    _check(settings, root)
    engine.check(engine_settings)

    with rare_collections(), work.work_folder(out, overwrite) as folder:
        with step("reading evaluation texts to keep out"):
            forbidden = evaluation_keys(
                settings.evaluation, root, settings.max_bad_share, _repair(settings), show_progress
            )
            near_index = _near_index(settings, root, show_progress)

        with step("reading and cleaning"):
            units = first_pass(settings, root, folder, forbidden, engine_settings, show_progress)
            spool, tally = Spool(units.files), units.tally

        with step("deduplicating and grouping"):
            selection = select(spool, settings, near_index, folder)
            tally.add_state(selection.drops)

        with step("writing the corpus"):
            made, shards, counts = write_shards(
                spool, selection, settings.rows_per_shard, engine_settings.workers, show_progress
            )
            manifest = write_manifest(
                made, shards, counts,
                texts={"read": units.texts_read, "kept": selection.kept, "dropped": tally.total()},
                groups=selection.groups,
                largest_group=selection.largest,
                evaluation_texts=len(forbidden),
                origins=_origins(settings.sources, counts.texts_per_origin),
                drops=tally.entries(),
                length_ratios=selection.length_ratios,
                sources=[report.as_dict(units.root) for report in units.reports],
            )  # fmt: skip
            wanted = {canonical(language) for language in settings.languages or ()}
            if missing := sorted(wanted - set(manifest["languages"])):
                raise UserError(f"no source has a usable sentence in {', '.join(missing)}", remedy="see languages")
            write_report(manifest, made / "report.html")
            write_card(made, manifest)
            work.publish(made, out)

    _warn_of_bad_rows(units.reports)
    if (texts := manifest["largest_group"]["texts"]) > max(1000, 0.01 * manifest["texts"]["kept"]):
        warn(f"one group has {texts:,} texts: texts of it are never negatives of one another; see the report")
    return Corpus.open(out)


def _check(settings: BuildSettings, root: Path) -> None:
    """Mistakes that can be seen before any work."""
    if not root.is_dir():
        raise UserError("no such data folder", path=root, remedy="check --data")
    if not settings.sources:
        raise UserError("no source is given", remedy="list at least one under sources")
    if settings.rows_per_shard < 1:
        raise UserError(f"rows_per_shard={settings.rows_per_shard}", remedy="give a number from 1 upwards")
    for language in settings.languages or ():
        canonical(language)
    quality.check(settings.clean)
    if settings.near_duplicates is not None:
        near.check(settings.near_duplicates)
    if settings.near_evaluation is not None:
        near.check(settings.near_evaluation, "near_evaluation")


def _near_index(settings: BuildSettings, root: Path, show: bool) -> NearIndex | None:
    """The evaluation texts as those that a build with `near_evaluation` keeps away from."""
    if settings.near_evaluation is None:
        return None
    texts = evaluation_texts(settings.evaluation, root, settings.max_bad_share, _repair(settings), show)
    return NearIndex(texts, settings.near_evaluation)


def _repair(settings: BuildSettings) -> Callable[[str], str]:
    return partial(quality.repair, settings=settings.clean)


def _origins(sources: list[Source], texts: Counter[str]) -> dict[str, dict[str, Any]]:
    licences: dict[str, list[str]] = {}
    for source in sources:
        known = licences.setdefault(source.name, [])
        if source.licence and source.licence not in known:
            known.append(source.licence)
    return {name: {"licence": "; ".join(known), "texts": texts[name]} for name, known in licences.items()}


def _warn_of_bad_rows(reports: list[SourceReport]) -> None:
    for report in reports:
        if bad := report.rows.bad.total():
            warn(f"{report.source.name}: {bad} malformed rows skipped; the first: {report.rows.samples[0]}")
