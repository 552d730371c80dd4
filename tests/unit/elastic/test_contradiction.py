"""What was refused as a duplicate is held against what is there: another event under used numbers is no duplicate."""

from __future__ import annotations

import dataclasses
import json
from itertools import pairwise

import pytest

from alerts.state.memory import MemoryState
from collector.dead_letters import OTHER_CONTENT, WHOLE_BATCH
from collector.elastic.client import Answer, ElasticClient
from collector.elastic.contradiction import MOST, contradicts, spread
from collector.elastic.job import Job
from collector.elastic.sink import ElasticSink
from collector.ledger.keeper import LedgerKeeper
from collector.ports import Outcome, TopicPartition
from collector.settings import ElasticSettings
from shippers.batch import Batch
from shippers.clock import FakeClock
from shippers.errors import Unavailable
from tests.stack.elastic_events import NOON, PAY, batch, line, record

TP = TopicPartition("lastbeat.cn-east.business", 0)
BUSY = Answer(429, b'{"error":{"type":"es_rejected_execution_exception","reason":"busy"}}')


class StoringClient(ElasticClient):
    """Keeps what it is given as Elasticsearch does. `looks` are the answers, one a question, that are given instead of
    documents; `turned_away` are ids that it has no room for, once."""

    def __init__(self) -> None:
        super().__init__(ElasticSettings())
        self.events: dict[str, bytes] = {}
        self.letters: dict[str, dict[str, object]] = {}
        self.asked: list[list[str]] = []
        self.looks: list[Answer | Exception] = []
        self.turned_away: set[str] = set()

    def send(
        self, method: str, path: str, body: bytes | None = None, media: str = "", *, timeout_s: float | None = None
    ) -> Answer:
        if path.startswith("/_mget"):
            assert body is not None
            assert timeout_s is not None, "a look has less patience than a write"
            return self._look([one["_id"] for one in json.loads(body)["docs"]])
        if "_bulk" not in path:
            return Answer(404 if "skewed" in path else 200, b"{}")
        assert body is not None
        lines = body.split(b"\n")[:-1]
        statuses = [self._take(path, action, said) for action, said in zip(lines[::2], lines[1::2], strict=True)]
        items = [{"create": {"status": status} | ({} if status == 201 else {"error": {}})} for status in statuses]
        whole = {"errors": any(status != 201 for status in statuses), "items": items}
        return Answer(200, json.dumps(whole, separators=(",", ":")).encode())

    def _take(self, path: str, action: bytes, said: bytes) -> int:
        id_ = json.loads(action)["create"]["_id"]
        if id_ in self.turned_away:
            self.turned_away.discard(id_)
            return 429
        there: dict[str, object] = self.letters if path.startswith("/_bulk") else self.events  # type: ignore[assignment]
        if id_ in there:
            return 409
        there[id_] = json.loads(said) if path.startswith("/_bulk") else said
        return 201

    def _look(self, wanted: list[str]) -> Answer:
        self.asked.append(wanted)
        if self.looks:
            answer = self.looks.pop(0)
            if isinstance(answer, Exception):
                raise answer
            return answer
        docs = [
            {"_id": id_, "found": id_ in self.events}
            | ({"_source": json.loads(self.events[id_])} if id_ in self.events else {})
            for id_ in wanted
        ]
        return Answer(200, json.dumps({"docs": docs}).encode())


@pytest.fixture
def client() -> StoringClient:
    return StoringClient()


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(NOON)


@pytest.fixture
def sink(client: StoringClient, clock: FakeClock) -> ElasticSink:
    return ElasticSink(ElasticSettings(in_flight=1, patience_s=1), clock, client=client)


def refunded(number: int) -> bytes:
    return line(number).replace(b"paid", b"refunded")


def of_another(first: int, count: int, **header: object) -> Batch:
    return batch(first, count, bad={number: refunded(number) for number in range(first, first + count)}, **header)


def counts(outcomes: list[Outcome]) -> list[tuple[int, int, int, bool]]:
    return [(one.stored, one.duplicate, one.dead, one.at_odds is not None) for one in outcomes]


def test_where_nothing_was_there_already_nothing_is_asked(client: StoringClient, sink: ElasticSink) -> None:
    assert counts(sink.write([record(0, batch(1, 5)), record(1, batch(6, 5))])) == [(5, 0, 0, False)] * 2
    assert client.asked == []


def test_what_honestly_came_twice_is_a_duplicate(client: StoringClient, sink: ElasticSink) -> None:
    for again in range(3):
        outcomes = sink.write([record(2 * again, batch(1, 5)), record(2 * again + 1, batch(6, 5))])
    assert counts(outcomes) == [(0, 5, 0, False)] * 2
    assert all(one.header is not None for one in outcomes)
    assert len(client.asked) == 2, "it was looked at"
    assert client.letters == {}


