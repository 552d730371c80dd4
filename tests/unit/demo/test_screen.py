"""What the demo shows, with and without a terminal."""

from __future__ import annotations

import io

from rich.console import Console

from alerts.fleet import ServiceRow
from alerts.staleness import Verdict
from collector.ports import Event
from compose.demo.evidence import Death
from compose.demo.figures import Check
from compose.demo.screen import Screen, View
from tests.unit.demo.samples import GOOD, incident

NOW = 1_763_690_400.0


def service(name: str, verdict: Verdict) -> ServiceRow:
    return ServiceRow("cn-north", name, verdict, "no beat for 5 s, allowed 4 s", NOW, NOW - 5, 0, 1, 1)


def view(now: float = NOW) -> View:
    rows = [service("channel-wechat", Verdict.DOWN)] + [service(f"s{n}", Verdict.UP) for n in range(9)]
    return View(now, "who notices?", "http://127.0.0.1:7412", 12, 1_234, 1_230, 1, rows)


def screen(*, terminal: bool) -> tuple[Screen, io.StringIO]:
    out = io.StringIO()
    return Screen(Console(file=out, force_terminal=terminal, color_system=None, width=110, highlight=False)), out


def test_on_a_terminal_the_worst_rows_the_counts_and_the_address_stand_together() -> None:
    shown, out = screen(terminal=True)
    with shown.live():
        shown.show(view())
    text = out.getvalue()
    for words in ("http://127.0.0.1:7412", "✖ DOWN", "channel-wechat", "1,234 events emitted", "3 under way", "4 more"):
        assert words in text


def test_without_a_terminal_a_plain_line_comes_every_five_seconds() -> None:
    shown, out = screen(terminal=False)
    with shown.live():
        for second in range(11):
            shown.show(view(NOW + second))
    lines = out.getvalue().replace("\n  ", "\n").splitlines()
    assert sum("1,234 events emitted" in line for line in lines) == 3
    assert "\x1b" not in out.getvalue()


def test_the_alert_names_the_seconds_and_the_lines_that_led_up_to_it() -> None:
    shown, out = screen(terminal=False)
    lines = tuple(
        Event(NOW - 3 + n, "s", n, message=words, level="ERROR")
        for n, words in enumerate(("queue full", "out of memory"))
    )
    shown.death(Death(incident(), 100.0, 104.4, lines))
    text = out.getvalue()
    assert "4.4 s" in text
    assert text.index("queue full") < text.index("out of memory")


def test_the_figures_are_all_there_and_a_failed_check_is_signed_without_colour() -> None:
    shown, out = screen(terminal=False)
    shown.figures(GOOD, GOOD.checks())
    text = out.getvalue()
    for words in ("180  events emitted", "175  events stored", "2  events dropped", "4.4  seconds", "✔"):
        assert words in text
    assert "✖" not in text
    shown.figures(GOOD, [Check("x holds", "it doesn't", False)])
    assert "✖ x holds  it doesn't" in out.getvalue()
