"""How a process that moves millions of events handles its memory: glibc's large buffers, Python's small objects."""

from __future__ import annotations

import ctypes
import gc

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8
_KEPT_BYTES = 64 * 1024**2
_LARGEST_BYTES = 32 * 1024**2
"""What glibc allows at most."""
_YOUNG, _MIDDLE, _OLD = 50_000, 20, 20


def collect_rarely() -> None:
    """Look for cycles after tens of thousands of new objects, not after hundreds, and not among those there are now.
    A batch is a handful of objects and no cycle: looking through all that are held was a tenth of an indexer's CPU with
    batches of 20."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(_YOUNG, _MIDDLE, _OLD)


def keep_buffers() -> None:
    """Keep what is freed for the next buffer, up to _KEPT_BYTES, whichever thread wants it: a store for each thread
    costs an indexer 30 MiB more. By default megabytes go back to the system each time, and each page that comes again
    is cleared first: a tenth of an indexer's CPU. Elsewhere than on glibc it does nothing."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, _LARGEST_BYTES)
        mallopt(_M_TRIM_THRESHOLD, _KEPT_BYTES)
        mallopt(_M_ARENA_MAX, 1)
