"""The host's log hears when sending stops and goes on again, and isn't filled by a gateway that comes and goes."""

from __future__ import annotations

import logging

from shippers.clock import FakeClock
from shippers.trouble import Trouble


def test_trouble_is_said_once_and_its_end_too(caplog):
    clock = FakeClock()
    trouble = Trouble("events", logging.getLogger("lastbeat.test"), clock)
    trouble.begins("refused")
    trouble.begins("timed out")
    assert trouble.text == "timed out"
    trouble.ends()
    assert trouble.text == ""
    assert [record.getMessage() for record in caplog.records] == [
        "lastbeat: events can't be sent: refused",
        "lastbeat: events are sent again",
    ]


def test_trouble_that_comes_and_goes_is_said_once_a_minute(caplog):
    clock = FakeClock()
    trouble = Trouble("events", logging.getLogger("lastbeat.test"), clock)
    for _ in range(600):
        trouble.begins("refused")
        clock.advance(0.5)
        trouble.ends()
        clock.advance(0.5)
    assert len(caplog.records) == 20
