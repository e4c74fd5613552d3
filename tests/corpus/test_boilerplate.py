"""Documents counted by files of hashes, against sets."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from mlcl.corpus.boilerplate import DocumentCounts, among

ROWS = st.lists(st.tuples(st.integers(1, 6), st.integers(101, 108)), max_size=80)


@settings(max_examples=60, deadline=None)
@given(ROWS, st.integers(2, 5), st.integers(1, 30), st.integers(1, 40))
def test_counts_are_those_of_sets(rows, least, portion, rows_per_file):
    documents = {}
    for text, document in rows:
        documents.setdefault(text, set()).add(document)
    texts, places = np.array(rows, np.uint64).reshape(-1, 2).T
    with tempfile.TemporaryDirectory() as name:
        counts = DocumentCounts(Path(name), len(rows), least, rows_per_file)
        for start in range(0, len(rows), portion):
            counts.add(texts[start : start + portion], places[start : start + portion])
        found = counts.found()
    assert found.tolist() == sorted(text for text, places in documents.items() if len(places) >= least)
    assert among(texts, found).tolist() == [len(documents[text]) >= least for text, _ in rows]


def test_a_line_of_every_document_takes_no_room(tmp_path):
    counts = DocumentCounts(tmp_path, 100, 3)
    for start in range(0, 100_000, 1000):
        documents = np.arange(start, start + 1000, dtype=np.uint64)
        counts.add(np.full(1000, 7, np.uint64), documents)
    assert counts.found().tolist() == [7]
    assert sum(path.stat().st_size for path in tmp_path.rglob("*") if path.is_file()) == 0
