"""Python's cyclic garbage collector, where millions of small objects live that have no cycles."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

_THRESHOLDS = 200_000, 50, 1000


def collect_rarely() -> None:
    """Let this process look for cycles seldom.

    By default, Python looks through the young objects after every 700 new ones. Records of a corpus stay alive by the
    hundred thousand, so the same ones are looked through again and again: half of the time of a process that reads.
    """
    gc.set_threshold(*_THRESHOLDS)


@contextmanager
def rare_collections() -> Iterator[None]:
    """`collect_rarely` for a while."""
    before = gc.get_threshold()
    collect_rarely()
    try:
        yield
    finally:
        gc.set_threshold(*before)
