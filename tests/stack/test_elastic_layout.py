"""The index layout on the real Elasticsearch: what plan shows and apply does, and how a day grows old."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import pytest

from alerts.state.memory import MemoryState
from collector.dead_letters import Among
from collector.elastic import template
from collector.elastic.ageing import Ageing
from collector.elastic.client import ElasticClient, ElasticError
from collector.elastic.days import DeletedDays
from collector.elastic.dead import ElasticDeadLetters
from collector.elastic.names import event_patterns
from collector.elastic.plan import apply, plan
from collector.elastic.sink import ElasticSink
from collector.settings import ElasticSettings, IndexSettings
from shippers.clock import FakeClock
from tests.servers import elastic_settings, remove
from tests.stack.elastic_events import DAY, NOON, DatedClient, batch, record

HOT_DAYS = 3
DAY_S = 86_400


@pytest.fixture(scope="module")
def cluster() -> Iterator[ElasticSettings]:
    settings = elastic_settings(hot_days=HOT_DAYS)
    yield settings
    remove(settings)


@pytest.fixture
def settings(cluster: ElasticSettings) -> Iterator[ElasticSettings]:
    yield cluster
    remove(cluster)


@pytest.fixture
def client(settings: ElasticSettings) -> Iterator[ElasticClient]:
    client = ElasticClient(settings)
    yield client
    client.close()


def indices(client: ElasticClient, settings: ElasticSettings) -> list[str]:
    return sorted(
        client.ask("GET", f"/{','.join(event_patterns(settings.prefix))}/_settings?filter_path=*.settings.index.uuid")
    )


def test_apply_does_what_plan_shows_and_then_there_is_nothing_left(
    settings: ElasticSettings, client: ElasticClient
) -> None:
    assert [change.what for change in plan(client, settings)] == ["is missing"] * 3
    apply(client, settings)
    assert plan(client, settings) == []
    index = f"{settings.prefix}-business-cn-east-2026.11.21"
    client.create_index(index, {})
    assert plan(client, settings) == []
    narrower = {"business/cn-east": IndexSettings(refresh_s=30.0, shards=2, replicas=None)}
    other = settings.model_copy(update={"indices": narrower, "replicas": 1})
    shown = {(change.where, change.what): change for change in plan(client, other)}
    assert shown[index, "index.refresh_interval"].then == "30000ms"
    assert not shown[index, "index.number_of_shards"].in_place
    assert shown[f"template {settings.prefix}-events", "template.settings.number_of_replicas"].then == "1"
    apply(client, other)
    assert [(change.what, change.in_place) for change in plan(client, other)] == [("index.number_of_shards", False)]


def test_a_field_that_an_index_lacks_is_shown_and_added(settings: ElasticSettings, client: ElasticClient) -> None:
    apply(client, settings)
    mappings = template.mappings()
    del mappings["properties"]["trace"]
    client.ask("PUT", f"/_index_template/{settings.prefix}-events", {
        **template.event_template(settings), "template": {"mappings": mappings},
    })  # fmt: skip
    index = f"{settings.prefix}-business-cn-east-2026.11.21"
    client.create_index(index, {"settings": template.index_settings(settings, "business", "cn-east")})
    assert [change.what for change in plan(client, settings) if change.where == index] == ["trace.id"]
    apply(client, settings)
    assert plan(client, settings) == []


def test_elasticsearch_makes_no_index_by_itself(settings: ElasticSettings, client: ElasticClient) -> None:
    apply(client, settings)
    with pytest.raises(ElasticError, match="index_not_found"):
        client.ask("PUT", f"/{settings.prefix}-business-cn-east-2026.11.21/_create/x", {"message": "late"})
    assert indices(client, settings) == []


def test_of_four_hundred_measures_two_hundred_are_indexed_and_all_are_kept(
    settings: ElasticSettings, client: ElasticClient
) -> None:
    sink = ElasticSink(settings, FakeClock(NOON))
    line = (
        b'{"@timestamp":"2026-11-21T12:00:00Z","measures":{'
        + b",".join(b'"m%d":%d' % (n, n) for n in range(400))
        + b"}}"
    )
    [outcome] = sink.write([record(0, batch(1, 1, bad={1: line}))])
    assert outcome.stored == 1
    [index] = indices(client, settings)
    found = client.ask("GET", f"/{index}/_mapping")[index]["mappings"]["properties"]["measures"]["properties"]
    assert len(found) == template.MEASURES
    [outcome] = sink.write([record(1, batch(2, 1))])
    assert outcome.stored == 1
    sink.close()


def test_a_day_is_packed_when_it_is_over_deleted_when_it_is_old_and_stays_deleted(
    settings: ElasticSettings, client: ElasticClient
) -> None:
    clock, state = FakeClock(NOON), MemoryState()
    days = DeletedDays(state)
    dated = DatedClient(settings, clock)
    sink = ElasticSink(settings, clock, state, client=dated)
    for offset, first in enumerate((1, 11, 21)):
        sink.write([record(offset, batch(first, 10))])
        client.ask("POST", f"/{settings.prefix}-business-*/_refresh")
    proven: list[tuple[str, str, str, int]] = []
    answer = False

    def archived(*day: object) -> bool:
        proven.append(day)  # type: ignore[arg-type]
        return answer

    ageing = Ageing(dated, settings, days, clock, archived)
    [index] = indices(client, settings)
    assert ageing.run().packed == ()
    clock.advance(DAY_S)
    assert ageing.run().packed == (index,)
    assert [day.segments for day in ageing.days()] == [1]
    assert ageing.run().packed == ()
    [late] = sink.write([record(3, batch(31, 1))])
    assert late.stored == 1, "no write block: a late event is still stored"
    clock.advance(HOT_DAYS * DAY_S)
    assert ageing.run().kept == (index,)
    assert proven == [("business", "cn-east", DAY, 31)]
    answer = True
    assert ageing.run().kept == (index,), "it isn't asked about each minute"
    clock.advance(600)
    assert ageing.run().deleted == (index,)
    assert days.has("business", "cn-east", DAY)
    outcomes = sink.write(
        [record(4, batch(41, 2), clock.time()), record(0, batch(1, 1, day="2026-11-25"), clock.time())]
    )
    assert [(outcome.stored, outcome.dead) for outcome in outcomes] == [(0, 2), (1, 0)]
    [outcome] = ElasticSink(settings, clock, state).write([record(5, batch(51, 2), clock.time())])
    assert outcome.dead == 2
    assert indices(client, settings) == [f"{settings.prefix}-business-cn-east-2026.11.25"]
    letters = [letter for _, letter in ElasticDeadLetters(client, settings)]
    assert {(letter.first, letter.count, letter.reason) for letter in letters} == {
        (41, 2, "aged: its day is deleted"),
        (51, 2, "aged: its day is deleted"),
    }
    assert letters[0].original == batch(41, 2).body
    sink.close()


def test_wild_clocks_make_one_index_a_region_and_month_and_a_resend_lands_where_its_first_copy_did(
    settings: ElasticSettings, client: ElasticClient
) -> None:
    clock = FakeClock(NOON)
    sink = ElasticSink(settings, clock, MemoryState())
    wild = [batch(n, 1, day=day) for n, day in enumerate(("2026-11-25", "2031-01-01", "1970-01-01"), 1)]
    assert [o.stored for o in sink.write([record(n, each) for n, each in enumerate(wild)])] == [1, 1, 1]
    assert indices(client, settings) == [f"{settings.prefix}-business-cn-east-skewed.2026.11"]
    clock.advance(3 * DAY_S)  # now that day is sound, but its events were stored as skewed
    for again in (sink, ElasticSink(settings, clock, MemoryState())):
        fresh = batch(1, 1, stream="shopbootid01.business", day="2026-11-25")
        outcomes = again.write([record(9, wild[0], clock.time()), record(10, fresh, clock.time())])
        assert outcomes[0].duplicate == 1
        assert outcomes[1].stored + outcomes[1].duplicate == 1
    client.ask("POST", f"/{settings.prefix}-business-*/_refresh")
    assert client.ask("GET", f"/{settings.prefix}-business-*/_count")["count"] == 4


def test_events_of_impossible_days_go_a_month_at_once_when_the_youngest_came_long_ago(
    settings: ElasticSettings, client: ElasticClient
) -> None:
    settings = settings.model_copy(update={"skewed_days": 30})
    clock, state = FakeClock(NOON), MemoryState()
    dated = DatedClient(settings, clock)
    sink = ElasticSink(settings, clock, state, client=dated)
    ageing = Ageing(dated, settings, DeletedDays(state), clock)
    sink.write([record(0, batch(1, 2, day="2031-01-01"))])
    clock.advance(20 * DAY_S)  # the eleventh of December
    late = batch(1, 2, day="2031-01-01"), batch(3, 1, day="2031-01-01")
    outcomes = sink.write([record(n, each, clock.time()) for n, each in enumerate(late, 1)])
    assert [(outcome.stored, outcome.duplicate) for outcome in outcomes] == [(0, 2), (1, 0)]
    november, december = (f"{settings.prefix}-business-cn-east-skewed.2026.{month}" for month in (11, 12))
    assert indices(client, settings) == [november, december]
    clock.advance(19 * DAY_S)
    assert ageing.run().skewed == ()
    clock.advance(DAY_S)
    assert ageing.run().skewed == (november,)
    assert indices(client, settings) == [december]
    [outcome] = sink.write([record(3, batch(4, 1, day="2031-01-01"), clock.time())])
    assert outcome.stored == 1
    clock.advance(400 * DAY_S)
    assert ageing.run().skewed == (december,)
    sink.close()


def test_the_bytes_of_a_late_batch_are_kept_though_its_numbers_were_given_up_before(
    settings: ElasticSettings, client: ElasticClient
) -> None:
    clock, state = FakeClock(NOON), MemoryState()
    days = DeletedDays(state)
    days.add("business", "cn-east", DAY, index="gone", events=1, at=NOON)
    with closing(ElasticSink(settings, clock, state)) as sink:
        late = batch(1, 3)
        sink.write([record(0, late.void("killed"))])
        sink.write([record(1, late)])
    letters = {name: letter.original for name, letter in ElasticDeadLetters(client, settings)}
    assert letters == {f"{late.header.stream}:1+3:void": b"", f"{late.header.stream}:1+3": late.body}
    kept = ElasticDeadLetters(client, settings)
    found = kept.find(Among(), 10)
    old = next(letter for letter in found if letter.reason.startswith("void"))
    sound = kept.get(f"{late.header.stream}:1+3")
    assert sound is not None
    assert sound.original == late.body
    kept.drop([old])
    assert [letter.reason for letter in kept.find(Among(), 10)] == [sound.reason]


def test_dead_letters_go_by_when_they_came_whatever_day_they_claim(
    settings: ElasticSettings, client: ElasticClient, caplog: pytest.LogCaptureFixture
) -> None:
    settings = settings.model_copy(update={"dead_days": 30})
    clock, state = FakeClock(NOON), MemoryState()
    dated = DatedClient(settings, clock)
    sink = ElasticSink(settings, clock, state, client=dated)
    ageing = Ageing(dated, settings, DeletedDays(state), clock)
    sink.write([record(0, batch(1, 3, bad={2: b"no"})), record(1, batch(4, 2, day="1970-01-01").void("spool full"))])
    clock.advance(29 * DAY_S)
    sink.write([record(2, batch(6, 1, bad={6: b"nor this"}), clock.time())])
    assert ageing.run().letters == 0
    clock.advance(2 * DAY_S)
    assert ageing.run().letters == 2
    assert "2 dead letters deleted" in caplog.text
    assert [letter.first for _, letter in ElasticDeadLetters(client, settings)] == [6]
    sink.close()
