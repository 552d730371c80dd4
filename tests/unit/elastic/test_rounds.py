"""What is sent again, how much at once, and what an answer means: the decisions, without a server."""

from __future__ import annotations

import json
import math
from collections.abc import Callable

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from collector.elastic.bulk import prove, splice, splice_some, untimed
from collector.elastic.client import Answer, ElasticClient
from collector.elastic.durations import RANGES, counts_of, edge_ns
from collector.elastic.outcomes import Fate, Garbled, fate_of, read
from collector.elastic.pace import MIN_BYTES, Pace
from collector.elastic.sink import ElasticSink
from collector.latency import bucket_of
from collector.settings import ElasticSettings
from shippers.clock import FakeClock
from shippers.errors import BadBatch, Unavailable
from tests.stack.elastic_events import NOON, PAY, batch, record

Reply = Callable[[list[str]], Answer]


class ScriptedClient(ElasticClient):
    """Answers bulk requests as the script says, then with success; everything else is there and well."""

    def __init__(self, *script: Reply | Exception) -> None:
        super().__init__(ElasticSettings())
        self.script = list(script)
        self.sent: list[list[str]] = []
        self.dead: list[str] = []

    def send(
        self, method: str, path: str, body: bytes | None = None, media: str = "", *, timeout_s: float | None = None
    ) -> Answer:
        del timeout_s
        if "_bulk" not in path:
            return Answer(404 if "skewed" in path else 200, b"{}")
        assert body is not None
        ids = [json.loads(action)["create"]["_id"] for action in body.split(b"\n")[:-1:2]]
        if path.startswith("/_bulk"):
            self.dead += ids
            return answer([201] * len(ids))
        self.sent.append(ids)
        step = self.script.pop(0) if self.script else lambda ids: answer([201] * len(ids))
        if isinstance(step, Exception):
            raise step
        return step(ids)


def answer(statuses: list[int], types: dict[int, str] | None = None) -> Answer:
    named = {429: "es_rejected_execution_exception", 400: "document_parsing_exception"} | (types or {})
    items = [
        {
            "create": {"status": status}
            | ({} if status == 201 else {"error": {"type": named.get(status, ""), "reason": "r"}})
        }
        for status in statuses
    ]
    body = {"errors": any(status != 201 for status in statuses), "items": items}
    return Answer(200, json.dumps(body, separators=(",", ":")).encode())


def sink_of(client: ScriptedClient, **settings: object) -> ElasticSink:
    return ElasticSink(ElasticSettings.model_validate({"in_flight": 1} | settings), FakeClock(NOON), client=client)


def ids(*numbers: int) -> list[str]:
    return [f"{PAY}:{number}" for number in numbers]


def test_what_is_turned_away_is_sent_again_and_only_that() -> None:
    client = ScriptedClient(lambda _: answer([201, 429, 409, 400, 503]), lambda _: answer([429, 201]))
    [outcome] = sink_of(client).write([record(0, batch(1, 5))])
    assert client.sent == [ids(1, 2, 3, 4, 5), ids(2, 5), ids(2)]
    assert (outcome.stored, outcome.duplicate, outcome.dead, outcome.retry) == (3, 1, 1, False)
    assert client.dead == ids(4)


def test_what_patience_does_not_settle_is_given_back_and_counted_once_when_it_comes_again() -> None:
    busy = [lambda ids: answer([429] * len(ids))] * 50
    client = ScriptedClient(lambda _: answer([201, 429, 400]), *busy)
    sink = sink_of(client, patience_s=1)
    first, second = record(0, batch(1, 3)), record(1, batch(4, 1))
    held = sink.write([first])
    assert held[0].retry
    assert held[0].record is first, "the caller must know its own record again, or it would lose it"
    client.script.clear()
    outcomes = sink.write([first, second])
    assert [(o.stored, o.duplicate, o.dead) for o in outcomes] == [(2, 0, 1), (1, 0, 0)]
    assert client.sent[-1] == ids(2, 4)


