"""The Journal contract, held against KafkaJournal on a real Kafka."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing

import pytest
from kafka import KafkaAdminClient
from kafka import TopicPartition as Place

from collector.journal.kafka import KafkaJournal
from collector.journal.kafka_reader import KafkaReader
from collector.settings import KafkaSettings
from shippers.clock import SystemClock
from tests.contracts.journals import Bench
from tests.contracts.test_journal import *  # noqa: F403 - every test of the contract, with the bench below


class Joining(KafkaJournal):
    """Its readers join at once, as those of other journals do; a KafkaReader does it when it is first used."""

    def reader(self, group: str | None, datasets: Sequence[str]) -> KafkaReader:
        reader = super().reader(group, datasets)
        reader.assigned()
        return reader


@pytest.fixture
def bench(kafka_settings: KafkaSettings) -> Iterator[Bench]:
    settings = kafka_settings.model_copy(update={"partitions": 1})

    def open_it() -> KafkaJournal:
        return Joining(settings, SystemClock())

    def lose_oldest() -> None:
        with closing(KafkaAdminClient(bootstrap_servers=settings.bootstrap)) as client:
            client.delete_records({Place(f"{settings.prefix}.eu.business", 0): 3})

    def reopen() -> KafkaJournal:
        found.journal.close()
        found.journal = open_it()
        return found.journal

    found = Bench(open_it(), None, lose_oldest, reopen)
    yield found
    found.journal.close()
