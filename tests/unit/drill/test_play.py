"""Playing a schedule: faults come at their times, and none on a part that isn't whole yet."""

from __future__ import annotations

import threading
from types import SimpleNamespace
from typing import Any

import pytest

from compose.drill import play
from compose.drill.play import Player
from compose.drill.schedule import Planned, Schedule
from shippers.clock import SystemClock


class _Scripted:
    """A fault that writes down what it does; healing of the first one ends when it is let go."""

    def __init__(self, scene: SimpleNamespace, planned: Planned) -> None:
        self._scene, self._planned = scene, planned

    def begin(self) -> None:
        self._scene.told.append(f"{self._planned.part} {self._planned.kind}")

    def end(self) -> None:
        if self._planned.kind == "kill":
            self._scene.told.append("is starting")
            self._scene.starting.set()
            assert self._scene.started.wait(30)
        self._scene.told.append(f"{self._planned.part} whole")


def test_a_part_is_not_broken_anew_before_it_is_whole_and_others_do_not_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    scene: Any = SimpleNamespace(told=[], starting=threading.Event(), started=threading.Event())
    monkeypatch.setattr(play, "FAULTS", {"kill": _Scripted, "full": _Scripted, "freeze": _Scripted})
    faults = (
        Planned("kill", "store", 0.0, 0.0),
        Planned("full", "store", 0.02, 0.01),
        Planned("freeze", "watch", 0.03, 0.0),
    )
    player = Player(scene, Schedule(1, "stack", 0.05, 1, faults), SystemClock(), threading.Event())
    playing = threading.Thread(target=player.play)
    playing.start()
    assert scene.starting.wait(30)
    while "watch whole" not in scene.told:
        playing.join(0.01)
    assert "store full" not in scene.told
    scene.started.set()
    playing.join(30)

    assert [word for word in scene.told if not word.startswith("watch")] == [
        "store kill", "is starting", "store whole", "store full", "store whole",
    ]  # fmt: skip
    killed, full, _ = player.deeds
    assert full.began_at >= killed.ended_at
    assert full.ended_at - full.began_at >= 0.01
