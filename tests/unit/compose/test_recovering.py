"""What the auditor asks for is looked for in the right places, and it is told what came of it."""

from __future__ import annotations

from pathlib import Path

from alerts.audit.findings import Finding
from collector.resend.recovery import Recovery
from collector.resend.wanted import Asked
from compose.recovering import open_recovery, recover_finding
from compose.settings import Settings
from tests.unit.lake.events import NOON, PAY, batch
from tests.unit.resend.test_recovery import Copies, Sent, Services


def finding(sink: str = "elastic") -> Finding:
    holes = ((101, 110), (121, 130), (141, 150))
    return Finding(
        sink, PAY, "cn-east", "payment", "pay-01", "business", "2025-11-21", NOON, 7, NOON, holes, missing=30
    )


def test_a_finding_s_holes_are_looked_for_and_what_came_is_told_in_words() -> None:
    journal, lake, elastic = Copies("journal", batch(101, 10)), Copies("lake", batch(121, 5)), Copies("elastic")
    services = Services(Asked(pending=((126, 130),), lacking=((141, 149),)))
    recovery = Recovery(journal, {"lake": lake, "elastic": elastic}, services, Sent())
    sources, words = recover_finding(recovery, finding())
    assert sources == {"journal": ((101, 110),), "lake": ((121, 125),)}
    assert words == (
        "101–110 sent again from the journal; 121–125 sent again from the lake; 126–130 asked of its service; "
        "141–149 which its service has no more; 150 nowhere to be had"
    )
    asked = journal.asked[0]
    assert (asked.region, asked.service, asked.instance) == ("cn-east", "payment", "pay-01")
    assert asked.since < NOON < asked.until
    assert elastic.asked == []


def test_with_nothing_running_a_look_finds_nothing_and_asks_the_service(tmp_path: Path) -> None:
    settings = Settings.model_validate({"data": tmp_path})
    with open_recovery(settings) as recovery:
        sources, words = recover_finding(recovery, finding("lake"))
    assert (sources, words) == ({}, "101–110, 121–130, 141–150 asked of its service")
