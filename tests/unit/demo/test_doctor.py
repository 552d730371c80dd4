"""Each of the doctor's checks fails when that thing is broken, and says where and what to do."""

from __future__ import annotations

import importlib.util
import shutil
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from alerts.fleet import Fleet, InstanceRow, ServiceRow, Sight
from alerts.settings import NotifierSettings
from alerts.staleness import Verdict
from collector.journal.local import LocalJournal
from collector.ports import TopicPartition
from collector.settings import ElasticSettings
from compose import doctor, machine
from compose.backlog import backlog
from compose.check import Check, Grade
from compose.running import tell
from compose.settings import Settings
from shippers.batch import DATASETS, Header, seal
from shippers.clock import FakeClock, SystemClock

NOW = 1_763_690_400.0


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    plain = Settings(data=tmp_path)
    return plain.model_copy(
        update={
            "gateway": plain.gateway.model_copy(update={"port": port}),
            "boards": plain.boards.model_copy(update={"port": port}),
        }
    )


@contextmanager
def answering(port: int, status: int, date: float | None = None) -> Iterator[None]:
    class Door(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response_only(status)
            self.send_header("Date", formatdate(SystemClock().time() if date is None else date, usegmt=True))
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", port), Door) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield
        server.shutdown()
        thread.join()


def only(found: list[Check]) -> Check:
    assert len(found) == 1
    return found[0]


def test_an_old_python_is_bad(monkeypatch: pytest.MonkeyPatch) -> None:
    assert machine.python().grade is Grade.GOOD
    monkeypatch.setattr(machine, "_OLDEST_PYTHON", (sys.version_info.major, sys.version_info.minor + 1))
    assert machine.python().grade is Grade.BAD


@pytest.mark.parametrize(
    ("library", "form", "extras"),
    [
        ("duckdb", {}, "platform"),
        ("lz4", {"kafka": {}}, "platform,kafka"),
        ("isal", {"kafka": {}, "elastic": {}}, "platform,kafka,elastic"),
    ],
)
def test_a_missing_library_is_named(
    monkeypatch: pytest.MonkeyPatch, library: str, form: dict[str, object], extras: str
) -> None:
    settings = Settings.model_validate(form)
    assert machine.libraries(settings).grade is Grade.GOOD
    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == library else real(name))
    found = machine.libraries(settings)
    assert found.grade is Grade.BAD
    assert library in found.words
    assert f"pip install 'lastbeat[{extras}]'" in found.todo
    if form:
        assert machine.libraries(Settings()).grade is Grade.GOOD


def test_listening_to_the_world_without_tokens_is_bad(settings: Settings) -> None:
    assert machine.binding(settings).grade is Grade.GOOD
    open_gateway = settings.gateway.model_copy(update={"host": "0.0.0.0"})
    found = machine.binding(settings.model_copy(update={"gateway": open_gateway}))
    assert found.grade is Grade.BAD
    assert "tokens" in found.todo
    open_boards = settings.boards.model_copy(update={"host": "10.0.0.7"})
    assert machine.binding(settings.model_copy(update={"boards": open_boards})).grade is Grade.WARN