def test_what_was_settled_in_part_is_counted_once_also_when_others_are_written_before_it_comes_again() -> None:
    busy = [lambda ids: answer([429] * len(ids))] * 50
    client = ScriptedClient(lambda _: answer([201, 429, 400]), *busy)
    sink = sink_of(client, patience_s=1)
    first = record(0, batch(1, 3))
    assert sink.write([first])[0].retry
    client.script.clear()
    assert [outcome.stored for outcome in sink.write([record(1, batch(4, 1))])] == [1]
    [outcome] = sink.write([first])
    assert outcome.record is first
    assert (outcome.stored, outcome.duplicate, outcome.dead) == (2, 0, 1)
    assert client.sent[-1] == ids(2)


def test_what_comes_at_a_remembered_place_but_is_another_batch_is_written_whole() -> None:
    busy = [lambda ids: answer([429] * len(ids))] * 50
    client = ScriptedClient(lambda _: answer([201, 429]), *busy)
    sink = sink_of(client, patience_s=1)
    assert sink.write([record(0, batch(1, 2))])[0].retry
    client.script = [lambda _: answer([409, 201, 201, 201])]
    [outcome] = sink.write([record(0, batch(1, 4))])  # the same place, read in a longer run
    assert (outcome.stored, outcome.duplicate) == (3, 1)


def test_an_index_that_has_had_its_patience_is_not_waited_for_again() -> None:
    busy = [lambda ids: answer([429] * len(ids))] * 100
    client = ScriptedClient(*busy)
    sink = sink_of(client, patience_s=1)
    held = record(0, batch(1, 2))
    assert sink.write([held])[0].retry
    assert len(client.sent) > 2, "the first time it is insisted on"
    before = len(client.sent)
    assert sink.write([held])[0].retry
    assert len(client.sent) == before + 1
    client.script.clear()
    assert sink.write([held])[0].stored == 2
    client.script = busy
    before = len(client.sent)
    assert sink.write([record(1, batch(3, 1))])[0].retry
    assert len(client.sent) > before + 2, "it was well in between, so it has patience anew"


def test_when_nothing_at_all_could_be_settled_that_is_said() -> None:
    client = ScriptedClient(*[Unavailable("gone")] * 50)
    with pytest.raises(Unavailable, match="gone"):
        sink_of(client, patience_s=1).write([record(0, batch(1, 2))])


def test_denied_stops_at_once_whatever_patience_there_is(caplog: pytest.LogCaptureFixture) -> None:
    client = ScriptedClient(*[lambda _: Answer(401, b'{"error":{"type":"security_exception","reason":"no"}}')] * 9)
    with pytest.raises(Unavailable, match="api_key"):
        sink_of(client, patience_s=60).write([record(0, batch(1, 2))])
    assert len(client.sent) == 1
    assert "EVERYTHING WAITS" in caplog.text


def test_a_request_refused_as_a_whole_is_halved_until_the_one_that_spoils_it_stands_alone() -> None:
    def refuse(sent: list[str]) -> Answer:
        spoiled = f"{PAY}:13" in sent
        return Answer(400, b'{"error":{"type":"x","reason":"spoiled"}}') if spoiled else answer([201] * len(sent))

    client = ScriptedClient(*[refuse] * 60)
    outcomes = sink_of(client).write([record(n, batch(1 + n * 10, 10)) for n in range(3)])
    assert [(o.stored, o.dead) for o in outcomes] == [(10, 0), (9, 1), (10, 0)]
    assert client.dead == ids(13)


@pytest.mark.parametrize("cut", [0, 1, 30, -2, -1])
def test_an_answer_that_is_cut_off_or_too_short_is_no_answer(cut: int) -> None:
    whole = answer([201] * 3).body
    with pytest.raises(Garbled):
        read(whole[:cut], 3)
    with pytest.raises(Garbled):
        read(whole, 4)
    assert read(whole, 3) is None