def test_what_another_process_sends_under_used_numbers_is_a_dead_letter_and_a_lie(
    client: StoringClient, sink: ElasticSink
) -> None:
    state = MemoryState()
    keeper = LedgerKeeper(state, "elastic", FakeClock(NOON))
    keeper.load([TP], {})
    for offset in range(100):  # more batches than the ledger remembers
        keeper.settle(sink.write([record(offset, batch(1 + 2 * offset, 2))]))
    outcomes = sink.write([record(200, of_another(21, 2)), record(201, batch(23, 2))])
    keeper.settle(outcomes)
    assert counts(outcomes) == [(0, 0, 2, True), (0, 2, 0, False)]
    lying = outcomes[0]
    assert lying.header is None
    assert lying.at_odds is not None
    assert (lying.at_odds.first, lying.at_odds.last) == (21, 22)
    account = keeper.account(TP, PAY)
    assert account is not None
    assert [(lie.kind, lie.where, lie.ranges[0]) for lie in account.lies] == [
        ("other content", f"{TP.topic}/0/200", (21, 22))
    ]
    [(source, letter)] = client.letters.items()
    assert (source, letter["reason"]) == (f"{TP.topic}/0/200", WHOLE_BATCH + OTHER_CONTENT)
    assert client.events[f"{PAY}:21"] == line(21), "what was there first stays"


def test_such_a_record_read_again_is_there_once_and_still_a_lie(client: StoringClient, sink: ElasticSink) -> None:
    sink.write([record(0, batch(1, 3))])
    lying = record(1, of_another(1, 3))
    assert counts(sink.write([lying])) == [(0, 0, 3, True)]
    assert counts(sink.write([lying])) == [(0, 3, 0, True)]
    assert len(client.letters) == 1


@pytest.mark.parametrize("number", [1, 4, 7])
def test_one_line_that_differs_is_enough(client: StoringClient, sink: ElasticSink, number: int) -> None:
    sink.write([record(0, batch(1, 7))])
    outcomes = sink.write([record(1, batch(1, 7, bad={number: refunded(number)}))])
    assert counts(outcomes) == [(0, 0, 7, True)]


def test_of_a_batch_that_is_new_in_part_only_what_was_there_is_a_dead_letter(
    client: StoringClient, sink: ElasticSink
) -> None:
    sink.write([record(0, batch(1, 5))])
    [honest] = sink.write([record(1, batch(4, 4))])
    assert counts([honest]) == [(2, 2, 0, False)]
    [lying] = sink.write([record(2, of_another(6, 6))])
    assert counts([lying]) == [(4, 0, 2, True)]
    assert lying.header is not None, "its other numbers are stored"
    assert lying.dead_numbers == (), "each of its numbers is in the store"
    [letter] = client.letters.values()
    assert (letter["first"], letter["count"]) == (6, 2)
    assert client.events[f"{PAY}:8"] == refunded(8)


def test_it_is_looked_at_once_nothing_of_it_is_pending_and_by_then_at_all_of_it(
    client: StoringClient, sink: ElasticSink
) -> None:
    sink.write([record(0, batch(1, 3))])
    client.turned_away = {f"{PAY}:2"}
    assert counts(sink.write([record(1, of_another(1, 3))])) == [(0, 0, 3, True)]
    assert client.asked == [[f"{PAY}:1", f"{PAY}:3", f"{PAY}:2"]]
    [letter] = client.letters.values()
    assert (letter["first"], letter["count"]) == (1, 3)


@pytest.mark.parametrize(
    "look",
    [
        Unavailable("gone"),
        BUSY,
        Answer(403, b'{"error":{"type":"security_exception","reason":"write only"}}'),
        Answer(200, b'{"docs":[{"_id":"pay'),
        Answer(200, b'{"docs":[]}'),
        Answer(200, b"[" * 100_000),
    ],
)
def test_without_an_answer_nothing_is_called_a_lie_and_nothing_waits(
    client: StoringClient, sink: ElasticSink, clock: FakeClock, look: Answer | Exception
) -> None:
    sink.write([record(0, batch(1, 3))])
    client.looks, began = [look], clock.monotonic()
    outcomes = sink.write([record(1, of_another(1, 3)), record(2, batch(4, 2, bad={5: b'{"message":"no time"}'}))])
    assert counts(outcomes) == [(0, 3, 0, False), (1, 0, 1, False)]
    assert clock.monotonic() == began, "its neighbours' dead letters don't wait for another round"
    assert len(client.asked) == 1, "it does not insist"
    assert list(client.letters) == [f"{PAY}:5"]
    assert sink.stats()["duplicates_not_compared"] == 3


