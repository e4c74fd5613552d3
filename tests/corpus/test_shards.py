"""A shard's bytes and the counts of its rows do not depend on the portions in which the rows come."""

from __future__ import annotations

import json
import random

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mlcl.corpus import shards
from mlcl.corpus.counts import Counts
from mlcl.corpus.shards import PAIRS, Shard


def rows(count):
    chance = random.Random(0)
    return [
        {
            "source_lang": "en", "target_lang": chance.choice(["de", "fr"]), "source": f"text {number // 3}",
            "target": "x" * chance.randrange(40), "group": number // 3, "document": "", "origin": chance.choice("ab"),
            "negatives": ["n"] if not number % 7 else None,
        }
        for number in range(count)
    ]  # fmt: skip


def portions(table, sizes):
    start = 0
    for size in sizes:
        yield table.slice(start, size)
        start += size


@pytest.mark.parametrize("sizes", [(500,), (1,) * 500, (99, 0, 101, 300)])
def test_portions_change_no_byte(tmp_path, monkeypatch, sizes):
    monkeypatch.setattr(shards, "_ROW_GROUP", 120)
    table = pa.Table.from_pylist(rows(500), PAIRS)
    with Shard(tmp_path / "a" / "0.parquet", "pairs") as one:
        one.write(table)
    with Shard(tmp_path / "a" / "1.parquet", "pairs") as two:
        for part in portions(table, sizes):
            two.write(part)
    assert one.entry() == two.entry()
    with pq.ParquetFile(tmp_path / "a" / "1.parquet") as file:
        assert [file.metadata.row_group(number).num_rows for number in range(5)] == [120, 120, 120, 120, 20]
        assert file.read().equals(table)


@pytest.mark.parametrize("sizes", [(1,) * 30, (10, 20), (29, 1)])
def test_counts_of_parts_add_up(sizes):
    table = pa.Table.from_pylist(rows(30), PAIRS)
    whole, sum_ = Counts(), Counts()
    whole.add("pairs", table)
    start = 0
    for part in portions(table, sizes):
        counts = Counts()
        counts.follow(table.slice(0, start))
        counts.add("pairs", part)
        sum_.add_state(json.loads(json.dumps(counts.state())))
        start += part.num_rows
    assert sum_.facts() == whole.facts()
    assert sum_.texts_per_origin == whole.texts_per_origin
    assert whole.facts()["languages"]["en"] == {"pairs": 10, "mono": 0}
