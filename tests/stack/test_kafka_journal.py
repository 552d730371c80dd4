"""KafkaJournal on a real Kafka: what it keeps, how groups share it, where reading begins, and what is never skipped."""

from __future__ import annotations

import dataclasses
import multiprocessing
import time
import tracemalloc
from contextlib import ExitStack, closing

import pytest
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer
from kafka import TopicPartition as Place
from kafka.admin import ConfigResource, ConfigResourceType

from collector.foreign.stream import foreign_stream
from collector.journal import kafka_reader
from collector.journal.kafka import KafkaJournal
from collector.ports import Gap, Record, TopicPartition
from collector.settings import KafkaSettings
from shippers.batch import MAX_BODY_BYTES, Header, seal
from shippers.clock import SystemClock
from shippers.errors import Misconfigured
from tests.stack.batches import batch, numbers, read_count, read_until


def admin(settings: KafkaSettings) -> KafkaAdminClient:
    return KafkaAdminClient(bootstrap_servers=settings.bootstrap)


def test_the_record_is_the_batch_and_its_time_is_the_brokers(journal: KafkaJournal) -> None:
    before = time.time()
    sent = batch(1, 3)
    journal.append([sent])
    with closing(journal.reader("lake", ["business"])) as reader:
        (record,) = read_count(reader, 1)
    assert (record.header, record.body) == (sent.header.encode(), sent.body)
    assert (record.tp.topic, record.offset, record.next_offset) == ("lastbeat.cn-east.business", 0, 1)
    assert before - 1 <= record.appended_at <= time.time() + 1


def test_topics_are_made_with_partitions_retention_and_append_times(
    journal: KafkaJournal, kafka_settings: KafkaSettings, prefix: str
) -> None:
    journal.append([batch(1), batch(1, dataset="heartbeat")])
    with closing(admin(kafka_settings)) as client:
        topics = {topic["name"]: len(topic["partitions"]) for topic in client.describe_topics()}
        asked = ConfigResource(ConfigResourceType.TOPIC, f"{prefix}.cn-east.business", None)
        found = client.describe_configs([asked], config_filter="all")["topic"][f"{prefix}.cn-east.business"]
    assert topics[f"{prefix}.cn-east.business"] == 3
    assert topics[f"{prefix}.cn-east.heartbeat"] == 1
    assert found["message.timestamp.type"]["value"] == "LogAppendTime"
    assert found["retention.ms"]["value"] == str(2 * 86_400_000)


def test_a_topic_that_somebody_else_made_is_put_right(
    journal: KafkaJournal, kafka_settings: KafkaSettings, prefix: str
) -> None:
    topic = f"{prefix}.cn-east.business"
    with closing(admin(kafka_settings)) as client:
        layout = {"num_partitions": 1, "replication_factor": 1, "configs": {"message.timestamp.type": "CreateTime"}}
        client.create_topics({topic: layout})
        journal.append([batch(1)])
        found = client.describe_configs([ConfigResource(ConfigResourceType.TOPIC, topic, None)], config_filter="all")
    assert found["topic"][topic]["message.timestamp.type"]["value"] == "LogAppendTime"


