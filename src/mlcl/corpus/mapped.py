"""Numbers in a file, looked up by their place without being in memory."""

from __future__ import annotations

import mmap
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray


@contextmanager
def mapped(
    path: Path, dtype: type[np.generic], write: bool = False
) -> Iterator[tuple[NDArray[Any], Callable[[], None]]]:
    """The numbers (n,) of a file that is not empty, and a function that gives back the memory they have taken so far.

    Without it, the pages that were looked at count as memory of this process until the system needs room.
    """
    with path.open("r+b" if write else "rb") as file:
        view = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_WRITE if write else mmap.ACCESS_READ)

    def release() -> None:
        if hasattr(mmap, "MADV_DONTNEED"):
            view.madvise(mmap.MADV_DONTNEED)  # a shared mapping: what was written stays in the file

    # Arrays keep the mapping alive; it goes with the last of them.
    yield np.frombuffer(view, dtype), release
