"""Beats that were turned away, until the next canary tells the watch of them. Bounded; never a reason to refuse."""

from __future__ import annotations

import threading

from shippers.batch import Header

_MAX_WAITING = 500


class Refusals:
    """What was refused, as {"<region>/<service>/<instance>": code}. Used by any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: dict[str, str] = {}

    def add(self, header: Header, code: str) -> None:
        """Remember that this beat was turned away; the latest reason counts."""
        if header.dataset != "heartbeat":
            return
        key = f"{header.region}/{header.service}/{header.instance}"
        with self._lock:
            if key in self._waiting or len(self._waiting) < _MAX_WAITING:
                self._waiting[key] = code

    def take(self, region: str, *, others: frozenset[str] | None = None) -> dict[str, str]:
        """Hand over what was refused of a region; with `others`, also of regions that are not among these and so have
        no canary of their own."""
        with self._lock:
            taken = {key: code for key, code in self._waiting.items() if _goes_with(key, region, others)}
            for key in taken:
                del self._waiting[key]
        return taken

    def give_back(self, taken: dict[str, str]) -> None:
        """The canary did not arrive: keep these for the next one."""
        with self._lock:
            for key, code in taken.items():
                if len(self._waiting) < _MAX_WAITING:
                    self._waiting.setdefault(key, code)


def _goes_with(key: str, region: str, others: frozenset[str] | None) -> bool:
    own = key.partition("/")[0]
    return own == region or (others is not None and own not in others)
