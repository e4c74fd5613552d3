"""Filters that have to see a whole corpus before they can judge one text of it; they run between the passes of a build.

In: the versions of all records, as numbers, and their texts, batch by batch. Out: the same without those that were
dropped, each counted under its reason. Three look at

    near evaluation text   a version shares most of its shingles with an evaluation text: the whole record goes
    boilerplate            the text stands in many documents of its origin
    length ratio           the translation is much longer or shorter than those of the corpus; the first version stays

and a record of several that is left with one version goes with it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from mlcl.core.text import key_hash
from mlcl.corpus import dedup, lengths
from mlcl.corpus.clean import CleanSettings, width
from mlcl.corpus.decontaminate import NearIndex
from mlcl.corpus.tally import Tally

STAYS, NEAR, BOILERPLATE, LENGTH, ALONE = range(5)
REASONS = ("", "near evaluation text", "boilerplate", "length ratio", "no translation left")

Batches = Callable[[], Iterator[pa.Table]]
Int = NDArray[np.int64]


@dataclass(frozen=True)
class Versions:
    """The versions of all records of a build, in reading order.

    Attributes:
        records: Record number of each version (N,), ascending.
        languages: Language number of each version (N,).
        keys: Hash of the normalised text of each version (N,).
        batches: Gives their texts (lang, text, document, origin, negatives), no batch cutting a record.
    """

    records: Int
    languages: Int
    keys: Int
    batches: Batches


def is_awake(settings: CleanSettings, index: NearIndex | None) -> bool:
    """Whether `filter_whole` has anything to do, and so needs all numbers in memory."""
    return not (index is None and settings.boilerplate_documents is None and settings.length_deviations is None)


def filter_whole(
    versions: Versions, settings: CleanSettings, index: NearIndex | None, tally: Tally
) -> tuple[Versions, list[dict[str, Any]]]:
    """Drop what the awake filters of this module find.

    Args:
        versions: All versions.
        settings: `length_deviations` and `boilerplate_documents` wake their filters.
        index: Evaluation texts, to drop what is near them; None to leave that out.
        tally: Counts what is dropped.

    Returns:
        What stays, and what was learned of lengths: `{source_lang, target_lang, pairs, ratio, spread}` each.
    """
    if not is_awake(settings, index):
        return versions, []
    facts = _look(versions, settings, index)
    verdict = np.full(len(versions.records), STAYS, dtype=np.int8)
    learned: list[dict[str, Any]] = []
    if settings.length_deviations is not None:
        outliers, learned = _length_outliers(versions, facts.widths, facts.tags, settings.length_deviations)
        verdict[outliers] = LENGTH
    if settings.boilerplate_documents is not None:
        verdict[_boilerplate(versions.keys, facts, settings.boilerplate_documents)] = BOILERPLATE
    if index is not None:
        verdict[np.isin(versions.records, versions.records[facts.near])] = NEAR
    _drop_lone(versions.records, verdict)
    return _surviving(versions, verdict, facts.near, tally), learned


@dataclass(frozen=True)
class _Facts:
    """What one reading of the texts tells of each version; arrays (N,), empty where nobody asks for them."""

    near: NDArray[np.bool_]
    widths: NDArray[np.float64]
    documents: Int  # hash of origin and document, 0 where the text has none
    origins: Int  # hash of the origin
    tags: dict[int, str]  # language number -> tag


def _look(versions: Versions, settings: CleanSettings, index: NearIndex | None) -> _Facts:
    count = len(versions.records)
    by_length, by_document = settings.length_deviations is not None, settings.boilerplate_documents is not None
    near = np.zeros(count, dtype=bool)
    widths = np.zeros(count if by_length else 0)
    documents, origins = (np.zeros(count if by_document else 0, dtype=np.int64) for _ in range(2))
    tags: dict[int, str] = {}
    start = 0
    for table in versions.batches():
        here = slice(start, start + table.num_rows)
        start += table.num_rows
        texts = table["text"].to_pylist()
        if index is not None:
            near[here] = index.find(texts)
        if by_length:
            widths[here] = list(map(width, texts))
            numbers, first = np.unique(versions.languages[here], return_index=True)
            tags.update(zip(numbers.tolist(), table["lang"].take(pa.array(first)).to_pylist(), strict=True))
        if by_document:
            names = table["origin"].to_pylist()
            origins[here] = list(map(key_hash, names))
            documents[here] = [
                key_hash(f"{name}\n{document}") if document else 0
                for name, document in zip(names, table["document"].to_pylist(), strict=True)
            ]
    return _Facts(near, widths, documents, origins, tags)


def _length_outliers(
    versions: Versions, widths: NDArray[np.float64], tags: dict[int, str], deviations: float
) -> tuple[Int, list[dict[str, Any]]]:
    """Versions whose length does not fit that of the first of their record, and what was learned of each two languages.

    Two languages are learned together, whichever of them comes first in a record.
    """
    first = dedup.first_version(versions.records)
    others = np.flatnonzero(first != np.arange(len(first)))
    one, two = versions.languages[first[others]], versions.languages[others]
    swapped = one > two
    low, high = np.where(swapped, two, one), np.where(swapped, one, two)
    a, b = np.where(swapped, others, first[others]), np.where(swapped, first[others], others)
    _, pair = np.unique(low * (versions.languages.max(initial=0) + 1) + high, return_inverse=True)
    order = np.argsort(pair, kind="stable")
    outliers, learned = [], []
    for rows in np.split(order, np.flatnonzero(np.diff(pair[order])) + 1) if len(order) else []:
        known = lengths.learn(widths[a[rows]], widths[b[rows]])
        if known is None:
            continue
        far = np.abs(known.deviations(widths[a[rows]], widths[b[rows]])) > deviations
        outliers.append(others[rows[far]])
        learned.append(
            {
                "source_lang": tags[int(low[rows[0]])], "target_lang": tags[int(high[rows[0]])], "pairs": len(rows),
                "ratio": round(known.ratio, 4), "spread": round(known.spread, 4),
            }
        )  # fmt: skip
    learned.sort(key=lambda entry: (entry["source_lang"], entry["target_lang"]))
    return np.concatenate(outliers) if outliers else np.empty(0, np.int64), learned


def _boilerplate(keys: Int, facts: _Facts, documents: int) -> NDArray[np.bool_]:
    """Mask (N,) of texts that stand in at least so many documents of their origin."""
    with_document = np.flatnonzero(facts.documents)
    found = np.zeros(len(keys), dtype=bool)
    if not len(with_document):
        return found
    texts = np.stack([keys[with_document], facts.origins[with_document]], axis=1)
    _, text = np.unique(texts, axis=0, return_inverse=True)
    places = np.unique(np.stack([text.ravel(), facts.documents[with_document]], axis=1), axis=0)
    in_documents = np.bincount(places[:, 0])
    found[with_document] = in_documents[text.ravel()] >= documents
    return found


def _drop_lone(records: Int, verdict: NDArray[np.int8]) -> None:
    """A record of several versions that keeps one keeps none; changes `verdict`."""
    first = dedup.first_version(records)
    stays = verdict == STAYS
    left = np.bincount(first, weights=stays, minlength=len(first))[first]
    all_ = np.bincount(first, minlength=len(first))[first]
    verdict[stays & (left == 1) & (all_ > 1)] = ALONE


def _surviving(versions: Versions, verdict: NDArray[np.int8], near: NDArray[np.bool_], tally: Tally) -> Versions:
    """The versions that stay; the others are counted."""
    stays = verdict == STAYS

    def batches() -> Iterator[pa.Table]:
        start = 0
        for table in versions.batches():
            yield table.filter(pa.array(stays[start : start + table.num_rows]))
            start += table.num_rows

    start = 0
    for table in versions.batches() if not stays.all() else ():
        here = slice(start, start + table.num_rows)
        start += table.num_rows
        rows = np.flatnonzero(~stays[here])
        columns = table.select(["origin", "lang", "text"]).take(pa.array(rows)).to_pylist()
        for row, code, is_near in zip(columns, verdict[here][rows].tolist(), near[here][rows].tolist(), strict=True):
            tally.add(REASONS[code], row["origin"], row["lang"], row["text"], sample=code != NEAR or is_near)
    return Versions(versions.records[stays], versions.languages[stays], versions.keys[stays], batches)
