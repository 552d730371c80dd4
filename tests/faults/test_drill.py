"""Drills of the embedded form: a short one here, all of them under `make soak`; one on code broken on purpose.

Seen with a retry dropped (`mutants.py`) in the schedule below: 9,205 of 29,535 events unaccounted.
"""

from __future__ import annotations

import pytest

from compose.drill.schedule import EMBEDDED, Planned, plan
from tests.drills import RATE, SENDERS, held, played, scripted

SPAN_S = 10.0
SOAK_S = 14.0


def test_a_drill_finds_every_event_and_no_false_alarm(tmp_path):
    assert held(played(tmp_path, plan(12, SPAN_S, EMBEDDED, SENDERS), rate=3_000))


@pytest.mark.soak
def test_a_retry_that_is_dropped_is_found(tmp_path):
    full = Planned("full", "indexer", 4.0, 5.0)
    result = played(tmp_path, scripted(EMBEDDED, 9.5, full), mutant="drop_one_retry", rate=3_000)
    assert result.unaccounted > 100
    assert not result.is_good


@pytest.mark.soak
@pytest.mark.timeout(240)
@pytest.mark.parametrize("seed", range(1_000, 1_100))
def test_a_hundred_drills(tmp_path, seed):
    result = played(tmp_path, plan(seed, SOAK_S, EMBEDDED, SENDERS), rate=RATE)
    assert held(result)
    assert result.emitted >= 50_000
