"""Build a corpus: sources in, a `Corpus` folder out. Two passes, so that a corpus larger than memory builds.

    pass 1  read -> drop evaluation texts -> clean -> spool to disk; 64-bit hashes stay in memory
    between deduplicate and group on the hashes
    pass 2  spool -> pair and monolingual rows with their groups -> shards

The same sources and settings give the same bytes. Texts are conserved: every text that was read is kept, or counted as
dropped under one reason.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from mlcl.core.errors import UserError
from mlcl.core.files import atomic_directory, refuse_existing
from mlcl.core.languages import canonical
from mlcl.core.progress import step, track, warn
from mlcl.core.text import key_hash
from mlcl.corpus import dedup, near, quality, whole
from mlcl.corpus.card import write_card
from mlcl.corpus.clean import CleanSettings, clean_text, filter_versions, versions
from mlcl.corpus.decontaminate import NearIndex
from mlcl.corpus.sources import Source, SourceReport, evaluation_keys, evaluation_texts, read_source
from mlcl.corpus.spool import Spool
from mlcl.corpus.store import Corpus, CorpusWriter
from mlcl.corpus.tally import Tally
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
    settings: BuildSettings, root: str | Path, out: str | Path, *, overwrite: bool = False, show_progress: bool = True
) -> Corpus:
    """Build a corpus from its sources.

    Args:
        settings: Sources and limits.
        root: Folder that the paths of the sources are relative to.
        out: The corpus folder to make.
        overwrite: Replace `out` where it exists.
        show_progress: Show progress bars.

    Raises:
        UserError: unreadable sources, too many malformed rows, a language that no source has, or `out` exists. Nothing
            half-written stays behind.
    """
    root = Path(root)
    refuse_existing(Path(out), overwrite)
    _check(settings, root)
    tally, reports = Tally(), list[SourceReport]()

    with atomic_directory(out, overwrite) as folder:
        with step("reading evaluation texts to keep out"):
            forbidden = evaluation_keys(settings.evaluation, root, settings.max_bad_share, show_progress)
            near_index = _near_index(settings, root, show_progress)

        with step("reading and cleaning"):
            spool = Spool(folder / "spool.arrow")
            texts_read = _read(settings, root, forbidden, spool, tally, reports, show_progress)
            spooled = whole.Versions(*spool.finish(), spool.batches)

        with step("deduplicating and grouping"):
            spooled, ratios = whole.filter_whole(spooled, settings.clean, near_index, tally)
            records, languages, keys = spooled.records, spooled.languages, spooled.keys
            keep = exact = dedup.keep_first(records, languages, keys)
            if settings.near_duplicates is not None:
                keys = near.near_keys(spooled.batches(), languages, keys, settings.near_duplicates, folder)
                keep = dedup.keep_first(records, languages, keys)
            groups = np.full(len(keep), -1, dtype=np.int64)
            groups[keep] = dedup.group_ids(records[keep], keys[keep])
            if not keep.any():
                raise UserError(
                    "no text is left after cleaning", remedy="see the sources, and relax the settings clean"
                )

        with step("writing the corpus"):
            writer = CorpusWriter(folder, settings.rows_per_shard)
            summary = _write(spooled, keep, exact, groups, writer, tally, show_progress)
            spool.path.unlink()
            origins = _origins(settings.sources, writer.texts_per_origin)
            manifest = writer.close(
                texts={"read": texts_read, "kept": int(keep.sum()), "dropped": tally.total()},
                **summary,
                evaluation_texts=len(forbidden),
                origins=origins,
                drops=tally.entries(),
                length_ratios=ratios,
                sources=[report.as_dict(root) for report in reports],
            )
            wanted = {canonical(language) for language in settings.languages or ()}
            if missing := sorted(wanted - set(manifest["languages"])):
                raise UserError(f"no source has a usable sentence in {', '.join(missing)}", remedy="see languages")
            write_report(manifest, folder / "report.html")
            write_card(folder, manifest)

    _warn_of_bad_rows(reports)
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
    texts = evaluation_texts(settings.evaluation, root, settings.max_bad_share, show)
    return NearIndex(texts, settings.near_evaluation)


def _read(
    settings: BuildSettings,
    root: Path,
    forbidden: frozenset[int],
    spool: Spool,
    tally: Tally,
    reports: list[SourceReport],
    show: bool,
) -> int:
    """Pass 1: spool the usable versions of every record; returns how many texts were read."""
    wanted = None if settings.languages is None else {canonical(language) for language in settings.languages}
    texts_read = 0
    for source in settings.sources:
        origin = source.name
        for record in read_source(source, root, settings.max_bad_share, reports, show):
            candidates = versions(record.texts, settings.clean)
            texts_read += len(candidates)
            found = [key_hash(version.key) in forbidden for version in candidates] if forbidden else []
            if any(found):
                # The whole record: the other versions would still teach the translation of a test sentence.
                for version, is_found in zip(candidates, found, strict=True):
                    tally.add("evaluation text", origin, version.lang, version.text, sample=is_found)
                continue
            if wanted is not None:
                for version in candidates:
                    if version.lang not in wanted:
                        tally.add("language not asked for", origin, version.lang, version.text)
                candidates = [version for version in candidates if version.lang in wanted]
            kept, dropped = filter_versions(candidates, settings.clean)
            for drop in dropped:
                tally.add(drop.reason, origin, drop.lang, drop.text)
            if kept:
                negatives = [text for text in map(clean_text, record.negatives) if text]
                spool.add(kept, record.document, origin, negatives)
    return texts_read


def _write(
    spooled: whole.Versions,
    keep: NDArray[np.bool_],
    exact: NDArray[np.bool_],
    groups: NDArray[np.int64],
    writer: CorpusWriter,
    tally: Tally,
    show: bool,
) -> dict[str, Any]:
    """Pass 2: write the kept versions as rows; returns facts for the manifest.

    What is not kept is a duplicate, or a near-duplicate where it would stay as `exact` has it.
    """
    sizes = np.bincount(groups[keep])
    largest = int(sizes.argmax())
    largest_samples: list[str] = []
    start = 0
    for table in track(spooled.batches(), "writing", show=show):
        part = slice(start, start + table.num_rows)
        start += table.num_rows
        kept, group = keep[part], groups[part]
        for reason, lost in (("duplicate", ~kept & ~exact[part]), ("near-duplicate", ~kept & exact[part])):
            for row in table.filter(pa.array(lost)).select(["origin", "lang", "text"]).to_pylist():
                tally.add(reason, row["origin"], row["lang"], row["text"])

        first = dedup.first_version(spooled.records[part])
        alone = np.bincount(first, minlength=len(first))[first] == 1
        targets = np.flatnonzero(kept & (first != np.arange(len(first))))
        sources = first[targets]
        writer.write_pairs(_pairs(table, sources, targets, group))
        writer.write_mono(_mono(table, np.flatnonzero(kept & alone), group))

        if len(largest_samples) < 10:
            members = table.filter(pa.array(group == largest)).slice(0, 10 - len(largest_samples)).to_pylist()
            largest_samples += [f"{row['lang']}: {row['text'][:160]}" for row in members]
    return {
        "groups": len(sizes),
        "largest_group": {"group": largest, "texts": int(sizes[largest]), "samples": largest_samples},
    }


def _pairs(
    table: pa.Table, sources: NDArray[np.int64], targets: NDArray[np.int64], group: NDArray[np.int64]
) -> pa.Table:
    source, target = table.take(pa.array(sources)), table.take(pa.array(targets))
    return pa.table(
        {
            "source_lang": source["lang"],
            "target_lang": target["lang"],
            "source": source["text"],
            "target": target["text"],
            "group": group[targets],
            "document": source["document"],
            "origin": source["origin"],
            "negatives": source["negatives"],
        }
    )


def _mono(table: pa.Table, rows: NDArray[np.int64], group: NDArray[np.int64]) -> pa.Table:
    alone = table.take(pa.array(rows))
    return alone.drop_columns(["negatives"]).append_column("group", pa.array(group[rows]))


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
