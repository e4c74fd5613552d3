"""Memory of the process: keep what is freed, and how much there was at most.

On a CPU, the first touch of fresh pages costs as much as the arithmetic.
"""

from __future__ import annotations

import ctypes
import sys

import torch

_M_TRIM_THRESHOLD, _M_MMAP_MAX, _M_ARENA_MAX = -1, -4, -8


def keep_freed_memory() -> bool:
    """Let glibc serve big tensors from its heap and never give the heap back, so that steps reuse their pages.

    `M_MMAP_THRESHOLD` does not do: glibc caps it at 32 MiB, and larger blocks would be mapped anew in each step.

    Returns:
        Whether it was possible (only glibc has `mallopt`).
    """
    if not sys.platform.startswith("linux"):
        return False
    libc = ctypes.CDLL(None)
    if not hasattr(libc, "mallopt"):
        return False
    # One arena: a thread's own arena is made of small mapped heaps, to which the other two do not apply.
    settings = ((_M_MMAP_MAX, 0), (_M_TRIM_THRESHOLD, (1 << 31) - 1), (_M_ARENA_MAX, 1))
    return min(libc.mallopt(name, value) for name, value in settings) == 1


def peak_memory() -> int:
    """The most memory that this process has held, in bytes: of the GPU where there is one, else of the machine."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated()
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