def test_what_is_not_there_any_more_is_no_lie(client: StoringClient, sink: ElasticSink) -> None:
    sink.write([record(0, batch(1, 2))])
    docs = [{"_id": f"{PAY}:1", "found": False}, {"_id": f"{PAY}:2", "error": {"type": "index_not_found_exception"}}]
    client.looks = [Answer(200, json.dumps({"docs": docs}).encode())]
    assert counts(sink.write([record(1, of_another(1, 2))])) == [(0, 2, 0, False)]


def test_replays_and_foreign_records_claim_nothing(client: StoringClient, sink: ElasticSink) -> None:
    sink.write([record(0, batch(1, 2))])
    foreign = dataclasses.replace(record(2, of_another(1, 2)), foreign=True)
    outcomes = sink.write([record(1, of_another(1, 2, replay=True)), foreign])
    assert counts(outcomes) == [(0, 2, 0, False)] * 2
    assert client.asked == []


def test_a_dead_letter_that_can_not_be_kept_now_is_kept_when_its_record_comes_again(
    client: StoringClient, sink: ElasticSink
) -> None:
    sink.write([record(0, batch(1, 2))])
    lying, source = record(1, of_another(1, 2)), f"{TP.topic}/0/1"
    taken = client._take
    client._take = lambda path, action, said: 429 if path.startswith("/_bulk") else taken(path, action, said)  # type: ignore[method-assign]
    with pytest.raises(Unavailable, match="dead letter"):
        sink.write([lying])
    client._take = taken  # type: ignore[method-assign]
    assert counts(sink.write([lying])) == [(0, 0, 2, True)]
    assert list(client.letters) == [source]


def test_however_much_comes_again_a_few_hundred_documents_are_looked_at(
    client: StoringClient, sink: ElasticSink
) -> None:
    records = [record(n, batch(1 + 1_000 * n, 1_000)) for n in range(20)]
    sink.write(records)
    assert sum(one.duplicate for one in sink.write(records)) == 20_000
    asked = [int(id_.rpartition(":")[2]) for ids in client.asked for id_ in ids]
    assert len(asked) == len(set(asked)) == MOST
    for n in range(20):
        its = sorted(number - 1_000 * n for number in asked if 1_000 * n < number <= 1_000 * (n + 1))
        assert (its[0], its[-1], len(its)) == (1, 1_000, 25)
        assert max(b - a for a, b in pairwise(its)) <= 42, "evenly between"


def job(count: int) -> Job:
    made = record(0, batch(1, count))
    return Job(made, batch(1, count).header, again=list(range(count)))


@pytest.mark.parametrize(
    ("counts_", "most", "looked_at"),
    [
        ([3], 10, [3]),
        ([1, 100, 2], 20, [1, 2, 17]),
        ([5] * 4, 8, [2] * 4),
        ([5] * 8, 8, [1] * 8),
        ([5] * 100, 8, [1] * 8),
        ([], 8, []),
    ],
)
def test_the_documents_are_spread_over_the_batches(counts_: list[int], most: int, looked_at: list[int]) -> None:
    jobs = [job(count) for count in counts_]
    found = spread(jobs, most)
    assert [len(positions) for _, positions in found] == looked_at
    if len(jobs) > most:
        assert {id(one) for one, _ in found} >= {id(jobs[0]), id(jobs[-1])}


SENT = b'{"@timestamp":"2026-11-21T12:00:00.123456789Z","message":"paid","service":{"name":"p","version":"1"},"n":[1],'
SENT += b'"labels":{"a":"x","b":5},"measures":{"m":12},"event":{"duration":10,"sequence":1}}'


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"n": None},
        {"@timestamp": "2026-11-21T12:00:00.123457Z"},
        {"@timestamp": "2026-11-21T13:00:00.123456+01:00"},
        {"measures": {"m": 12.0}},
        {"labels": {"a": "x", "b": "5"}},
        {"labels": {}},
        {"service": {"name": "several", "version": "1"}},
        {"event": {"duration": 11, "sequence": 1, "dataset": "business"}},
    ],
)
def test_a_copy_that_was_made_anew_is_the_same_event(change: dict[str, object]) -> None:
    assert not contradicts(SENT, json.loads(SENT) | change)


@pytest.mark.parametrize(
    "change",
    [
        {"message": "refunded"},
        {"message": None},
        {"@timestamp": "2026-11-21T12:00:00.123459Z"},
        {"measures": {"m": 13}},
        {"labels": {"a": "y"}},
        {"service": {"name": "p", "version": "2"}},
    ],
)
def test_another_time_text_or_figure_is_another_event(change: dict[str, object]) -> None:
    assert contradicts(SENT, json.loads(SENT) | change)


@pytest.mark.parametrize("said", [b"no json", b"[1]", b"[" * 100_000, b'{"measures":{"m":1%b}}' % (b"0" * 400)])
def test_what_can_not_be_looked_into_is_not_called_a_lie(said: bytes) -> None:
    assert not contradicts(said, {"measures": {"m": 1}})
