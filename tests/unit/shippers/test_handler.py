"""The handler never raises, never blocks, never logs its own sender; nothing is lost without a count."""

from __future__ import annotations

import logging
import logging.config
import statistics
import threading
import time
import uuid

import pytest

import lastbeat
from shippers import process
from shippers.errors import Misconfigured, Unavailable
from shippers.handler import Handler
from shippers.shipper import Stats
from shippers.transports.memory import MemoryTransport


@pytest.fixture
def transport():
    return MemoryTransport()


@pytest.fixture
def handlers():
    """Makes handlers, each with an identity of its own, and retires them afterwards."""
    made: list[Handler] = []

    def make(transport: MemoryTransport, **settings) -> Handler:
        made.append(Handler(f"shop-{uuid.uuid4().hex[:8]}", transport=transport, interval=60, **settings))
        return made[-1]

    yield make
    for handler in made:
        process.retire(handler.shipper, "test over", 0.2)
        logging.Handler.close(handler)


def logger_with(handler: logging.Handler) -> logging.Logger:
    logger = logging.Logger("shop", logging.DEBUG)  # noqa: LOG001  one for each test
    logger.addHandler(handler)
    return logger


def wait_for(condition, seconds: float = 5.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it didn't happen in time"
        threading.Event().wait(0.005)


def test_a_log_call_arrives(transport, handlers):
    handler = handlers(transport)
    logger_with(handler).info("paid %s", "A1", extra={"order_id": "A1"})
    handler.flush()
    [event] = transport.events("business")
    assert (event["message"], event["labels"]) == ("paid A1", {"order_id": "A1"})
    stats = handler.shipper.stats()
    assert (stats.emitted, stats.acked, stats.queue_events) == ({"business": 1}, {"business": 1}, 0)


def test_without_a_flush_it_arrives_soon(transport, handlers):
    logger_with(handlers(transport)).info("paid")
    began = time.monotonic()
    wait_for(lambda: transport.events("business"))
    assert time.monotonic() - began < 2.5


def test_arguments_are_read_in_the_callers_thread(transport, handlers):
    handler = handlers(transport)
    cart = ["apple"]
    logger_with(handler).info("cart %s", cart, extra={"cart": cart})
    cart.append("pear")
    handler.flush()
    [event] = transport.events("business")
    assert event["message"] == "cart ['apple']"
    assert event["labels"]["cart"] == '["apple"]'


def test_many_threads_number_without_a_gap_and_lose_nothing_without_a_count(transport, handlers):
    handler = handlers(transport, buffer_events=2_000)
    logger = logger_with(handler)

    def work(index: int) -> None:
        for number in range(2_500):
            logger.error("m", extra={"worker": index, "number": number})

    threads = [threading.Thread(target=work, args=(index,)) for index in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    handler.flush(10)
    stats = handler.shipper.stats()
    events = transport.events("business")
    assert stats.emitted["business"] == 10_000
    assert [event["event"]["sequence"] for event in events] == list(range(1, len(events) + 1))
    assert len(events) == 10_000 - stats.total_dropped == stats.acked["business"]
    for worker in range(4):
        numbers = [event["measures"]["number"] for event in events if event["measures"]["worker"] == worker]
        assert numbers == sorted(numbers), "one thread's events keep their order"


def test_a_dead_gateway_costs_microseconds_and_a_bounded_buffer(transport, handlers):
    transport.always = Unavailable("away")
    handler = handlers(transport, buffer_events=5_000, buffer_bytes=1_000_000)
    logger = logger_with(handler)
    times = []
    for _ in range(20_000):
        began = time.perf_counter()
        logger.error("m", extra={"order_id": "A1"})
        times.append(time.perf_counter() - began)
    assert statistics.median(times) < 100e-6
    stats = handler.shipper.stats()
    assert stats.queue_bytes <= 1_000_000
    assert stats.dropped["business"]["full"] > 10_000
    assert stats.emitted["business"] == 20_000
    wait_for(lambda: accounted(handler.shipper.stats()) == 20_000)  # a batch that is being sealed is in neither yet
    began = time.monotonic()
    handler.flush(5)
    assert time.monotonic() - began < 2, "a flush doesn't wait for what can't be reached"
    assert "away" in handler.shipper.stats().trouble


def accounted(stats: Stats) -> int:
    return stats.queue_events + stats.total_dropped


def test_a_gateway_that_hangs_does_not_block_the_caller(handlers):
    hangs = threading.Event()

    class Hanging(MemoryTransport):
        def send(self, batches, timeout_s):
            hangs.wait(5)
            super().send(batches, timeout_s)

    handler = handlers(Hanging())
    logger = logger_with(handler)
    began = time.monotonic()
    for _ in range(1_000):
        logger.info("m")
    assert time.monotonic() - began < 1
    began = time.monotonic()
    handler.flush(0.1)
    assert time.monotonic() - began < 1
    hangs.set()


def test_with_a_spool_what_is_logged_while_a_request_hangs_goes_to_the_disk(handlers, tmp_path):
    hangs, asked = threading.Event(), threading.Event()

    class Hanging(MemoryTransport):
        def send(self, batches, timeout_s):
            asked.set()
            hangs.wait(30)
            super().send(batches, timeout_s)

    handler = handlers(Hanging(), spool=str(tmp_path))
    logger = logger_with(handler)
    logger.info("first")
    assert asked.wait(30)
    before = handler.shipper.stats().spool_bytes
    logger.info("while it hangs")
    wait_for(lambda: handler.shipper.stats().spool_bytes > before, 30)
    hangs.set()


def test_its_own_loggers_are_left_out_and_others_of_like_name_are_not(transport, handlers):
    handler = handlers(transport)
    for name in ("lastbeat", "lastbeat.sender", "lastbeater", "shop"):
        handler.handle(logging.LogRecord(name, logging.ERROR, "", 0, name, None, None))
    handler.flush()
    assert [event["message"] for event in transport.events("business")] == ["lastbeater", "shop"]
    assert handler.shipper.stats().emitted == {"business": 2}


def test_an_argument_that_logs_while_it_is_rendered_is_bounded_and_counted(transport, handlers):
    handler = handlers(transport)
    logger = logger_with(handler)

    class Chatty:
        def __str__(self) -> str:
            logger.info("inner %s", self)
            return "chatty"

    logger.info("outer %s", Chatty())
    handler.flush()
    messages = [event["message"] for event in transport.events("business")]
    assert messages == ["inner chatty", "inner chatty", "outer chatty"]
    assert handler.shipper.stats().dropped == {"business": {"reentrant": 1}}


def test_a_record_beyond_rendering_is_a_counted_drop(transport, handlers):
    handler = handlers(transport)
    record = logging.LogRecord("shop", logging.ERROR, "", 0, "m", None, None)
    record.levelno = None  # type: ignore[assignment]
    handler.handle(record)
    assert handler.shipper.stats().dropped == {"business": {"error": 1}}


def test_filters_decide_and_may_replace_the_record(transport, handlers):
    handler = handlers(transport)
    handler.addFilter(lambda record: record.msg != "no")
    logger = logger_with(handler)
    logger.info("no")
    logger.info("yes")
    handler.flush()
    assert [event["message"] for event in transport.events("business")] == ["yes"]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_sender_that_died_is_replaced(handlers):
    class Deadly(MemoryTransport):
        def send(self, batches, timeout_s):
            if not self.requests and batches[0].header.dataset == "business":
                self.requests.append(tuple(batches))
                raise SystemExit  # ends the thread, as nothing that we know of does
            super().send(batches, timeout_s)

    transport = Deadly()
    transport.requests.clear()
    handler = handlers(transport)
    logger = logger_with(handler)
    handler.shipper._boot.beat_worker.stop(0)  # so that only logging can bring it back
    logger.info("first")
    worker = handler.shipper._boot.send_worker
    wait_for(lambda: transport.requests and not worker.alive)
    for _ in range(200):
        logger.info("more")
    wait_for(lambda: len(transport.events("business")) == 201)
    assert [event["event"]["sequence"] for event in transport.events("business")] == list(range(1, 202))


def test_a_dictconfig_makes_it_and_closing_it_does_not_end_it(transport):
    name = f"shop-{uuid.uuid4().hex[:8]}"
    logging.config.dictConfig(
        {
            "version": 1,
            "disable_existing_loggers": False,
            "handlers": {
                "beat": {"class": "lastbeat.Handler", "service": name, "level": "INFO", "transport": transport},
                "console": {"()": "lastbeat.Handler", "service": name, "dataset": "console", "transport": transport},
            },
            "loggers": {name: {"handlers": ["beat", "console"], "level": "DEBUG", "propagate": False}},
        }
    )
    logger = logging.getLogger(name)
    try:
        logger.debug("only for the console")
        first, second = logger.handlers
        assert first.shipper is second.shipper, "one process, one boot, one heartbeat"
        logging.shutdown([lambda: first, lambda: second])  # what the next dictConfig would do
        logger.info("after closing")
        first.flush()
        assert [event["message"] for event in transport.events("business")] == ["after closing"]
        assert [event["message"] for event in transport.events("console")] == ["only for the console", "after closing"]
        wait_for(lambda: transport.events("heartbeat"))
        assert len({batch.header.boot for batch in transport.batches}) == 1
    finally:
        logger.handlers.clear()
        process.retire(first.shipper, "test over", 0.2)


@pytest.mark.parametrize("bad", [{"dataset": "heartbeat"}, {"dataset": "x"}, {"interval": -1}, {"colour": "red"}])
def test_an_argument_that_cannot_work_is_said_at_start(bad):
    with pytest.raises(Misconfigured):
        Handler("shop", **bad)


@pytest.fixture
def root():
    root = logging.getLogger()
    before = root.handlers[:], root.level
    root.handlers[:] = []
    root.setLevel(logging.WARNING)
    yield root
    lastbeat.stop(timeout=0.2)
    root.handlers[:] = before[0]
    root.setLevel(before[1])


def test_init_ships_the_root_logger_beats_and_says_goodbye(root, transport, capsys):
    root.handlers.clear()  # pytest's own
    handler = lastbeat.init("checkout", transport=transport, interval=60)
    assert lastbeat.init("checkout") is handler
    assert root.handlers.count(handler) == 1
    logging.getLogger("any").info("paid")
    logging.getLogger("any").error("as before")
    wait_for(lambda: transport.events("heartbeat"))
    lastbeat.stop("enough")
    assert [event["message"] for event in transport.events("business")] == ["paid", "as before"]
    first, *_, last = transport.events("heartbeat")
    assert (first["heartbeat"]["state"], last["heartbeat"]["state"]) == ("up", "stopping")
    assert last["heartbeat"]["reason"] == "enough"
    assert last["heartbeat"]["datasets"]["business"] == {"last": 2, "acked": 2, "dropped": {}}
    assert last["heartbeat"]["memory_bytes"] > 0
    assert root.handlers == []
    assert capsys.readouterr().err == "as before\n", "what logging printed before is printed still"
    assert lastbeat.stats() is None


def test_after_stop_what_is_logged_is_a_counted_drop_and_init_begins_a_new_boot(root, transport):
    handler = lastbeat.init("checkout", transport=transport, interval=60)
    lastbeat.stop()
    handler.handle(logging.LogRecord("a", logging.ERROR, "", 0, "late", None, None))
    assert handler.shipper.stats().dropped == {"business": {"stopped": 1}}
    again = lastbeat.init("checkout", transport=transport, interval=60)
    assert again.shipper.boot != handler.shipper.boot
    root.error("new")
    assert lastbeat.dropped() == 0
    stats = lastbeat.stats()
    assert stats is not None
    assert stats.emitted == {"business": 1}


def test_a_level_that_the_host_has_set_is_left_alone(root, transport):
    root.setLevel(logging.ERROR)
    lastbeat.init("checkout", transport=transport, interval=60)
    assert root.level == logging.ERROR


def test_a_beat_out_of_turn_goes_out_at_once(root, transport):
    lastbeat.init("checkout", transport=transport, interval=1)
    wait_for(lambda: len(transport.events("heartbeat")) == 1)
    threading.Event().wait(0.55)
    lastbeat.beat()
    wait_for(lambda: len(transport.events("heartbeat")) == 2, 0.4)


def test_before_init_everything_is_harmless():
    lastbeat.beat()
    lastbeat.stop()
    assert lastbeat.dropped() == 0
