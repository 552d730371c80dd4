"""An indexer killed at any point of its work, while another of its group lives on: after each kill every acknowledged
event is in Elasticsearch exactly once, or in the dead letters.

Tried with code broken on purpose, it fails: offsets committed before the bulk request is sent (9 of 2,160 events
missing after the third kill), and bulk answers whose item errors nobody reads (each line that can't be stored missing).
"""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from datetime import UTC, datetime

import pytest

from collector.elastic.client import ElasticClient
from collector.elastic.dead import ElasticDeadLetters
from collector.elastic.names import event_patterns
from collector.journal.kafka import KafkaJournal
from collector.settings import ElasticSettings, KafkaSettings
from shippers.batch import Batch, Header, seal
from shippers.clock import SystemClock
from shippers.errors import Unavailable
from tests.servers import remove
from tests.stack.elastic_indexer import PLACES

CLOCK = SystemClock()
COUNT = 5
MOST_LINES = {"before the bulk": 400, "between bulk and commit": 400, "at the commit": 80, "in a rebalance": 600}
Event = tuple[str, int]


def batch(instance: int, first: int) -> Batch:
    """Five events of now. Of every fourth batch one can't be stored, every ninth is void."""
    at = datetime.fromtimestamp(CLOCK.time(), UTC).isoformat()
    stream, region = f"bootpay{instance:03d}.business", ("cn-east", "cn-north")[instance % 2]
    lines = [
        f'{{"@timestamp":"{at}","message":"paid","event":{{"stream":"{stream}","sequence":{number}}}}}'.encode()
        for number in range(first, first + COUNT)
    ]
    turn = first // COUNT
    if turn % 4 == 3:
        lines[turn % COUNT] = b"paid, but no JSON"
    header = Header(stream, first, 0, region, "business", at[:10], "payment", f"pay-{instance}", 0)
    made = seal(header, lines)
    return made.void("spool full") if turn % 9 == 8 else made


def is_dead(event: Event) -> bool:
    """Whether it can be in the dead letters only."""
    turn, at = divmod(event[1] - 1, COUNT)
    return turn % 9 == 8 or (turn % 4 == 3 and at == turn % COUNT)


