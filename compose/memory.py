"""How glibc's allocator treats the large buffers of a process that builds one after the other."""

from __future__ import annotations

import ctypes

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_KEPT_BYTES = 64 * 1024**2
_LARGEST_BYTES = 32 * 1024**2
"""What glibc allows at most."""


def keep_buffers() -> None:
    """Keep what is freed for the next buffer, up to _KEPT_BYTES a thread. By default megabytes go back to the system
    each time, and each page that comes again is cleared first: a tenth of an indexer's CPU. Elsewhere than on glibc
    it does nothing."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, _LARGEST_BYTES)
        mallopt(_M_TRIM_THRESHOLD, _KEPT_BYTES)