def test_the_largest_batch_that_is_allowed_goes_through(journal: KafkaJournal) -> None:
    header = Header(stream="k3v9abcd.business", first=1, count=1, region="cn-east", dataset="business",
                    day="2026-11-21", service="payment", instance="pay-01", crc=0)  # fmt: skip
    line = b'{"message":"%s"}' % (b"x" * 900_000)
    sent = seal(header, [line] * (MAX_BODY_BYTES // (len(line) + 1)))
    sent.check()
    journal.append([sent])
    with closing(journal.reader("lake", ["business"])) as reader:
        (record,) = read_count(reader, 1)
    assert record.body == sent.body


def test_an_instances_batches_stay_in_one_partition_and_in_order(journal: KafkaJournal) -> None:
    for first in range(1, 31):
        journal.append([batch(first, instance=f"pay-{n}", boot=f"abcdefg{n}") for n in range(5)])
    with closing(journal.reader("lake", ["business"])) as reader:
        read = read_count(reader, 150)
    by_instance: dict[str, list[tuple[TopicPartition, int]]] = {}
    for record in read:
        header = Header.decode(record.header)
        by_instance.setdefault(header.instance, []).append((record.tp, header.first))
    assert len(by_instance) == 5
    for kept in by_instance.values():
        assert len({tp for tp, _ in kept}) == 1
        assert [number for _, number in kept] == list(range(1, 31))
    assert len({record.tp for record in read}) > 1


def test_a_canary_goes_into_every_partition(journal: KafkaJournal, kafka_settings: KafkaSettings, prefix: str) -> None:
    with closing(admin(kafka_settings)) as client:
        client.create_topics({f"{prefix}.cn-east.heartbeat": {"num_partitions": 3, "replication_factor": 1}})
    journal.append([batch(1, dataset="heartbeat", canary=True)])
    with closing(journal.reader(None, ["heartbeat"])) as reader:
        read = read_count(reader, 3)
    assert {record.tp.partition for record in read} == {0, 1, 2}


def test_a_group_goes_on_where_it_committed(journal: KafkaJournal) -> None:
    journal.append([batch(n) for n in range(1, 6)])
    with closing(journal.reader("lake", ["business"])) as reader:
        read = read_count(reader, 5)
        reader.commit({read[2].tp: read[2].next_offset})
    with closing(journal.reader("lake", ["business"])) as reader:
        assert numbers(read_count(reader, 2)) == [4, 5]
        assert reader.committed()[read[2].tp] == 3
    with closing(journal.reader("archive", ["business"])) as reader:
        assert numbers(read_count(reader, 5)) == [1, 2, 3, 4, 5]


def test_two_groups_and_two_prefixes_know_nothing_of_each_other(
    journal: KafkaJournal, kafka_settings: KafkaSettings
) -> None:
    longer = kafka_settings.model_copy(update={"prefix": f"{kafka_settings.prefix}-b"})
    with closing(KafkaJournal(longer, SystemClock())) as other:
        other.append([batch(7)])
        journal.append([batch(1)])
        with closing(journal.reader(None, ["business"])) as reader:
            assert numbers(read_count(reader, 1)) == [1]
            assert reader.poll(1000, 0.5) == []


def test_topics_that_come_into_being_later_are_read_within_five_seconds(journal: KafkaJournal) -> None:
    journal.append([batch(1)])
    with ExitStack() as stack:
        readers = [stack.enter_context(closing(journal.reader(group, ["business"]))) for group in ("lake", None)]
        for reader in readers:
            read_count(reader, 1)
        journal.append([batch(2, region="eu-west")])
        for reader in readers:
            assert numbers(read_count(reader, 1, within_s=5)) == [2]


def test_poll_stops_adding_when_it_has_enough_bytes(journal: KafkaJournal) -> None:
    journal.append([batch(n, 1000) for n in range(1, 1000)])
    with closing(journal.reader("lake", ["business"])) as reader:
        first = read_count(reader, 1)
        assert sum(len(record.body) for record in first) < 10 * 1024 * 1024
        rest = read_count(reader, 999 - len(first))
    assert numbers(first + rest) == list(range(1, 1000))


def test_a_paused_partition_brings_nothing_and_loses_nothing(journal: KafkaJournal) -> None:
    journal.append([batch(1)])
    with closing(journal.reader("lake", ["business"])) as reader:
        (record,) = read_count(reader, 1)
        reader.pause([record.tp])
        journal.append([batch(2)])
        assert reader.poll(1000, 1.0) == []
        assert reader.lag()[record.tp] == 1
        reader.resume([record.tp])
        assert numbers(read_count(reader, 1)) == [2]
        assert reader.lag()[record.tp] == 0


def test_seek_before_and_after_the_first_poll(journal: KafkaJournal) -> None:
    journal.append([batch(n) for n in range(1, 6)])
    with closing(journal.reader(None, ["business"])) as reader:
        tp = next(tp for tp, lag in reader.lag().items() if lag == 5)
        reader.seek(tp, 3)
        assert numbers(read_count(reader, 2)) == [4, 5]
        reader.seek(tp, 1)
        assert numbers(read_count(reader, 4)) == [2, 3, 4, 5]
    with closing(journal.reader("lake", ["business"])) as reader:
        reader.seek(tp, 4)
        assert numbers(read_count(reader, 1)) == [5]


@pytest.mark.parametrize("group", ["lake", None])
def test_what_retention_took_before_it_was_read_is_a_gap_with_exact_numbers(
    journal: KafkaJournal, kafka_settings: KafkaSettings, prefix: str, group: str | None
) -> None:
    journal.append([batch(n) for n in range(1, 11)])
    with closing(journal.reader(group, ["business"])) as reader:
        read = read_until(reader, lambda read: len(read) >= 10)
        tp = read[0].tp
        if group:
            reader.commit({tp: 2})
    with closing(admin(kafka_settings)) as client:
        client.delete_records({Place(f"{prefix}.cn-east.business", tp.partition): 7})
    with closing(journal.reader(group, ["business"])) as reader:
        if group is None:
            reader.seek(tp, 2)
        with pytest.raises(Gap) as gap:
            read_count(reader, 1)
        assert (gap.value.tp, gap.value.wanted, gap.value.found) == (tp, 2, 7)
        assert numbers(read_count(reader, 3)) == [8, 9, 10]


def test_a_gap_is_told_after_what_was_read_before_it(
    journal: KafkaJournal, kafka_settings: KafkaSettings, prefix: str
) -> None:
    journal.append([batch(n) for n in range(1, 5)])
    with closing(journal.reader("lake", ["business"])) as reader:
        tp = read_count(reader, 4)[0].tp
        reader.seek(tp, 1)
        with closing(admin(kafka_settings)) as client:
            client.delete_records({Place(f"{prefix}.cn-east.business", tp.partition): 4})
        journal.append([batch(5)])
        reader.seek(tp, 2)
        with pytest.raises(Gap, match="from 2 to 4 are gone"):
            read_count(reader, 3)
        assert numbers(read_count(reader, 1)) == [5]


def test_what_was_never_read_and_is_deleted_later_is_a_gap_even_without_a_commit(
    journal: KafkaJournal, kafka_settings: KafkaSettings, prefix: str
) -> None:
    journal.append([batch(n) for n in range(1, 4)])
    with closing(journal.reader("lake", ["business"])) as reader:
        tp = read_count(reader, 3)[0].tp
    with closing(admin(kafka_settings)) as client:
        client.delete_records({Place(f"{prefix}.cn-east.business", tp.partition): 3})
    with closing(journal.reader("lake", ["business"])) as reader, pytest.raises(Gap) as gap:
        read_count(reader, 1)
    assert (gap.value.wanted, gap.value.found) == (0, 3)


def test_foreign_records_and_tombstones_are_handed_on_without_a_header(
    journal: KafkaJournal, kafka_settings: KafkaSettings, prefix: str
) -> None:
    journal.append([batch(1)])
    with closing(KafkaProducer(bootstrap_servers=kafka_settings.bootstrap)) as producer:
        producer.send(f"{prefix}.cn-east.business", b'{"msg":"hi"}', key=b"x", partition=0).get(5)
        producer.send(f"{prefix}.cn-east.business", None, key=b"x", partition=0).get(5)
    with closing(journal.reader("lake", ["business"])) as reader:
        read = [record for record in read_count(reader, 3) if not record.header]
    assert [record.body for record in read] == [b'{"msg":"hi"}', b""]
    assert len({foreign_stream(journal.cluster_id(), record.tp) for record in read}) == 1


def test_a_foreign_stream_is_one_by_cluster_topic_and_partition_and_is_a_valid_stream() -> None:
    places = [
        (c, TopicPartition(t, p)) for c in "ab" for t in ("lastbeat.x.business", "lastbeat.y.business") for p in (0, 1)
    ]
    streams = {foreign_stream(cluster, tp) for cluster, tp in places}
    assert len(streams) == 8
    for stream in streams:
        header = Header(stream=stream, first=1, count=1, region="x", dataset="business", day="2026-11-21",
                        service="s", instance="i", crc=0)  # fmt: skip
        assert Header.decode(header.encode()) == header


def test_our_records_can_be_read_by_any_consumer(journal: KafkaJournal, bootstrap: str, prefix: str) -> None:
    sent = batch(1)
    journal.append([sent])
    places = [Place(f"{prefix}.cn-east.business", partition) for partition in range(3)]
    with closing(KafkaConsumer(bootstrap_servers=bootstrap, auto_offset_reset="earliest", group_id=None)) as consumer:
        consumer.assign(places)
        deadline = time.monotonic() + 10
        found: list[object] = []
        while not found and time.monotonic() < deadline:
            found = [message for messages in consumer.poll(500).values() for message in messages]
    (message,) = found
    assert (message.key, message.value, message.headers) == (
        b"pay-01", sent.body, [("lastbeat", sent.header.encode())],
    )  # fmt: skip


def test_a_forked_child_appends_by_itself_and_the_parent_goes_on(journal: KafkaJournal) -> None:
    journal.append([batch(1)])
    children = [
        multiprocessing.get_context("fork").Process(target=journal.append, args=([batch(n)],), daemon=True)
        for n in (2, 3)
    ]
    for child in children:
        child.start()
    journal.append([batch(4)])
    for child in children:
        child.join(20)
        assert child.exitcode == 0
    journal.append([batch(5)])
    with closing(journal.reader("lake", ["business"])) as reader:
        assert sorted(numbers(read_count(reader, 5))) == [1, 2, 3, 4, 5]


@pytest.mark.parametrize("library", ["crc32c", "lz4"])
def test_it_refuses_to_run_on_the_checksum_in_python_or_unpacked(library: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(Misconfigured, match=rf"{library}\S*: pip install 'lastbeat\[kafka\]'"):
        KafkaJournal(KafkaSettings(), SystemClock())


def test_batches_are_kept_packed_and_a_reader_unpacks_no_more_than_it_needs(
    journal: KafkaJournal, kafka_settings: KafkaSettings, prefix: str
) -> None:
    line = b'{"message":"' + b"the same again and again " * 4_000 + b'"}'
    header = batch(1).header
    sent = [seal(dataclasses.replace(header, first=1 + 40 * n), [line] * 40) for n in range(40)]
    for one in sent:
        journal.append([one])
    with closing(admin(kafka_settings)) as client:
        (found,) = client.describe_log_dirs()[0]["log_dirs"]
    topics = [topic for topic in found["topics"] if topic["name"].startswith(f"{prefix}.")]
    kept = sum(partition["partition_size"] for topic in topics for partition in topic["partitions"])
    assert 0 < kept < sum(len(one.body) for one in sent) / 10
    with closing(journal.reader("lake", ["business"])) as reader:
        reader.assigned()
        tracemalloc.start()
        try:
            assert read_count(reader, 1)[0].body == sent[0].body
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    assert peak < 80 * 1024**2 < sum(len(one.body) for one in sent)


def test_all_partitions_that_were_paused_in_the_middle_are_read_on(
    journal: KafkaJournal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kafka_reader, "_SLICE", 1)  # so that of each some is handed out, and some is held
    journal.append([batch(n, instance=f"pay-{n % 12:02d}", boot=f"boot{n % 12:04d}") for n in range(1, 121)])
    with closing(journal.reader(None, ["business"])) as reader:
        read: list[Record] = []
        while len(paused := {record.tp for record in read}) < 3:
            reader.pause(list(paused))
            read += reader.poll(1, 0.2)
        reader.pause(list(paused))
        assert reader.poll(1, 0.2) == []
        assert len(read) < 120
        reader.resume(list(reader.assigned()))
        read += read_until(reader, lambda some: len(read) + len(some) >= 120, within_s=10)
    assert sorted(numbers(read)) == list(range(1, 121))
