"""What `lastbeat dead` says, and what its options do."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from collector.dead_letters import Among, DeadLetters
from collector.ports import Record, TopicPartition, topic_of
from collector.scripted import ScriptedSink
from compose import wiring
from compose.cli import app
from compose.dead_commands import print_letter, print_letters
from shippers.batch import Batch, Header, seal
from shippers.clock import FakeClock
from shippers.errors import Misconfigured

NOW = 1_763_733_600.0
PAY = "paybootid001.business"
BAD = b'{"@timestamp":"2025-11-21T12:00:00Z","m\x1b[31m\xff'


def line(number: int) -> bytes:
    return json.dumps({"@timestamp": f"2025-11-21T12:00:{number:02d}Z", "message": f"paid {number}"}).encode()


class Site:
    """Two stores that lack some events, and the way to both."""

    def __init__(self) -> None:
        self.elastic, self.lake = ScriptedSink(keeps_positions=False), ScriptedSink(keeps_positions=False)
        self.offset = 0

    def send(self, batches: Sequence[Batch]) -> None:
        for batch in batches:
            tp = TopicPartition(topic_of(batch.header), 0)
            record = Record(tp, self.offset, self.offset + 1, NOW, batch.header.encode(), batch.body)
            self.offset += 1
            self.elastic.write([record])
            self.lake.write([record])

    @property
    def keepers(self) -> dict[str, DeadLetters]:
        return {"elastic": self.elastic, "lake": self.lake}


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Site:
    site = Site()
    header = Header(PAY, 1, 0, "cn-east", "business", "2025-11-21", "payment", "pay-01", 0)
    site.send([seal(header, [line(1), BAD, line(3), b"[also] bad"])])
    site.send([seal(dataclasses.replace(header, first=5), [line(5), line(6)]).void("spool full")])

    @contextmanager
    def sender(_: Any) -> Any:
        yield site.send

    monkeypatch.setattr(wiring, "open_dead_letters", lambda _: site.keepers)
    monkeypatch.setattr(wiring, "open_sender", sender)
    monkeypatch.setattr(wiring, "CLOCK", FakeClock(NOW + 60))
    monkeypatch.setenv("COLUMNS", "220")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "lastbeat-data").mkdir()
    return site


def dead(*arguments: str, answer: str = "") -> tuple[int, str]:
    result = CliRunner().invoke(app, ["dead", *arguments], input=answer)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.output


def test_the_list_names_each_letter_once_with_its_reason_and_the_stores_that_lack_it(
    site: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    site.lake.drop([letter for letter in site.lake.dead if letter.first == 4])
    assert print_letters(site.keepers, Among(), 50, NOW + 60) == 1
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 4
    first = next(text for text in lines if f"{PAY}:2" in text)
    assert "payment" in first
    assert "elastic, lake" in first
    assert "not UTF-8" in first
    assert "lake" not in next(text for text in lines if f"{PAY}:4" in text)
    assert any(f"{PAY}:5+2:void" in text and "void: spool full" in text for text in lines)


def test_the_list_can_be_narrowed_and_read_by_programs(site: Site) -> None:
    code, out = dead("list", "--reason", "not utf", "--json")
    assert code == 1
    [found] = map(json.loads, out.splitlines())
    assert (found["id"], found["first"], found["playable"], found["not_in"]) == (
        f"{PAY}:2",
        2,
        True,
        ["elastic", "lake"],
    )
    assert dead("list", "--service", "shop") == (0, "● nothing is to be done: no dead letters like that\n")
    with pytest.raises(Misconfigured, match="--since"):
        dead("list", "--since", "soon")


def test_one_letter_is_shown_without_its_bytes_doing_anything_to_the_terminal(
    site: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    assert print_letter(site.keepers, f"{PAY}:2") == 0
    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert r"\x1b[31m\xff" in out
    assert "lastbeat.cn-east.business/0/0" in out
    print_letter(site.keepers, f"{PAY}:5+2")
    assert "no bytes" in capsys.readouterr().out
    with pytest.raises(Misconfigured, match="lastbeat dead list"):
        print_letter(site.keepers, f"{PAY}:99")


def test_raw_gives_exactly_the_bytes(site: Site, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    result = CliRunner().invoke(app, ["dead", "show", f"{PAY}:2", "--raw"])
    assert result.stdout_bytes == BAD


def test_a_mended_letter_is_stored_everywhere_and_leaves_the_list(site: Site, tmp_path: Path) -> None:
    mended = tmp_path / "mended.json"
    mended.write_bytes(line(2))
    code, out = dead("replay", f"{PAY}:2", "--from", str(mended))
    assert (code, out.count("stored")) == (0, 2)
    assert f"{PAY}:2" in site.elastic.events
    assert f"{PAY}:2" in site.lake.events
    assert f"{PAY}:2" not in dead("list")[1]


def test_what_can_not_be_sent_says_why_and_the_exit_code_too(site: Site) -> None:
    code, out = dead("replay", f"{PAY}:2")
    assert code == 1
    assert "--from" in out
    code, out = dead("replay", f"{PAY}:5+2")
    assert code == 1
    assert "no bytes" in out


def test_many_are_sent_only_after_a_yes_and_voids_are_left_out(site: Site) -> None:
    assert "nothing was sent" in dead("replay", "--service", "payment", answer="n\n")[1]
    offset = site.offset
    code, out = dead("replay", "--service", "payment", answer="y\n")
    assert code == 1
    assert "Send 2 dead letters again?" in out
    assert site.offset == offset, "neither of them would have been stored"
    with pytest.raises(Misconfigured, match="--yes"):
        dead("replay")
    assert dead("replay", "--yes")[0] == 1


@pytest.mark.parametrize("arguments", [("--from", "x.json"), (f"{PAY}:2", "--from", "nowhere.json")])
def test_a_file_goes_with_one_letter_and_has_to_be_there(site: Site, arguments: Sequence[str]) -> None:
    with pytest.raises(Misconfigured, match="--from"):
        dead("replay", *arguments)
