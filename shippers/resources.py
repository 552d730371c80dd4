"""What a process uses: CPU, memory, IO, threads, open files. From /proc on Linux, else from `resource`.

Figures that the system doesn't give (another user's IO, no /proc) are left out, never guessed.
"""

from __future__ import annotations

import os
import resource
import sys
from pathlib import Path

from .clock import Clock

_COMMAND_END = b") "
_UTIME, _STIME, _THREADS, _RSS = 11, 12, 17, 21  # places in /proc/<pid>/stat behind the command


class Resources:
    """Samples one process, this one unless `pid` says otherwise; CPU is the share of one core since the last sample."""

    def __init__(self, clock: Clock, pid: int | None = None) -> None:
        self._clock = clock
        self._own = pid is None
        self._proc = Path(f"/proc/{pid or os.getpid()}")
        self._last: tuple[float, float] | None = None

    def sample(self) -> dict[str, float | int]:
        """Any of cpu_percent, memory_bytes, io_read_bytes, io_write_bytes, threads, open_files."""
        figures = self._from_proc()
        if not figures and self._own:
            figures = self._from_rusage()
        cpu_s = figures.pop("cpu_s", None)
        now = self._clock.monotonic()
        if cpu_s is not None:
            if self._last is not None and now > self._last[0]:
                share = (cpu_s - self._last[1]) / (now - self._last[0])
                figures["cpu_percent"] = round(max(0.0, 100 * share), 2)
            self._last = (now, cpu_s)
        return figures

    def _from_proc(self) -> dict[str, float | int]:
        figures: dict[str, float | int] = {}
        try:
            stat = (self._proc / "stat").read_bytes().rpartition(_COMMAND_END)[2].split()
            figures["cpu_s"] = (int(stat[_UTIME]) + int(stat[_STIME])) / os.sysconf("SC_CLK_TCK")
            figures["threads"] = int(stat[_THREADS])
            figures["memory_bytes"] = int(stat[_RSS]) * os.sysconf("SC_PAGE_SIZE")
            for row in (self._proc / "io").read_text().splitlines():
                name, _, value = row.partition(": ")
                if name in ("read_bytes", "write_bytes"):
                    figures[f"io_{name}"] = int(value)
            figures["open_files"] = len(os.listdir(self._proc / "fd"))  # noqa: PTH208  no Path a descriptor
        except (OSError, ValueError, IndexError):
            return figures  # as far as we are allowed to look
        return figures

    def _from_rusage(self) -> dict[str, float | int]:
        usage = resource.getrusage(resource.RUSAGE_SELF)
        unit = 1 if sys.platform == "darwin" else 1024
        return {"cpu_s": usage.ru_utime + usage.ru_stime, "memory_bytes": usage.ru_maxrss * unit}