@pytest.mark.parametrize(
    ("status", "type_", "fate"),
    [
        (409, "version_conflict_engine_exception", Fate.DUPLICATE),
        (400, "document_parsing_exception", Fate.DEAD),
        (400, "index_closed_exception", Fate.BLOCKED),
        (403, "cluster_block_exception", Fate.BLOCKED),
        (429, "cluster_block_exception", Fate.BLOCKED),
        (429, "es_rejected_execution_exception", Fate.LATER),
        (404, "index_not_found_exception", Fate.NO_INDEX),
        (403, "security_exception", Fate.DENIED),
        (503, "unavailable_shards_exception", Fate.LATER),
        (418, "never heard of", Fate.LATER),
    ],
)
def test_each_error_has_one_fate(status: int, type_: str, fate: Fate) -> None:
    assert fate_of(status, type_) is fate


def test_the_pace_shrinks_when_turned_away_or_slow_and_grows_back() -> None:
    full = Pace.start(4 * 1024**2, 4)
    assert (full.size_bytes, full.in_flight) == (4 * 1024**2, 4)
    shrunk = full.turned_away().turned_away()
    assert (shrunk.size_bytes, shrunk.in_flight) == (1024**2, 1)
    for _ in range(30):
        shrunk = shrunk.turned_away()
    assert (shrunk.size_bytes, shrunk.in_flight) == (MIN_BYTES, 1)
    grown = shrunk
    for _ in range(40):
        grown = grown.went_well(grown.size_bytes, 0.1 * grown.size_bytes / 1e6)
    assert (grown.size_bytes, grown.in_flight) == (4 * 1024**2, 4)
    slow = grown.went_well(grown.size_bytes, 2.0 * grown.size_bytes / 1e6)
    assert slow.size_bytes < grown.size_bytes
    for _ in range(300):  # slow for good: not held against it for ever
        slow = slow.went_well(slow.size_bytes, 2.0 * slow.size_bytes / 1e6)
    assert slow.size_bytes == 4 * 1024**2


def test_a_spliced_body_is_what_elasticsearch_s_documentation_asks_for() -> None:
    assert b"".join(splice("s.business", 9, 2, b"{a}\n{b}\n")) == (
        b'{"create":{"_id":"s.business:9"}}\n{a}\n{"create":{"_id":"s.business:10"}}\n{b}\n'
    )
    lines = [b"%d %% %%d" % number for number in range(50)]
    whole = splice("s.business", 7, 50, b"\n".join(lines) + b"\n")
    assert b"".join(whole) == splice_some("s.business", 7, lines, range(50))


def test_a_body_that_breaks_the_contract_is_refused_and_any_other_is_taken_as_it_is() -> None:
    good = batch(1, 3)
    assert prove(good.header, good.body)
    odd = batch(1, 3, bad={2: b'{"message":"x"}', 3: b"no json"})
    assert not prove(odd.header, odd.body)
    assert untimed(odd.body.split(b"\n")[:-1]) == [1]
    for body in (good.body[:-1], good.body + b"\n", good.body.replace(b"paid", b"PAID"), b"", good.body[3:]):
        with pytest.raises(BadBatch):
            prove(good.header, body)
    blank = batch(1, 3, bad={2: b" "})
    with pytest.raises(BadBatch, match="blank"):
        prove(blank.header, blank.body)


@given(st.integers(0, 2**63 - 1))
@example(2**63 - 1)
def test_ranges_put_every_duration_into_the_bucket_that_it_has_everywhere(duration: int) -> None:
    keys = [each["key"] for each in RANGES if each.get("from", 0) <= duration < each.get("to", math.inf)]
    assert keys == [str(bucket_of(duration))]


def test_only_buckets_that_have_any_are_counted() -> None:
    buckets = [{"key": each["key"], "doc_count": int(each["key"] in ("3", "700"))} for each in RANGES]
    assert counts_of({"lengths": {"buckets": buckets}}) == {3: 1, 700: 1}
    assert counts_of({}) == {}


def test_each_bucket_begins_at_the_first_nanosecond_that_is_in_it() -> None:
    for bucket in range(1, 600):
        edge = edge_ns(bucket)
        assert bucket_of(edge) >= bucket > bucket_of(edge - 1)
