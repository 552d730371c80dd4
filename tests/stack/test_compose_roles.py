"""Each role of docker-compose.yml, by its own command: healthy, sharing the work, ended within ten seconds, no loss."""

from __future__ import annotations

import os
import signal
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from alerts.fleet import read_fleet
from alerts.state.elastic import ElasticState
from collector.elastic.store import ElasticStore
from collector.journal.memory import MemoryJournal
from collector.lake.store import LakeStore
from collector.ports import Page, Store, Where
from collector.settings import ElasticSettings, LakeSettings
from compose.stack import Stack
from shippers.batch import Batch, Header, seal
from shippers.clock import SystemClock
from shippers.errors import LastbeatError
from shippers.transports.http import HttpTransport
from tests.servers import remove
from tests.stack.proxy import CuttingProxy
from tests.stack.roles import ALL, TOKEN, Roles, eventually

CLOCK = SystemClock()
COUNT = 5
_PAUSE_S = 0.02
Numbers = Counter[tuple[str, int]]


@pytest.fixture
def settings(elasticsearch: str, prefix: str) -> Iterator[ElasticSettings]:
    own = ElasticSettings(urls=(elasticsearch,), prefix=prefix)
    yield own
    remove(own)


@pytest.fixture
def roles(bootstrap: str, settings: ElasticSettings, tmp_path: Path) -> Iterator[Roles]:
    with Roles(bootstrap, settings.urls[0], settings.prefix, tmp_path / "data") as found:
        yield found


def batch(instance: str, first: int) -> Batch:
    at = datetime.fromtimestamp(CLOCK.time(), UTC).isoformat()
    region = "cn-east" if instance < "pay-05" else "cn-north"
    stream = f"boot{instance.replace('-', '')}.business"
    header = Header(stream, first, 0, region, "business", at[:10], "payment", instance, 0)
    line = (
        '{{"@timestamp":"{}","message":"paid","service":{{"name":"payment","node":{{"name":"{}"}}}},"cloud":'
        '{{"region":"{}"}},"event":{{"dataset":"business","stream":"{}","sequence":{}}}}}'
    )
    return seal(
        header,
        [line.format(at, instance, region, stream, number).encode() for number in range(first, first + COUNT)],
    )


def numbers_in(store: Store) -> Numbers:
    """How often each event is stored, by stream and number."""
    found: Numbers = Counter()
    now = CLOCK.time()
    where, page = Where(now - 3600, now + 60), Page(5_000)
    while True:
        hits = store.search(where, page)
        found.update((event.stream, event.sequence) for event in hits.events)
        if hits.next is None:
            return found
        page = Page(5_000, hits.next)


class Senders:
    """Ten instances that send one batch after the other until the gateway is gone; what it took is `acknowledged`."""

    def __init__(self, url: str) -> None:
        self.acknowledged: set[tuple[str, int]] = set()
        self.sent: set[tuple[str, int]] = set()
        self._threads = [threading.Thread(target=self._send, args=(url, f"pay-{n:02d}")) for n in range(10)]
        for thread in self._threads:
            thread.start()

    def _send(self, url: str, instance: str) -> None:
        first, pause = 1, threading.Event()
        with closing(HttpTransport(url, TOKEN)) as transport:
            while not pause.wait(_PAUSE_S):
                one = batch(instance, first)
                numbers = {(one.header.stream, number) for number in range(first, first + COUNT)}
                self.sent |= numbers
                try:
                    transport.send([one], 10.0)
                except LastbeatError:
                    return
                self.acknowledged |= numbers
                first += COUNT

    def join(self) -> None:
        for thread in self._threads:
            thread.join(30)


def figures(text: str) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    """Prometheus's own reading of /metrics."""
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


@pytest.mark.timeout(300)
def test_every_role_does_its_part_and_a_stop_under_load_loses_nothing(
    roles: Roles, settings: ElasticSettings, tmp_path: Path
) -> None:
    roles.start(*ALL)
    roles.wait_healthy()
    beat = f"{roles.gateway_url}/beat/settle?region=cn-east&instance=settle-1&interval=5"
    assert httpx.get(beat, trust_env=False).status_code == 401
    assert httpx.get(beat, headers={"Authorization": f"Bearer {TOKEN}"}, trust_env=False).status_code == 200
    assert "streamlit" in httpx.get(roles.boards_url, trust_env=False).text.lower()
    senders = Senders(roles.gateway_url)
    eventually(lambda: len(senders.acknowledged) >= 1_000, 60)
    with closing(ElasticState(settings)) as state:
        eventually(lambda: any(row.service == "settle" for row in read_fleet(state).services), 30)
    eventually(lambda: _shared(roles), 30, lambda: str(roles.logs()))
    _check_figures(roles)
    took = roles.stop()
    senders.join()
    assert max(took.values()) < 10
    for name, said in roles.logs().items():
        assert "ERROR" not in said, f"{name}:\n{said}"
        assert "Traceback" not in said, f"{name}:\n{said}"
        assert "stopped" in said or name == "boards", f"{name}:\n{said}"

    roles.start(*ALL)
    roles.wait_healthy()
    stores = (
        ElasticStore(settings, CLOCK),
        LakeStore(tmp_path / "data" / "lake", MemoryJournal(CLOCK), LakeSettings(), CLOCK),
    )
    for store in stores:
        eventually(lambda store=store: senders.acknowledged <= numbers_in(store).keys(), 60)  # type: ignore[misc]
        found = numbers_in(store)
        assert set(found.values()) == {1}
        assert found.keys() <= senders.sent
    roles.stop()


