"""What can be said of a service or an instance. (`evaluate`, the pure decision, lives here.)"""

from __future__ import annotations

from enum import StrEnum


class Verdict(StrEnum):
    """The watch's word on a row. Ordered worst first, as boards list them."""

    DOWN = "DOWN"
    UNREACHABLE = "UNREACHABLE"
    LOSSY = "LOSSY"
    REFUSED = "REFUSED"
    FLAPPING = "FLAPPING"
    LATE = "LATE"
    BLIND = "BLIND"
    NEW = "NEW"
    UP = "UP"
    STOPPED = "STOPPED"
