"""A day of millions of events in Elasticsearch, as the sink would store them: for questions, not for its speed."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

from collector.elastic import template
from collector.elastic.client import NDJSON, ElasticClient
from collector.ledger.keeper import LedgerKeeper
from collector.ports import Outcome, Record, State, TopicPartition
from collector.settings import ElasticSettings
from shippers.batch import Header
from shippers.clock import Clock

_A_REQUEST = 10_000
_STREAM = "fullday0.business"
_SERVICES = ("shop", "order", "payment", "risk", "ledger")
_LINE = (
    b'{"create":{"_id":"fullday0.business:%d"}}\n'
    b'{"@timestamp":"%bT%02d:%02d:%02d.%06dZ","message":"paid order A%d","log":{"level":"%b","logger":"pay"},'
    b'"service":{"name":"%b","version":"1.4.2","environment":"prod","node":{"name":"%b-01"}},'
    b'"cloud":{"region":"cn-east","availability_zone":"cn-east-a"},"host":{"name":"h1"},"process":{"pid":4711},'
    b'"trace":{"id":"%016x"},"labels":{"order_id":"A%d","channel":"wechat"},"measures":{"amount":%d.5},'
    b'"event":{"dataset":"business","action":"pay","outcome":"%b","duration":%d,"stream":"fullday0.business",'
    b'"sequence":%d}}\n'
)


def load(settings: ElasticSettings, day: str, events: int) -> float:
    """Store the events of one day in one index, merged as the ageing job leaves it. Seconds that it took."""
    client = ElasticClient(settings)
    began = time.perf_counter()
    for name, wanted in template.templates(settings).items():
        client.ask("PUT", f"/_index_template/{name}", wanted)
    index = f"{settings.prefix}-business-cn-east-{day.replace('-', '.')}"
    built = template.index_settings(settings, "business", "cn-east")
    client.create_index(index, {"settings": built})
    client.ask("PUT", f"/{index}/_settings", {"index": {"refresh_interval": "60s"}})

    def send(body: bytes) -> bool:
        answer = client.send("POST", f"/{index}/_bulk?filter_path=errors", body, NDJSON)
        return answer.status == 200 and answer.body == b'{"errors":false}'

    with ThreadPoolExecutor(3) as pool:
        under_way = []
        for body in _bodies(day.encode(), events):
            under_way.append(pool.submit(send, body))
            if len(under_way) > 4:
                assert under_way.pop(0).result()
        assert all(future.result() for future in under_way)
    client.ask("POST", f"/{index}/_refresh")
    client.send("POST", f"/{index}/_forcemerge?max_num_segments=1&wait_for_completion=false")
    while client.ask("GET", "/_tasks?actions=*forcemerge*").get("nodes"):
        time.sleep(1.0)
    client.ask("POST", f"/{index}/_refresh")
    client.close()
    return time.perf_counter() - began


def book(state: State, sink: str, day: str, events: int, clock: Clock) -> None:
    """Keep in a ledger that all of them are stored, as the sink's indexer would have."""
    keeper, tp = LedgerKeeper(state, sink, clock), TopicPartition("lastbeat.cn-east.business", 0)
    keeper.load([tp], {tp: 0})
    for offset, first in enumerate(range(1, events + 1, _A_REQUEST)):
        count = min(_A_REQUEST, events + 1 - first)
        header = Header(_STREAM, first, count, "cn-east", "business", day, "shop", "shop-01", 0)
        keeper.settle([Outcome(Record(tp, offset, offset + 1, clock.time(), b"", b""), stored=count, header=header)])
    keeper.flush({tp: 1})


def _bodies(day: bytes, events: int) -> Iterator[bytes]:
    chance = random.Random(20)
    durations = [int(chance.lognormvariate(17, 0.8)) for _ in range(9_973)]
    for first in range(1, events + 1, _A_REQUEST):
        lines = []
        for number in range(first, min(first + _A_REQUEST, events + 1)):
            second = (number - 1) * 86_400 // events
            service = chance.choice(_SERVICES).encode()
            bad = number % 50 == 0
            lines.append(
                _LINE
                % (
                    number, day, second // 3600, second // 60 % 60, second % 60, number % 1_000_000, number // 6,
                    b"ERROR" if bad else b"INFO", service, service, chance.getrandbits(64), number // 6, number % 900,
                    b"failure" if bad else b"success", durations[number % 9_973], number,
                )
            )  # fmt: skip
        yield b"".join(lines)