def _shared(roles: Roles) -> bool:
    """Whether both indexers have begun some partitions, none twice, and the archiver all that they have."""
    first, second, archived = (_read_by(roles, name) for name in ("indexer", "indexer-2", "archiver"))
    everything = first | second
    return bool(first and second) and not first & second and len(everything) >= 8 + 2 and archived == everything


def _read_by(roles: Roles, name: str) -> set[frozenset[tuple[str, str]]]:
    """The partitions that it reads; none while it has yet to begin one that came."""
    role = name.partition("-")[0]
    read = figures(roles.running[name].get("/metrics").text)
    came = {labels for figure, labels in read if figure == f"lastbeat_{role}_lag"}
    return came if read[f"lastbeat_{role}_partitions", frozenset()] == len(came) else set()


def _check_figures(roles: Roles) -> None:
    """Everything that an operator looks for is there."""
    read = {name: figures(role.get("/metrics").text) for name, role in roles.running.items()}
    for role in roles.running.values():
        assert role.get("/health").status_code == 200
        ready = role.get("/ready")
        assert ready.status_code == 200, ready.text
    for name in ("indexer", "archiver"):
        names = {(figure, value) for figure, labels in read[name] for key, value in labels if key == "outcome"}
        assert names == {(f"lastbeat_{name}_events_total", kind) for kind in ("stored", "duplicate", "dead")}
        assert (f"lastbeat_{name}_held_bytes", frozenset()) in read[name]
    sees = {dict(labels)["region"]: value for (figure, labels), value in read["watch"].items() if "sees" in figure}
    assert sees["cn-east"] == 1
    answered = frozenset({("path", "/v1/batches"), ("status", "200")})
    assert read["gateway"]["lastbeat_gateway_requests_total", answered] > 100
    assert all(("process_resident_memory_bytes", frozenset()) in read[name] for name in ALL if name != "gateway")


@pytest.mark.soak
@pytest.mark.timeout(200)
def test_a_store_that_hangs_does_not_keep_a_role_from_ending_and_nothing_is_lost(
    roles: Roles, settings: ElasticSettings, stack: Stack
) -> None:
    roles.start("gateway", "indexer", "watch")
    roles.wait_healthy()
    senders = Senders(roles.gateway_url)
    process = stack.process("elasticsearch")
    assert process
    eventually(lambda: _stored_by(roles) > 0, 60)
    os.kill(process.pid, signal.SIGSTOP)
    try:
        held = len(senders.acknowledged)
        eventually(lambda: len(senders.acknowledged) > held + 500, 60)
        eventually(lambda: figures(roles.running["indexer"].get("/metrics").text)[HELD] > 0, 30)
        roles.stop(codes={0, 1})
    finally:
        os.kill(process.pid, signal.SIGCONT)
    senders.join()
    roles.start("gateway", "indexer", "watch")
    roles.wait_healthy()
    store = ElasticStore(settings, CLOCK)
    eventually(lambda: senders.acknowledged <= numbers_in(store).keys(), 60)
    assert set(numbers_in(store).values()) == {1}
    roles.stop()


HELD = ("lastbeat_indexer_held_bytes", frozenset())


def _stored_by(roles: Roles) -> float:
    stored = ("lastbeat_indexer_events_total", frozenset({("outcome", "stored")}))
    return figures(roles.running["indexer"].get("/metrics").text)[stored]


@pytest.mark.soak
@pytest.mark.timeout(120)
def test_roles_that_find_no_servers_wait_say_so_once_and_go_on_by_themselves(
    stack: Stack, bootstrap: str, settings: ElasticSettings, tmp_path: Path
) -> None:
    from compose.stack.server import free_ports

    kafka, elastic = free_ports([0, 0])
    lost = Roles(f"127.0.0.1:{kafka}", f"http://127.0.0.1:{elastic}", settings.prefix, tmp_path / "data")
    with lost as roles:
        roles.start(*ALL)
        eventually(lambda: all(_answers_health(roles, name) for name in ALL), 40, lambda: str(roles.logs()))
        eventually(lambda: not any(role.is_healthy() for role in roles.running.values()), 40)
        eventually(lambda: all(f"127.0.0.1:{kafka}" in roles.logs()[name] for name in ALL if name != "boards"), 30)
        for name, said in roles.logs().items():
            assert "Traceback" not in said, f"{name}:\n{said}"
            assert len(said.splitlines()) < 15, f"{name}:\n{said}"
        doors = [CuttingProxy(f"http://{bootstrap}", kafka), CuttingProxy(settings.urls[0], elastic)]
        roles.wait_healthy()
        roles.stop()
        for door in doors:
            door.close()


def _answers_health(roles: Roles, name: str) -> bool:
    try:
        return roles.running[name].get("/health").status_code == 200
    except httpx.HTTPError:
        return False
