"""A trouble that lasts is said when it begins, each minute, and when it is over."""

from __future__ import annotations

import logging

import pytest

from collector.complaint import Complaint
from shippers.clock import FakeClock


def test_a_trouble_that_lasts_is_said_at_its_beginning_each_minute_and_at_its_end(
    caplog: pytest.LogCaptureFixture,
) -> None:
    clock = FakeClock()
    complaint = Complaint(logging.getLogger("lastbeat.test"), clock, "it can't be read", "it is read again")
    complaint.note("")
    assert not caplog.messages
    for second in range(130):
        complaint.note(f"no answer, try {second}")
        clock.advance(1)
    assert caplog.messages == [f"it can't be read: no answer, try {second}" for second in (0, 60, 120)]
    assert complaint.text == "no answer, try 129"
    complaint.note("")
    complaint.note("")
    assert caplog.messages[3:] == ["it is read again"]
    complaint.note("gone again")
    assert caplog.messages[4:] == ["it can't be read: gone again"]
