"""A run of the demo in which everything holds, to be broken one thing at a time."""

from __future__ import annotations

from alerts.incidents import Incident, Severity, Status
from compose.demo.figures import Figures
from compose.demo.topology import VICTIM


def incident(service: str = VICTIM.service, region: str = VICTIM.region) -> Incident:
    return Incident(
        id="i1",
        dedup_key=f"down/{region}/{service}",
        kind="down",
        severity=Severity.PAGE,
        status=Status.FIRING,
        region=region,
        service=service,
        instance="",
        zone="",
        summary=f"{service} in {region} is down",
        why="no beat",
        began_at=100.0,
        opened_at=104.4,
    )


GOOD = Figures(
    victim="w",
    emitted={"a": 100, "b": 50, "w": 30},
    stored={"a": 100, "b": 48, "w": 27},
    archived=None,
    dropped={"b": 2},
    beats={"x.heartbeat": (9, 9), "y.heartbeat": (12, 12)},
    behind={"the lake": 0},
    dead=(incident(),),
    living=(),
    last_beat_at=100.0,
    alert_at=104.4,
)
