"""A world that has been well for a while."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.alerts.world import SERVICES, World


@pytest.fixture
def world(tmp_path: Path) -> World:
    world = World(tmp_path)
    world.start(*SERVICES)
    world.run(90)
    assert world.told() == []
    return world
