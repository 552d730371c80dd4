"""What `demo --once` holds to be true, and that each of it can fail."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from compose.demo.figures import Figures
from tests.unit.demo.samples import GOOD, incident


def failed(figures: Figures) -> list[str]:
    return [check.name for check in figures.checks() if not check.good]


def test_everything_holds_and_the_tail_of_the_killed_is_stated() -> None:
    assert failed(GOOD) == []
    assert GOOD.tail == 3
    assert GOOD.seconds_to_alert == pytest.approx(4.4)


@pytest.mark.parametrize(
    ("change", "names"),
    [
        ({"stored": {"a": 99, "b": 48, "w": 27}}, "difference|emitted"),
        ({"stored": {"a": 101, "b": 48, "w": 27}}, "emitted"),
        ({"stored": {"a": 100, "b": 48, "w": 27, "stranger": 1}}, "emitted"),
        ({"dropped": {}}, "emitted"),
        ({"stored": {"a": 100, "b": 48, "w": 31}}, "killed process"),
        ({"beats": {"x.heartbeat": (8, 9)}}, "gap"),
        ({"beats": {}}, "gap"),
        ({"behind": {"the lake": 1}}, "journal"),
        ({"behind": {"the lake": 0, "Elasticsearch": 1}}, "journal"),
        ({"archived": {"a": 100, "b": 48, "w": 26}}, "archive"),
        ({"archived": {"a": 101, "b": 48, "w": 27}}, "archive"),
        ({"archived": {"a": 100, "b": 48, "w": 27, "stranger": 1}}, "archive"),
        ({"dead": ()}, "dead"),
        ({"dead": (incident(), incident())}, "dead"),
        ({"living": (incident("order"),)}, "living"),
        ({"alert_at": 106.6}, "alert within"),
        ({"alert_at": 103.9}, "alert within"),
    ],
)
def test_whatever_is_wrong_fails_just_the_check_that_is_about_it(change: dict[str, Any], names: str) -> None:
    found = failed(replace(GOOD, **change))
    assert len(found) == 1
    assert any(name in found[0] for name in names.split("|"))


def test_what_is_missing_is_named_with_its_size() -> None:
    wrong = replace(GOOD, stored={"a": 90, "b": 48, "w": 27})
    assert "a +10" in next(check.found for check in wrong.checks() if not check.good)
