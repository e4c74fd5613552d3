"""The form on disk against the form in memory, which is its slow twin for few versions."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from mlcl.corpus import dedup, dedup_partitioned, selection
from mlcl.corpus.dedup_partitioned import Partitions

RECORDS = st.lists(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 12)), min_size=1, max_size=5), max_size=40)


def columns(records: list[list[tuple[int, int]]]) -> tuple[np.ndarray, ...]:
    rows = [(number, lang, key) for number, record in enumerate(records) for lang, key in record]
    numbers, languages, keys = np.array(rows, dtype=np.int64).reshape(-1, 3).T
    scrambled = (keys.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)).view(np.int64)  # as hashes are
    return np.ascontiguousarray(numbers), np.ascontiguousarray(languages), scrambled


@settings(max_examples=60, deadline=None)
@given(RECORDS, st.integers(1, 7), st.integers(1, 50))
def test_partitions_and_blocks_change_nothing(records, per_block, rows):
    whole = columns(records)
    numbers = whole[0]

    def blocks():
        for start in range(0, len(records), per_block):
            here = (numbers >= start) & (numbers < start + per_block)
            yield tuple(column[here] for column in whole)

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        keep = dedup_partitioned.keep_first(blocks, len(numbers), folder, rows)
        assert np.array_equal(keep, dedup.keep_first(*whole))
        groups, sizes = dedup_partitioned.group_records(blocks, keep, folder, rows)
        assert list(folder.iterdir()) == []
    expected = dedup.group_ids(numbers[keep], whole[2][keep])
    assert np.array_equal(groups, expected[dedup.record_starts(numbers[keep])])
    assert np.array_equal(sizes, np.bincount(expected))


def test_rows_that_were_written_come_back_in_order(tmp_path, monkeypatch):
    monkeypatch.setattr(dedup_partitioned, "_BUFFER", 1)
    parts = Partitions(tmp_path, [("hash", "u8"), ("place", "i8")], 3)
    for start in (0, 100):
        hashes = np.arange(start, start + 100, dtype=np.uint64)
        parts.add(hashes, hashes, np.arange(start, start + 100))
    found = list(parts)
    assert [len(part) for part in found] == [67, 67, 66]
    assert all(np.all(np.diff(part["place"]) > 0) and np.all(part["hash"] % 3 == n) for n, part in enumerate(found))


def test_a_build_above_the_limit_of_memory_is_the_same(tmp_path, monkeypatch):
    import corpus_digests
    from mlcl.corpus.build import BuildSettings, build

    monkeypatch.setattr("mlcl.corpus.build.write_report", corpus_digests.plain_report)
    corpus_digests.write_sources(tmp_path, 120)
    made = BuildSettings(**corpus_digests.settings())
    build(made, tmp_path, tmp_path / "one", show_progress=False)
    monkeypatch.setattr(selection, "IN_MEMORY", 0)
    build(made, tmp_path, tmp_path / "two", show_progress=False)
    assert corpus_digests.digests(tmp_path / "one") == corpus_digests.digests(tmp_path / "two")
