"""Whoever rebuilds a ledger is told what the old one had and the store has no more, unless its whole day was let go."""

from __future__ import annotations

import logging

import pytest

from collector.ledger.rebuild import rebuild
from tests.unit.ledger.given import DAY, STREAM, header, outcome
from tests.unit.ledger.test_keeper import World, keep
from tests.unit.ledger.test_rebuild import Store, held


def test_what_the_ledger_had_and_the_store_lacks_is_named(caplog: pytest.LogCaptureFixture) -> None:
    world = World()
    keep(world.owner(), [outcome(0, header(1, 30))])
    with caplog.at_level(logging.ERROR):
        found = rebuild(world.state, "lake", Store(held(1, 10), held(21, 29)), world.clock)
    assert found.lacking == (f"{STREAM} 11–20, 30 (11 events)",)
    assert f"the store of lake lacks what its ledger had: {STREAM} 11–20, 30" in caplog.text
    assert rebuild(world.state, "lake", Store(held(1, 10), held(21, 29)), world.clock).lacking == ()


def test_a_day_that_is_wholly_missing_is_lacking_unless_the_store_let_it_go() -> None:
    others = Store(held(1, 5, "other000000000.business", "2099-01-01"))
    world = World()
    keep(world.owner(), [outcome(0, header(1, 30))])
    assert rebuild(world.state, "lake", others, world.clock).lacking == (f"{STREAM} 1–30 (30 events)",)
    world = World()
    keep(world.owner(), [outcome(0, header(1, 30))])
    let_go = ("business", "cn-east", DAY)
    assert rebuild(world.state, "lake", others, world.clock, lambda *day: day == let_go).lacking == ()
