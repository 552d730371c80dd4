"""Drills of the embedded form: a short one here, all of them under `make soak`; one on code broken on purpose.

Seen with a retry dropped (`mutants.py`) in the schedule below: 9,205 of 29,535 events unaccounted, the same by the
statement, and one page for the region.
"""

from __future__ import annotations

import pytest

from compose.drill.schedule import EMBEDDED, Planned, plan
from tests.drills import RATE, SENDERS, held, played, scripted

SPAN_S = 7.0
SOAK_S = 14.0


def test_a_drill_finds_every_event_and_no_false_alarm(tmp_path):
    assert held(played(tmp_path, plan(12, SPAN_S, EMBEDDED, SENDERS), rate=3_000))


FULL = scripted(EMBEDDED, 9.5, Planned("full", "indexer", 4.0, 5.0))


@pytest.mark.soak
def test_a_retry_that_is_dropped_is_found_stated_and_told(tmp_path):
    result = played(tmp_path, FULL, indexer="drop_one_retry", auditor="get_nothing_back", rate=3_000)
    assert result.unaccounted > 100
    assert result.stated.called_lost == result.unaccounted
    assert not result.stated.wrong, "the statement says what is so"
    assert result.alarms.told
    assert not result.alarms.missed
    assert not result.alarms.false
    assert not result.is_good


@pytest.mark.soak
def test_what_was_lost_and_got_back_is_still_found(tmp_path):
    result = played(tmp_path, FULL, indexer="drop_one_retry", rate=3_000)
    assert not result.unaccounted
    assert result.stated.called_lost > 100
    assert not result.is_good


@pytest.mark.soak
def test_an_auditor_that_hides_a_loss_is_found(tmp_path):
    result = played(tmp_path, FULL, indexer="drop_one_retry", auditor="see_no_hole", rate=3_000)
    assert any("lost 0, and it is" in words for words in result.stated.wrong)
    assert any("nobody knows" in words for words in result.alarms.missed)


@pytest.mark.soak
def test_an_auditor_that_sees_a_loss_where_none_is_is_found(tmp_path):
    result = played(tmp_path, FULL, auditor="see_a_hole", rate=3_000)
    assert not result.unaccounted
    assert result.stated.called_lost
    assert any("called 1 lost in lake" in words for words in result.stated.wrong)
    assert any("nothing is lost there" in words for words in result.alarms.false)


@pytest.mark.soak
@pytest.mark.timeout(240)
@pytest.mark.parametrize("seed", range(1_000, 1_100))
def test_a_hundred_drills(tmp_path, seed):
    result = played(tmp_path, plan(seed, SOAK_S, EMBEDDED, SENDERS), rate=RATE)
    assert held(result)
    assert result.emitted >= 50_000
