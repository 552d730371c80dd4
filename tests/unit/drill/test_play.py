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
    scene: Any = SimpleNamespace(
        told=[], starting=threading.Event(), started=threading.Event(), serves=lambda part: True
    )
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


def _wait_well(player: Player) -> None:
    while not all(deed.well_at for deed in player.deeds):
        threading.Event().wait(0.01)


def _played(part: str, kind: str, scene: Any, monkeypatch: pytest.MonkeyPatch) -> Player:
    monkeypatch.setattr(play, "FAULTS", {kind: _Scripted})
    player = Player(
        scene, Schedule(1, "stack", 0.0, 1, (Planned(kind, part, 0.0, 0.0),)), SystemClock(), threading.Event()
    )
    player.play()
    return player


def test_a_role_is_ill_until_it_serves_again(monkeypatch: pytest.MonkeyPatch) -> None:
    serves = threading.Event()
    scene: Any = SimpleNamespace(told=[], serves=lambda part: serves.is_set())
    player = _played("gateway", "freeze", scene, monkeypatch)
    (trouble,) = player.troubles()
    assert trouble.until is None
    assert not player.is_reachable()
    serves.set()
    _wait_well(player)
    (trouble,) = player.troubles()
    assert trouble.healed_at is not None
    assert trouble.until is not None
    assert trouble.until == player.deeds[0].well_at > trouble.healed_at
    assert player.is_reachable()


def test_a_server_is_connected_to_anew_only_later(monkeypatch: pytest.MonkeyPatch) -> None:
    scene: Any = SimpleNamespace(told=[], serves=lambda part: True)
    player = _played("kafka", "freeze", scene, monkeypatch)
    _wait_well(player)
    (trouble,) = player.troubles()
    assert trouble.until == player.deeds[0].well_at + 10.0


@pytest.mark.parametrize(("kind", "part", "told"), [
    ("freeze", "gateway", True), ("cut", "network", True), ("kill", "kafka", True),
    ("stutter", "gateway", False), ("delay", "network", False), ("kill", "watch", False),
])  # fmt: skip
def test_what_lets_nothing_through_must_be_told(
    kind: str, part: str, told: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene: Any = SimpleNamespace(
        told=[], starting=threading.Event(), started=threading.Event(), serves=lambda part: True
    )
    scene.started.set()
    player = _played(part, kind, scene, monkeypatch)
    _wait_well(player)
    (trouble,) = player.troubles()
    assert (trouble.blind_from_s is not None) is told
