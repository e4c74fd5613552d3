"""Filters that have to see a whole corpus before they can judge one text of it; they run between the passes of a build.

In: the spool of a build. Out: a fate for each version, and what was learned of lengths. Three look at

    near evaluation text   a version shares most of its shingles with an evaluation text: the whole record goes
    boilerplate            the text stands in many documents of its origin
    length ratio           the translation is much longer or shorter than those of the corpus; the first version stays

and a record of several that is left with one version goes with it. A first reading of the texts notes what each filter
needs, a second one, of numbers alone, judges. Memory holds a byte a version, the evaluation texts (`NearIndex`), what
`Lengths` and `DocumentCounts` hold, and a unit; on disk are 4 bytes a version for lengths, and 8 and `DocumentCounts`
for boilerplate.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from mlcl.core.text import key_hash
from mlcl.corpus import dedup
from mlcl.corpus.boilerplate import DocumentCounts, among
from mlcl.corpus.clean import CleanSettings, width
from mlcl.corpus.decontaminate import NearIndex
from mlcl.corpus.fates import ALONE, BESIDE_EVALUATION, BOILERPLATE, LENGTH, NEAR_EVALUATION, STAYS, Fates
from mlcl.corpus.lengths import LengthRatio, Lengths
from mlcl.corpus.spool import Spool, language_numbers

Int = NDArray[np.int64]


def is_awake(settings: CleanSettings, index: NearIndex | None) -> bool:
    """Whether `judge` has anything to do."""
    return not (index is None and settings.boilerplate_documents is None and settings.length_deviations is None)


def judge(
    spool: Spool, settings: CleanSettings, index: NearIndex | None, fates: Fates, folder: Path
) -> list[dict[str, Any]]:
    """Give versions that the awake filters of this module object to their fate.

    Args:
        spool: All versions.
        settings: `length_deviations` and `boilerplate_documents` wake their filters.
        index: Evaluation texts, to drop what is near them; None to leave that out.
        fates: `STAYS` for each version (N,); changed.
        folder: For temporary files.

    Returns:
        What was learned of lengths: `{source_lang, target_lang, pairs, ratio, spread}` each.
    """
    if not is_awake(settings, index):
        return []
    with tempfile.TemporaryDirectory(dir=folder, prefix="whole-") as name:
        notes = _Notes(spool, settings, Path(name))
        for here, table in _with_places(spool, notes.columns(index)):
            if index is not None:
                fates[here] = _near_evaluation(table, index)
            notes.take(table)
        notes.finish()
        if not notes.kept:
            return []
        for here, table in _with_places(spool, ["lang", "record"]):
            found = notes.verdict(table)
            evaluation = fates[here]
            fates[here] = np.where(evaluation == STAYS, found, evaluation)
            _drop_lone(table["record"].to_numpy(), fates[here])
        return notes.learned()


def _with_places(spool: Spool, columns: list[str]) -> Iterator[tuple[slice, pa.Table]]:
    for number, table in enumerate(spool.tables(columns)):
        yield slice(int(spool.first_version[number]), int(spool.first_version[number + 1])), table


def _near_evaluation(table: pa.Table, index: NearIndex) -> Fates:
    near = index.find(table["text"].to_pylist())
    records = table["record"].to_numpy()
    fates = np.where(np.isin(records, records[near]), BESIDE_EVALUATION, STAYS).astype(np.uint8)
    fates[near] = NEAR_EVALUATION
    return fates


class _Notes:
    """What the first reading notes for the filters of lengths and of boilerplate, and what they find with it."""

    def __init__(self, spool: Spool, settings: CleanSettings, folder: Path) -> None:
        self._deviations, least = settings.length_deviations, settings.boilerplate_documents
        self._widths = None if self._deviations is None else _Column(folder / "widths", np.int32)
        self._texts = None if least is None else _Column(folder / "texts", np.uint64)
        self._documents = None if least is None else DocumentCounts(folder, spool.versions, least)
        self._lengths = Lengths()
        self._ratios: dict[tuple[int, int], tuple[LengthRatio, int]] = {}
        self._boilerplate: dedup.Hashes = np.empty(0, np.uint64)
        self._tags: dict[str, int] = {}
        self._origins: dict[str, int] = {}

    @property
    def kept(self) -> bool:
        """Whether one of the two filters is awake."""
        return self._widths is not None or self._texts is not None

    def columns(self, index: NearIndex | None) -> list[str]:
        """What the first reading has to read."""
        wanted = {"lang", "record"}
        wanted |= {"text"} if index is not None or self._widths is not None else set()
        wanted |= {"document", "origin", "key"} if self._texts is not None else set()
        return sorted(wanted)

    def take(self, table: pa.Table) -> None:
        """Note the versions of a unit."""
        if self._widths is not None:
            widths = np.array([width(text) for text in table["text"].to_pylist()], np.int32)
            self._widths.append(widths)
            low, high, a, b = self._pairs(table, widths)[1:]
            self._lengths.add(low, high, a, b)
        if self._texts is not None and self._documents is not None:
            texts = dedup.text_hashes(language_numbers(table["origin"], self._origins), table["key"].to_numpy())
            encoded = table["document"].combine_chunks().dictionary_encode()
            names = encoded.dictionary.to_pylist()
            documents = np.array([key_hash(name) for name in names], np.int64).view(np.uint64)
            of_text = encoded.indices.to_numpy()
            has_one = np.array([bool(name) for name in names], bool)[of_text]
            texts[~has_one] = 0
            self._texts.append(texts)
            self._documents.add(texts[has_one], documents[of_text[has_one]])

    def finish(self) -> None:
        """All versions have been noted."""
        self._ratios = self._lengths.learn()
        if self._documents is not None:
            self._boilerplate = self._documents.found()

    def verdict(self, table: pa.Table) -> Fates:
        """Fates (n,) of the versions of the next unit."""
        fates = np.full(table.num_rows, STAYS, np.uint8)
        if self._widths is not None and self._deviations is not None:
            others, low, high, a, b = self._pairs(table, self._widths.read(table.num_rows))
            pair = low << 32 | high
            for code in np.unique(pair).tolist():
                if (known := self._ratios.get(divmod(code, 1 << 32))) is not None:
                    here = np.flatnonzero(pair == code)
                    far = np.abs(known[0].deviations(a[here].astype(float), b[here].astype(float))) > self._deviations
                    fates[others[here[far]]] = LENGTH
        if self._texts is not None:
            fates[among(self._texts.read(table.num_rows), self._boilerplate)] = BOILERPLATE
        return fates

    def learned(self) -> list[dict[str, Any]]:
        """For the manifest."""
        tags = list(self._tags)
        learned = [
            {
                "source_lang": tags[low], "target_lang": tags[high], "pairs": pairs,
                "ratio": round(known.ratio, 4), "spread": round(known.spread, 4),
            }
            for (low, high), (known, pairs) in self._ratios.items()
        ]  # fmt: skip
        return sorted(learned, key=lambda entry: (entry["source_lang"], entry["target_lang"]))

    def _pairs(self, table: pa.Table, widths: NDArray[np.int32]) -> tuple[Int, Int, Int, Int, Int]:
        """Each version that is not the first of its record, (M,), and its two languages and widths beside the first.

        Two languages are learned together, whichever of them comes first in a record.
        """
        languages = language_numbers(table["lang"], self._tags)
        first = dedup.first_version(table["record"].to_numpy())
        others = np.flatnonzero(first != np.arange(len(first)))
        one, two = languages[first[others]], languages[others]
        swapped = one > two
        low, high = np.where(swapped, two, one), np.where(swapped, one, two)
        a, b = (widths[rows].astype(np.int64) for rows in (first[others], others))
        return others, low, high, np.where(swapped, b, a), np.where(swapped, a, b)


class _Column:
    """Numbers on disk: written once in portions, then read once in portions."""

    def __init__(self, path: Path, dtype: type[np.generic]) -> None:
        self._path, self._type, self._place = path, np.dtype(dtype), 0

    def append(self, values: NDArray[Any]) -> None:
        with self._path.open("ab") as file:
            values.astype(self._type).tofile(file)

    def read(self, count: int) -> NDArray[Any]:
        values = np.fromfile(self._path, self._type, count, offset=self._place)
        self._place += values.nbytes
        return values


def _drop_lone(records: Int, fates: Fates) -> None:
    """A record of several versions that keeps one keeps none; changes `fates`."""
    first = dedup.first_version(records)
    stays = fates == STAYS
    left = np.bincount(first, weights=stays, minlength=len(first))[first]
    all_ = np.bincount(first, minlength=len(first))[first]
    fates[stays & (left == 1) & (all_ > 1)] = ALONE
