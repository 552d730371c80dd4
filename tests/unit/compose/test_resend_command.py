"""`lastbeat resend`: what was found where, what is left and what to do about it, and the exit code."""

from __future__ import annotations

from pathlib import Path

import pytest

from collector.resend.recovery import Recovery
from collector.resend.wanted import Asked, Recovered, Wanted
from compose.resend_command import Kind, print_recovered, search, wanted_of
from compose.settings import Settings
from shippers.clock import FakeClock
from shippers.errors import Misconfigured
from tests.unit.lake.events import PAY, batch
from tests.unit.resend.test_recovery import Copies, Sent

WANTED = Wanted(PAY, ((101, 300),), 0, 1)


@pytest.mark.parametrize(
    ("stream", "numbers", "words"),
    [
        ("pay", "1-2", "is no stream"),
        ("paybootid001.logs", "1-2", "is no stream"),
        (PAY, "x", "are no numbers"),
        (PAY, "5-1", "are no numbers"),
        (PAY, "0", "are no numbers"),
        (PAY, "1-99999999", "more than"),
    ],
)
def test_arguments_that_can_not_be_meant_are_refused_with_words(stream: str, numbers: str, words: str) -> None:
    with pytest.raises(Misconfigured, match=words):
        wanted_of(stream, numbers, 1e6, "1h")


def test_numbers_may_be_several() -> None:
    wanted = wanted_of(PAY, "101-300, 412,299-310", 1e6, "1h")
    assert wanted.numbers == ((101, 310), (412, 412))
    assert (wanted.since, wanted.until) == (1e6 - 3_600, 1e6)


def test_it_waits_for_the_service_and_adds_up_what_comes(capsys: pytest.CaptureFixture[str]) -> None:
    answers = [
        Asked(pending=((111, 300),)),
        Asked(((111, 150),), (), ((151, 300),)),
        Asked(((151, 200),), ((201, 300),), ()),
    ]

    class Slow:
        def ask(self, wanted: Wanted) -> Asked:
            return answers.pop(0)

    recovery = Recovery(Copies("journal", batch(101, 10)), {}, Slow(), Sent())
    found = search(recovery, WANTED, "", FakeClock(), 30)
    assert found.found == {"journal": ((101, 110),), "spool": ((111, 200),)}
    assert (found.left, found.lacking, found.pending) == (((201, 300),), ((201, 300),), ())
    assert print_recovered(found, WANTED, Settings()) == 1
    shown = capsys.readouterr().out
    assert "101–110, sent again" in shown
    assert "201–300: its service has them no more" in shown


def test_it_waits_no_longer_than_it_is_told() -> None:
    class Silent:
        def ask(self, wanted: Wanted) -> Asked:
            return Asked(pending=wanted.numbers)

    clock = FakeClock()
    began = clock.monotonic()
    assert search(Recovery(Copies("journal"), {}, Silent(), Sent()), WANTED, "", clock, 30).pending == ((101, 300),)
    assert 30 <= clock.monotonic() - began <= 33


def test_with_nothing_left_it_ends_well(capsys: pytest.CaptureFixture[str]) -> None:
    assert print_recovered(Recovered({"lake": ((101, 300),)}), WANTED, Settings()) == 0
    assert "all of paybootid001.business 101–300 was sent again" in capsys.readouterr().out.replace("\n", " ")


def test_what_is_left_comes_with_what_to_do(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    settings = Settings.model_validate({"data": tmp_path, "elastic": {}})
    found = Recovered({}, ((101, 300),), trouble={"journal": "no broker"})
    assert print_recovered(found, WANTED, settings, Kind.JOURNAL) == 1
    shown = capsys.readouterr().out.replace("\n", "")
    for words in ("101–300: nowhere", "journal: no broker", "without --from", "ask where the archiver runs"):
        assert words in shown
    print_recovered(Recovered({}, ((101, 300),), pending=((101, 300),)), WANTED, settings)
    assert "stands for an hour" in capsys.readouterr().out