class Senders:
    """Four instances that append one batch after the other, some twice; what the journal took is `acknowledged`."""

    def __init__(self, settings: KafkaSettings) -> None:
        self.acknowledged: set[Event] = set()
        self.sent: set[Event] = set()
        self._stop = threading.Event()
        self._journal = KafkaJournal(settings, CLOCK)
        self._threads = [threading.Thread(target=self._send, args=(instance,)) for instance in range(4)]
        for thread in self._threads:
            thread.start()

    def _send(self, instance: int) -> None:
        first = 1
        while not self._stop.wait(0.1):
            one = batch(instance, first)
            numbers = {(one.header.stream, number) for number in range(first, first + COUNT)}
            self.sent |= numbers
            try:
                self._journal.append([one, one] if first % 7 == 0 else [one])
            except Unavailable:
                continue
            self.acknowledged |= numbers
            first += COUNT

    def close(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(30)
        self._journal.close()


class Site:
    """The servers, as a test reads them: past the code that wrote."""

    def __init__(self, kafka: KafkaSettings, elasticsearch: str) -> None:
        self.kafka, self.elastic = kafka, ElasticSettings(urls=(elasticsearch,), prefix=kafka.prefix)
        self._client = ElasticClient(self.elastic)
        self._letters = ElasticDeadLetters(self._client, self.elastic)

    def start(self, *point: str) -> subprocess.Popen[bytes]:
        place = (self.kafka.bootstrap, self.elastic.urls[0], self.elastic.prefix)
        command = [sys.executable, "-m", "tests.stack.elastic_indexer", *place, *point]
        return subprocess.Popen(command, stdout=subprocess.PIPE if point else None, bufsize=0)

    def stored(self) -> Counter[Event]:
        """How often each event is stored, over all indices."""
        indices = ",".join(event_patterns(self.elastic.prefix))
        self._client.ask("POST", f"/{indices}/_refresh")
        body = {"size": 10_000, "_source": False, "sort": ["event.stream", "event.sequence"]}
        found: Counter[Event] = Counter()
        while hits := self._client.ask("POST", f"/{indices}/_search", body)["hits"]["hits"]:
            found.update((hit["_id"].rpartition(":")[0], int(hit["_id"].rpartition(":")[2])) for hit in hits)
            body["search_after"] = hits[-1]["sort"]
        return found

    def dead(self) -> Counter[Event]:
        """How often each number is in the dead letters."""
        return Counter(
            (letter.stream, number)
            for _, letter in self._letters
            for number in range(letter.first, letter.first + letter.count)
        )

    def close(self) -> None:
        self._client.close()
        remove(self.elastic)


@pytest.fixture
def sites(kafka_settings: KafkaSettings, elasticsearch: str) -> Iterator[list[Site]]:
    """Two, each with a prefix of its own: most of a kill's time goes by until the group believes it."""
    wanted = [kafka_settings.model_copy(update={"prefix": kafka_settings.prefix + letter}) for letter in "ab"]
    with ExitStack() as opened:
        yield [opened.enter_context(closing(Site(kafka, elasticsearch))) for kafka in wanted]


def eventually(good: Callable[[], bool], within_s: float, words: Callable[[], object]) -> None:
    deadline = time.monotonic() + within_s
    while not good():
        assert time.monotonic() < deadline, f"not within {within_s} s: {words()}"
        time.sleep(0.3)


def check(site: Site, senders: Senders) -> None:
    """All that was acknowledged by now comes to be stored once, or dead, as it must; nothing else is there."""
    wanted = set(senders.acknowledged)

    def missing() -> list[Event]:
        return sorted(wanted - site.stored().keys() - site.dead().keys())

    eventually(lambda: not missing(), 30, lambda: f"{len(missing())} of {len(wanted)} are missing: {missing()[:5]}")
    stored, dead = site.stored(), site.dead()
    assert [event for event, times in (stored + dead).items() if times > 1] == []
    assert [event for event in stored if is_dead(event)] == []
    assert [event for event in dead if not is_dead(event)] == []
    assert stored.keys() | dead.keys() <= senders.sent


def kill_at(site: Site, points: list[tuple[str, int]]) -> None:
    survivor, running = site.start(), []
    with closing(Senders(site.kafka)) as senders:
        try:
            eventually(lambda: bool(senders.acknowledged and site.stored()), 60, lambda: "nothing is stored at all")
            for place, lines in points:
                victim = site.start(place, str(lines))
                running.append(victim)
                assert victim.stdout
                said = victim.stdout.readline()
                if place == "in a rebalance":
                    assert said == b"writes\n"
                    running.append(site.start())
                said += victim.communicate(timeout=60)[0]
                assert victim.returncode == -signal.SIGKILL, f"{place}, line {lines}: it ended by itself"
                print(place, lines, said.split()[-1].decode())
                check(site, senders)
                assert survivor.poll() is None
                for process in running[-1:]:
                    process.terminate()
        finally:
            for process in (survivor, *running):
                process.terminate()
            assert survivor.wait(20) == 0
            for process in running:
                process.communicate(timeout=20)


def points(seed: int, count: int) -> list[tuple[str, int]]:
    """Places in turn, at lines chosen by the seed: as many in the first ten as in the next hundred."""
    rng = random.Random(seed)
    places = list(PLACES)
    return [(place, round(MOST_LINES[place] ** rng.random())) for place in (places * count)[:count]]


def kill_side_by_side(sites: list[Site], points: list[tuple[str, int]]) -> None:
    """Half of the points at each site."""
    half = len(points) // 2
    with ThreadPoolExecutor(len(sites)) as pool:
        list(pool.map(kill_at, sites, [points[:half], points[half:]]))


@pytest.mark.timeout(150)
def test_four_kills_lose_nothing_and_double_nothing(sites: list[Site]) -> None:
    kill_side_by_side(sites, points(seed=4, count=4))


@pytest.mark.soak
@pytest.mark.timeout(600)
@pytest.mark.parametrize("seed", range(5))
def test_fifty_kills_lose_nothing_and_double_nothing(sites: list[Site], seed: int) -> None:
    kill_side_by_side(sites, points(seed=50 + seed, count=10))
