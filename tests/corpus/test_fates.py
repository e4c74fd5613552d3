"""What was dropped between the passes, counted a unit at a time with few looks at texts, against one text at a time."""

from __future__ import annotations

import random

import numpy as np

from mlcl.corpus import fates
from mlcl.corpus.clean import Version
from mlcl.corpus.fates import BESIDE_EVALUATION, REASONS, STAYS, count_drops
from mlcl.corpus.spool import Spool, UnitFile
from mlcl.corpus.tally import Tally


def spool_of(folder, rows):
    """Units of records of one version: [[(origin, lang, text), ...], ...]."""
    files = []
    for number, unit in enumerate(rows):
        file = UnitFile()
        for origin, lang, text in unit:
            file.add([Version(lang, text, text)], "", origin, [])
        files.append(folder / f"{number}.arrow")
        file.write(files[-1], {})
    return Spool(files)


def test_counts_and_samples_are_those_of_single_texts(tmp_path):
    chance = random.Random(0)
    units = [
        [(chance.choice(["a", "b", "c"]), chance.choice(["en", "de"]), f"text {unit} {row}") for row in range(40)]
        for unit in range(5)
    ]
    rows = [row for unit in units for row in unit]
    codes = np.array([chance.choice([STAYS, *REASONS]) for _ in rows], np.uint8)
    codes[:40] = STAYS
    tally, slow = Tally(samples=3), Tally(samples=3)
    count_drops(spool_of(tmp_path, units), codes, tally)
    for code, (origin, lang, text) in zip(codes.tolist(), rows, strict=True):
        if code != STAYS:
            slow.add(REASONS[code], origin, lang, text, sample=code != BESIDE_EVALUATION)
    assert tally.entries() == slow.entries()
    assert tally.total() == np.count_nonzero(codes)


def test_texts_are_not_read_once_there_are_samples(tmp_path, monkeypatch):
    spool = spool_of(tmp_path, [[("a", "en", f"text {unit} {row}") for row in range(4)] for unit in range(3)])
    read = []
    unit = spool.unit
    monkeypatch.setattr(spool, "unit", lambda number, columns: read.append((number, *columns)) or unit(number, columns))
    count_drops(spool, np.full(12, fates.DUPLICATE, np.uint8), Tally(samples=5))
    assert [entry for entry in read if "text" in entry] == [(0, "lang", "text"), (1, "lang", "text")]
