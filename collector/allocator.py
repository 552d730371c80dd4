"""For a process that moves megabytes all day: memory that it frees is kept for what comes next, and kept together.

Without it a third of such a process's time goes into pages that the kernel takes back and clears again.
"""

from __future__ import annotations

import ctypes
import gc

_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -3, -8  # glibc's malloc.h
_KEPT_BYTES = 64 * 1024 * 1024
_LARGE_BYTES = 32 * 1024 * 1024


def settle_in() -> None:
    """Once, by the role whose process this is, when all is imported. Elsewhere than on glibc only the collector of
    cycles is told to look less often: records have none."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_ARENA_MAX, 1)
        mallopt(_MMAP_THRESHOLD, _LARGE_BYTES)
        mallopt(_TRIM_THRESHOLD, _KEPT_BYTES)