def test_a_folder_that_cannot_be_written_is_bad(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    assert machine.folder(settings).grade is Grade.GOOD
    assert machine.folder(settings.model_copy(update={"data": settings.data / "new" / "deep"})).grade is Grade.GOOD

    def refuse(**_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(machine.tempfile, "TemporaryFile", refuse)
    found = machine.folder(settings)
    assert found.grade is Grade.BAD
    assert str(settings.data) in found.words


@pytest.mark.parametrize(("free", "grade"), [(50 * 1024**3, "good"), (2 * 1024**3, "warn"), (1024**2, "bad")])
def test_a_full_disk_is_bad_and_a_nearly_full_one_a_warning(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, free: int, grade: str
) -> None:
    usage = shutil.disk_usage(settings.data)
    monkeypatch.setattr(machine.shutil, "disk_usage", lambda _: usage._replace(free=free))
    assert machine.disk(settings).grade == grade


def test_a_gateway_that_takes_batches_is_good_and_its_clock_is_compared(settings: Settings) -> None:
    with answering(settings.gateway.port, 200):
        found = doctor.gateway(settings, SystemClock(), is_up=True)
    assert [check.grade for check in found] == [Grade.GOOD, Grade.GOOD]


def test_a_gateway_whose_journal_refuses_is_bad(settings: Settings) -> None:
    with answering(settings.gateway.port, 503):
        found = only(doctor.gateway(settings, SystemClock(), is_up=True))
    assert found.grade is Grade.BAD
    assert "journal" in found.words


def test_something_else_on_the_port_is_bad(settings: Settings) -> None:
    with answering(settings.gateway.port, 404):
        found = only(doctor.gateway(settings, SystemClock(), is_up=False))
    assert found.grade is Grade.BAD
    assert "[gateway] port" in found.todo


def test_a_port_taken_by_what_does_not_answer_is_bad(settings: Settings) -> None:
    class Mute(ThreadingHTTPServer):
        def finish_request(self, *_: object) -> None:
            pass

    with Mute(("127.0.0.1", settings.gateway.port), BaseHTTPRequestHandler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        found = only(doctor.gateway(settings, SystemClock(), is_up=False))
        server.shutdown()
        thread.join()
    assert found.grade is Grade.BAD
    assert str(settings.gateway.port) in found.words


def test_no_gateway_is_a_warning_unless_it_should_be_running(settings: Settings) -> None:
    found = only(doctor.gateway(settings, SystemClock(), is_up=False))
    assert (found.grade, found.todo) == (Grade.WARN, "start it with `lastbeat up`")
    found = only(doctor.gateway(settings, SystemClock(), is_up=True))
    assert found.grade is Grade.BAD
    assert "log of the gateway" in found.todo


@pytest.mark.parametrize(
    ("skew", "grade"), [(0.0, "good"), (-1.0, "good"), (5.0, "warn"), (-30.0, "warn"), (3_600.0, "bad")]
)
def test_a_clock_that_is_off_is_said_with_its_side(skew: float, grade: str) -> None:
    found = doctor.clocks(formatdate(NOW + skew, usegmt=True), NOW)
    assert found.grade == grade
    if grade != "good":
        assert ("ahead of" if skew > 0 else "behind") in found.words


def test_an_unreadable_date_is_a_warning() -> None:
    assert doctor.clocks("tomorrow", NOW).grade is Grade.WARN
    assert doctor.clocks("", NOW).grade is Grade.WARN


def test_boards_that_do_not_answer_are_a_warning(settings: Settings) -> None:
    assert doctor.boards(settings).grade is Grade.WARN
    with answering(settings.boards.port, 200):
        assert doctor.boards(settings).grade is Grade.GOOD


def batch(number: int, size: int = 100) -> object:
    header = Header("abcdefgh.business", number, 1, "cn-east", "business", "2026-11-21", "s", "i", 0)
    return seal(header, [b'{"message":"' + b"x" * size + b'"}'])


def test_the_lakes_backlog_is_what_the_indexer_has_not_committed(settings: Settings) -> None:
    clock = FakeClock(NOW)
    assert doctor.indexer(settings).grade is Grade.WARN
    assert backlog(settings, "lake") is None
    with closing(LocalJournal(settings.journal_path, settings.journal, clock, writable=True)) as journal:
        journal.append([batch(1)])
        with closing(journal.reader("lake", DATASETS)) as reader:
            (record,) = reader.poll(1_000_000, 1.0)
            assert sum((backlog(settings, "lake") or {}).values()) > 100
            reader.commit({record.tp: record.next_offset})
            assert backlog(settings, "lake") == {TopicPartition("lastbeat.cn-east.business", 0): 0}
            assert doctor.indexer(settings).grade is Grade.GOOD
            for number in range(2, 20):
                journal.append([batch(number, 4_000_000)] if number < 19 else [batch(number)])
            found = doctor.indexer(settings)
    assert found.grade is Grade.WARN
    assert "lastbeat.cn-east.business" in found.words


def test_damaged_offsets_are_bad(settings: Settings) -> None:
    groups = settings.journal_path / "groups"
    groups.mkdir(parents=True)
    (groups / "lake.json").write_text("{")
    found = doctor.indexer(settings)
    assert found.grade is Grade.BAD
    assert "lake.json" in found.words


def sight(*, blind: bool = False, age: float = 0.5) -> Sight:
    return Sight("cn-east", "default", blind, NOW - 100, NOW - age, ("gw-1",))


def test_a_watch_that_sees_nothing_is_bad(settings: Settings) -> None:
    assert doctor.watch(settings, Fleet(sights=(sight(),)), NOW, True).grade is Grade.GOOD
    assert doctor.watch(settings, Fleet(), NOW, True).grade is Grade.WARN
    for ill in (sight(blind=True), sight(age=30.0)):
        found = doctor.watch(settings, Fleet(sights=(sight(), ill)), NOW, True)
        assert found.grade is Grade.BAD
        assert "cn-east" in found.words


def test_a_watch_that_was_stopped_with_all_the_rest_is_a_warning_only(settings: Settings) -> None:
    found = doctor.watch(settings, Fleet(sights=(sight(blind=True, age=3_600.0),)), NOW, False)
    assert found.grade is Grade.WARN
    assert "lastbeat up" in found.todo


def row(verdict: Verdict) -> ServiceRow:
    return ServiceRow("cn-east", "payment", verdict, "", NOW, NOW - 4, 1, 1, 1)


INSTANCE = InstanceRow("cn-east", "payment", "p1", Verdict.UP, "", NOW, NOW - 4, "boot", 1, NOW - 100, 1, 3)


def test_a_service_that_is_down_is_named(settings: Settings) -> None:
    assert doctor.services(Fleet(), NOW).grade is Grade.WARN
    found = doctor.services(Fleet((row(Verdict.UP),), (INSTANCE,)), NOW)
    assert found.grade is Grade.GOOD
    assert "4 s ago" in found.words
    found = doctor.services(Fleet((row(Verdict.DOWN),), (INSTANCE,)), NOW)
    assert found.grade is Grade.WARN
    assert "DOWN payment in cn-east" in found.words


def test_a_notice_that_does_not_go_out_is_bad() -> None:
    assert doctor.notices([]).grade is Grade.GOOD
    found = doctor.notices(["chat: 404 from https://hooks.example"])
    assert found.grade is Grade.BAD
    assert "hooks.example" in found.words


def test_alerts_that_reach_nobody_are_a_warning(settings: Settings) -> None:
    assert doctor.notifiers(settings).grade is Grade.WARN
    told = NotifierSettings(name="chat", kind="webhook", url="https://hooks.example/x")
    alerts = settings.alerts.model_copy(update={"notifiers": (told,)})
    assert "dead_mans_switch" in doctor.notifiers(settings.model_copy(update={"alerts": alerts})).todo
    alerts = alerts.model_copy(update={"dead_mans_switch_url": "https://ping.example"})
    assert doctor.notifiers(settings.model_copy(update={"alerts": alerts})).grade is Grade.GOOD


def test_a_state_that_is_damaged_is_bad(settings: Settings) -> None:
    assert only(doctor.state(settings, FakeClock(NOW), True)).grade is Grade.WARN
    settings.state_path.write_bytes(b"this is no database" * 100)
    found = only(doctor.state(settings, FakeClock(NOW), True))
    assert found.grade is Grade.BAD
    assert str(settings.state_path) in found.words + found.todo


def test_elasticsearch_that_is_away_is_said_of_all_that_it_keeps(settings: Settings) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{nobody.getsockname()[1]}"
        full = settings.model_copy(update={"elastic": ElasticSettings(urls=(url,))})
        found = [doctor.store(full, FakeClock(NOW)), *doctor.state(full, FakeClock(NOW), True)]
    assert [(check.name, check.grade) for check in found] == [("Store", Grade.BAD), ("Watch", Grade.BAD)]
    assert all(check.todo == f"check Elasticsearch at {url}" for check in found)
    assert not settings.state_path.exists()


def test_a_log_is_named_by_its_file_only_where_there_is_one(settings: Settings) -> None:
    assert "see the log of the boards" in doctor.boards(settings).todo
    settings.run_path.mkdir()
    with closing(tell(settings)):
        assert str(settings.run_path / "boards.log") in doctor.boards(settings).todo


def test_every_check_says_what_to_do_unless_all_is_well(settings: Settings) -> None:
    found = doctor.checks(settings, SystemClock())
    assert len(found) >= 9
    assert all(check.todo for check in found if check.grade is not Grade.GOOD)


def test_the_exit_code_is_one_only_if_something_is_bad(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for grade, code in ((Grade.GOOD, 0), (Grade.WARN, 0), (Grade.BAD, 1)):
        monkeypatch.setattr(doctor, "checks", lambda *_, grade=grade: [Check("Disk", grade, "found", "do this")])
        assert doctor.run(settings) == code
    assert "do this" in capsys.readouterr().out
