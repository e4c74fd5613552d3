"""Between the two passes: which versions stay, and which records are one sentence.

In: the spool of a build. Out: a `Selection`, which is files in the work folder, so that a build that was stopped in its
second pass does not select again. Up to `IN_MEMORY` versions `dedup` works on whole arrays; above that
`dedup_partitioned` does the same on disk, a part at a time. In memory are then some bytes for each version and four or
eight for each record; `whole` and `near` say what they add.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from mlcl.core.errors import UserError
from mlcl.core.files import atomic_file, read_json, write_json
from mlcl.core.progress import console
from mlcl.corpus import dedup, dedup_partitioned, near, whole
from mlcl.corpus.decontaminate import NearIndex
from mlcl.corpus.fates import DUPLICATE, NEAR_DUPLICATE, STAYS, Fates, count_drops
from mlcl.corpus.spool import Block, Spool
from mlcl.corpus.tally import Tally
from mlcl.corpus.work import digest, stamp

if TYPE_CHECKING:
    from mlcl.corpus.build import BuildSettings

IN_MEMORY = 4_000_000
"""Versions up to which the arrays are in memory as a whole: about half a gigabyte at the peak."""

_SAMPLES = 10  # texts of the largest group

Blocks = Callable[[], Iterator[Block]]
Groups = NDArray[np.signedinteger[Any]]


@dataclass(frozen=True)
class Selection:
    """What stays of N versions.

    Attributes:
        folder: Where it lies; what is made of it lies beside it and goes with it.
        kept: Number of versions that stay.
        groups: Number of groups.
        largest: The group with the most versions: `group`, `texts`, `samples`.
        length_ratios: What was learned of the lengths of translations.
        drops: What was dropped, as `Tally.state` has it.
        starts: For each unit and at the end, what stays before it (U + 1, 3): records, rows of pairs, mono rows.
    """

    folder: Path
    kept: int
    groups: int
    largest: dict[str, Any]
    length_ratios: list[dict[str, Any]]
    drops: list[dict[str, Any]]
    starts: list[list[int]]

    def fates(self) -> Fates:
        """What becomes of each version (N,), read from disk where it is looked at."""
        return _array(self.folder / _FATES)  # type: ignore[return-value]

    def record_groups(self) -> Groups:
        """Group of each record of which a version stays, in order; read as `fates`."""
        return _array(self.folder / _GROUPS)


_FACTS, _FATES, _GROUPS = "facts.json", "fates.npy", "groups.npy"


def select(spool: Spool, settings: BuildSettings, index: NearIndex | None, folder: Path) -> Selection:
    """Filter the whole, deduplicate and group, or find what an earlier build has done of it.

    Args:
        spool: The texts and their numbers.
        settings: What counts as a duplicate, and the filters of `whole`.
        index: Evaluation texts that no text may be near.
        folder: Work folder of the build.

    Raises:
        UserError: nothing is left.
    """
    # The units' names tell the program, the other settings and the evaluation texts.
    units = [stamp(file) for file in spool.files]
    name = digest([units, settings.near_duplicates, settings.near_evaluation, settings.rows_per_shard])
    home = folder / "selection" / name
    if (home / _FACTS).is_file():
        console.print("what stays was decided by an earlier build")
    else:
        shutil.rmtree(home.parent, ignore_errors=True)
        home.mkdir(parents=True)
        _make(spool, settings, index, home)
    return Selection(home, **read_json(home / _FACTS))


def _make(spool: Spool, settings: BuildSettings, index: NearIndex | None, home: Path) -> None:
    fates: Fates = np.full(spool.versions, STAYS, np.uint8)
    with tempfile.TemporaryDirectory(dir=home, prefix="scratch-") as scratch:
        ratios = whole.judge(spool, settings.clean, index, fates, Path(scratch))
        judged = _Staying(spool, fates)
        blocks: Blocks = judged.blocks
        keep = exact = _keep(blocks, judged.versions, Path(scratch))
        if settings.near_duplicates is not None:
            blocks = near.near_blocks(blocks, judged.texts, judged.versions, settings.near_duplicates, Path(scratch))
            keep = _keep(blocks, judged.versions, Path(scratch))
        if not keep.any():
            raise UserError("no text is left after cleaning", remedy="see the sources, and relax the settings clean")
        record_groups, sizes = _group(blocks, keep, Path(scratch))
        fate = np.full(judged.versions, DUPLICATE, np.uint8)
        fate[exact] = NEAR_DUPLICATE
        fate[keep] = STAYS
        fates[judged.mask] = fate
    for name, values in ((_FATES, fates), (_GROUPS, record_groups)):
        with atomic_file(home / name) as partial, partial.open("wb") as file:
            np.save(file, values)
    tally = Tally()
    count_drops(spool, fates, tally)
    largest = int(sizes.argmax())
    starts, samples = _look(spool, fates, record_groups, largest)
    facts = {"group": largest, "texts": int(sizes[largest]), "samples": samples}
    found = Selection(home, int(np.count_nonzero(keep)), len(sizes), facts, ratios, tally.state(), starts)
    write_json(home / _FACTS, {name: value for name, value in asdict(found).items() if name != "folder"})


class _Staying:
    """The versions of a spool that stay, numbered without the others."""

    def __init__(self, spool: Spool, fates: Fates) -> None:
        self._spool = spool
        self.mask = fates == STAYS
        self.versions = int(np.count_nonzero(self.mask))

    def blocks(self) -> Iterator[Block]:
        for number, (records, languages, keys) in enumerate(self._spool.blocks()):
            here = self._here(number)
            yield records[here], languages[here], keys[here]

    def texts(self) -> Iterator[pa.ChunkedArray]:
        for number, table in enumerate(self._spool.tables(["text"])):
            yield table["text"].filter(pa.array(self._here(number)))

    def _here(self, number: int) -> NDArray[np.bool_]:
        return self.mask[self._spool.first_version[number] : self._spool.first_version[number + 1]]


def _look(spool: Spool, fates: Fates, record_groups: Groups, largest: int) -> tuple[list[list[int]], list[str]]:
    """`Selection.starts`, and samples of the largest group."""
    starts, samples = [[0, 0, 0]], list[str]()
    for number, (start, end) in enumerate(zip(spool.first_version[:-1], spool.first_version[1:], strict=True)):
        rows = np.flatnonzero(fates[start:end] == STAYS)
        records = spool.unit(number, ["record"])["record"].to_numpy()[rows] if len(rows) else np.empty(0, np.int64)
        versions = np.bincount(dedup.numbered(records))
        before = starts[-1]
        alone = int(np.count_nonzero(versions == 1))
        starts.append([before[0] + len(versions), before[1] + len(rows) - len(versions), before[2] + alone])
        if len(samples) < _SAMPLES:
            groups = np.repeat(record_groups[before[0] : before[0] + len(versions)], versions)
            members = rows[groups == largest][: _SAMPLES - len(samples)]
            if len(members):
                found = spool.unit(number, ["lang", "text"]).take(pa.array(members)).to_pylist()
                samples += [f"{row['lang']}: {row['text'][:160]}" for row in found]
    return starts, samples


def _array(path: Path) -> NDArray[Any]:
    return np.load(path, mmap_mode="r")  # type: ignore[no-any-return]


def _keep(blocks: Blocks, versions: int, folder: Path) -> NDArray[np.bool_]:
    if versions <= IN_MEMORY:
        return dedup.keep_first(*_whole(blocks))
    return dedup_partitioned.keep_first(blocks, versions, folder)


def _group(blocks: Blocks, keep: NDArray[np.bool_], folder: Path) -> tuple[Groups, Groups]:
    """The group of each record that has one, and the versions of each group."""
    if len(keep) > IN_MEMORY:
        return dedup_partitioned.group_records(blocks, keep, folder)
    records, _, keys = (column[keep] for column in _whole(blocks))
    groups = dedup.group_ids(records, keys)
    return groups[dedup.record_starts(records)], np.bincount(groups)


def _whole(blocks: Blocks) -> Block:
    columns = list(zip(*blocks(), strict=True))
    if not columns:
        empty = np.zeros(0, dtype=np.int64)
        return empty, empty, empty
    records, languages, keys = (np.concatenate(column) for column in columns)
    return records, languages, keys
