"""The spool in the sender's hands: on disk before it is sent, bounded, and never the reason why anything stops.

Broken on purpose, each made a test here fail: no fsync before the sending and nothing settled once sent (both the
first test), no lock at a claim (a living process's folder was taken), log calls not counted (the heir's "killed").
"""

from __future__ import annotations

import errno
import logging
import os
import threading

import pytest

from shippers.batch import Batch
from shippers.buffer import Buffer
from shippers.clock import FakeClock
from shippers.errors import Unavailable
from shippers.event import Line
from shippers.frames import scan
from shippers.identity import Identity
from shippers.leftovers import KILLED, Estates
from shippers.segments import DAMAGED, FULL
from shippers.sender import Sender
from shippers.spool import RETRY_S, Folder, Spool
from shippers.streams import Progress, Streams
from shippers.tally import COPY, shared_path
from shippers.transports.memory import MemoryTransport
from shippers.transports.protocol import Rejected

ME = Identity("payment", "cn-east", "pay-01")
BOOT = "spooltest0001"


class Lane:
    """A sender with a spool, without a thread."""

    def __init__(self, root, boot: str = BOOT, limit: int = 100_000_000, max_events: int = 100_000) -> None:
        self.clock, self.root, self.boot = FakeClock(), root, boot
        self.buffer, self.streams = Buffer(max_events, 100_000_000), Streams(boot, ME)
        self.transport = MemoryTransport()
        self.spool = Spool(root, limit, boot, ME, 4711, self.clock, self.buffer.count_into)
        self.sender = Sender(self.buffer, self.streams, self.transport, self.clock, lambda: 1.0, self.spool)
        self.estates = Estates(root, boot, ME, self.transport, self.clock, limit)

    def log(self, count: int = 1, size: int = 0) -> None:
        for _ in range(count):
            data = b'{"message":"%b","event":{"dataset":"business"' % (b"x" * size)
            self.buffer.put(Line("business", "2026-11-21", data), logging.ERROR)

    def run(self, seconds: float = 60.0, *, inherit: bool = False) -> None:
        end = self.clock.monotonic() + seconds
        while True:
            wait = self.sender.step()
            self.spool.note(self.streams.progress())
            if inherit:
                wait = min(wait, self.estates.step(self.spool))
            if self.clock.monotonic() + wait >= end:
                return
            self.clock.advance(wait)

    def away(self) -> None:
        self.transport.always = Unavailable("away")

    def die(self) -> None:
        """As a SIGKILL would: locks go with the process, nothing else happens."""
        self.spool.abandon()

    def on_disk(self) -> list[Batch]:
        return [batch for path in sorted((self.root / self.boot).glob("*.seg")) for batch in scan(path.read_bytes())[0]]


@pytest.fixture(autouse=True)
def _nothing_left_in_shared_memory():
    yield
    for name in (BOOT, "heir00000001", "heir00000002"):
        shared_path(name).unlink(missing_ok=True)


def numbers(batches) -> list[int]:
    return [number for one in batches for number in range(one.header.first, one.header.last + 1)]


def of(transport: MemoryTransport, boot: str) -> list[Batch]:
    return [batch for batch in transport.batches if batch.header.boot == boot]


def test_a_batch_is_fsynced_before_it_is_first_sent_and_sent_no_more_once_acknowledged(tmp_path, monkeypatch):
    lane, synced = Lane(tmp_path), []
    real = os.fsync
    monkeypatch.setattr(os, "fsync", lambda handle: (real(handle), synced.append(numbers(lane.on_disk()))))

    def send(batches, timeout_s):
        assert set(numbers(batches)) <= set(synced[-1]), "sent what was not yet on disk"
        assert set(numbers(batches)) <= set(numbers(lane.on_disk())), "gone before it was acknowledged"

    lane.transport.send = send
    lane.log(5_000)
    lane.run()
    assert lane.streams.progress()["business"] == Progress(5_000, 5_000)
    assert (lane.spool.size_bytes, lane.spool.events) == (0, 0)
    lane.die()
    heir = Lane(tmp_path, "heir00000001")
    heir.run(inherit=True)
    assert of(heir.transport, BOOT) == [], "sent again though it was acknowledged"


def test_while_nobody_takes_them_events_go_to_disk_and_none_is_dropped(tmp_path):
    lane = Lane(tmp_path, max_events=10_000)
    lane.away()
    for _ in range(5):
        lane.log(9_000)
        lane.run()
    assert lane.buffer.counts().dropped == {}
    assert lane.sender.sealed_events == lane.spool.events == 45_000
    assert lane.spool.size_bytes == sum(path.stat().st_size for path in (tmp_path / BOOT).glob("*.seg")) > 1_000_000
    lane.transport.always = None
    lane.run()
    assert numbers(lane.transport.batches) == list(range(1, 45_001))
    assert (lane.spool.size_bytes, lane.sender.sealed_events) == (0, 0)


def test_a_full_spool_gives_up_the_oldest_by_number_and_stays_within_its_bound(tmp_path):
    limit = 8_000_000
    lane = Lane(tmp_path, limit=limit)
    lane.away()
    for _ in range(10):
        lane.log(2_000, size=500)
        lane.run()
        assert sum(path.stat().st_size for path in (tmp_path / BOOT).glob("*.seg")) <= limit
    gone = lane.spool.voided[FULL]
    lane.transport.always = None
    lane.run()
    assert numbers(lane.transport.batches) == list(range(1, 20_001))
    assert sum(batch.header.count for batch in lane.transport.batches if batch.header.void == FULL) == gone > 1_000
    assert lane.streams.progress()["business"] == Progress(20_000, 20_000)
    assert lane.spool.events == 0


def test_a_failing_disk_is_said_once_and_the_sender_goes_on_in_memory(tmp_path, monkeypatch, caplog):
    lane = Lane(tmp_path)
    lane.log(300)
    lane.run(1)

    def fail(*_):
        raise OSError(errno.ENOSPC, "no space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "write", fail)
        for _ in range(5):
            lane.log(300)
            lane.run(RETRY_S + 1)
    lane.log(300)
    lane.run(RETRY_S + 1)
    lane.log(300)
    lane.run(RETRY_S + 1)
    assert numbers(lane.transport.batches) == list(range(1, 2_401))
    assert lane.spool.faults >= 5
    assert sum("kept in memory" in record.message for record in caplog.records) == 1
    assert "the spool is used again" in caplog.text


def test_a_folder_that_can_not_be_made_harms_nothing(tmp_path):
    (tmp_path / "file").write_text("")
    lane = Lane(tmp_path / "file" / "spool")
    lane.log(300)
    lane.run()
    assert numbers(lane.transport.batches) == list(range(1, 301))
    assert lane.spool.faults == 2


def test_the_heir_sends_what_is_left_in_order_and_counts_what_had_no_number(tmp_path):
    dead = Lane(tmp_path)
    dead.log(400)
    dead.run(1)
    dead.away()
    dead.log(1_000)
    dead.run(2)
    dead.log(77)
    dead.die()
    heir = Lane(tmp_path, "heir00000001")
    heir.log(3)
    heir.run(inherit=True)
    found = of(heir.transport, BOOT)
    assert numbers(found) == list(range(401, 1_478)), "what was acknowledged isn't sent again"
    assert [(one.header.first, one.header.count) for one in found if one.header.void == KILLED] == [(1_401, 77)]
    assert numbers(of(heir.transport, "heir00000001")) == [1, 2, 3]
    assert heir.buffer.counts().dropped == {}
    assert not shared_path(BOOT).exists()
    heir.estates.end()
    assert not (tmp_path / BOOT).exists()


def test_what_an_heir_sent_is_not_sent_by_the_next_one_and_can_be_had_again(tmp_path):
    dead = Lane(tmp_path)
    dead.away()
    dead.log(500)
    dead.run(2)
    dead.log(7)
    dead.die()
    first, second = Lane(tmp_path, "heir00000001"), Lane(tmp_path, "heir00000002")
    first.run(inherit=True)
    first.die()
    first.estates.release()
    second.run(inherit=True)
    assert of(second.transport, BOOT) == []
    assert second.estates.knows(BOOT)
    assert numbers(second.estates.again(f"{BOOT}.business", 1, 500)) == list(range(1, 501))
    assert (second.estates.size_bytes, second.estates.kept_bytes > 0) == (0, True)


def test_what_is_kept_of_the_dead_goes_before_anything_of_the_living(tmp_path):
    limit = 8_000_000
    for boot in ("dead00000001", "dead00000002"):
        dead = Lane(tmp_path, boot, limit=limit)
        dead.away()
        dead.log(5_000, size=500)
        dead.run(2)
        dead.die()
        shared_path(boot).unlink()
    heir = Lane(tmp_path, "heir00000001", limit=limit)
    heir.run(inherit=True)
    assert heir.estates.kept_bytes > 5_000_000
    heir.away()
    for _ in range(6):
        heir.log(2_000, size=500)
        heir.run(20, inherit=True)
        assert sum(path.stat().st_size for path in tmp_path.glob("*/*.*")) <= limit + 2_000
    assert heir.estates.kept_bytes < 1_500_000
    assert heir.spool.voided == {}
    assert not heir.estates.knows("dead00000001")


def test_without_shared_memory_the_copy_says_what_it_knows(tmp_path):
    dead = Lane(tmp_path)
    dead.away()
    dead.log(1_000)
    dead.run(2)
    dead.log(50)
    dead.spool.note(dead.streams.progress())
    dead.log(7)
    dead.die()
    shared_path(BOOT).unlink()
    heir = Lane(tmp_path, "heir00000001")
    heir.run(inherit=True)
    assert numbers(of(heir.transport, BOOT)) == list(range(1, 1_051))


def test_a_torn_tail_and_a_damaged_frame_are_accounted_for_by_number(tmp_path, caplog):
    dead = Lane(tmp_path)
    dead.away()
    dead.log(2_000)
    dead.run(2)
    dead.die()
    [path] = (tmp_path / BOOT).glob("*.seg")
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0xFF
    path.write_bytes(data[:-10])
    heir = Lane(tmp_path, "heir00000001")
    heir.run(inherit=True)
    found = of(heir.transport, BOOT)
    assert numbers(found) == list(range(1, 2_001))
    assert {batch.header.void for batch in found} == {None, DAMAGED, KILLED}
    assert heir.estates.faults == 2
    assert "damaged or torn" in caplog.text


def test_a_living_process_is_left_alone_and_a_dead_one_has_one_heir(tmp_path):
    dead = Lane(tmp_path)
    dead.away()
    dead.log(500)
    dead.run(2)
    first, second = Lane(tmp_path, "heir00000001"), Lane(tmp_path, "heir00000002")
    first.run(1, inherit=True)
    assert of(first.transport, BOOT) == [], "it lives"
    dead.die()
    first.away()
    first.run(70, inherit=True)
    second.run(70, inherit=True)
    assert of(second.transport, BOOT) == [], "the first has it"
    first.estates.release()
    second.run(70, inherit=True)
    assert numbers(of(second.transport, BOOT)) == list(range(1, 501))


def test_who_gets_the_lock_of_a_removed_folder_has_nothing(tmp_path):
    folder = Folder.create(tmp_path, BOOT)
    assert Folder.claim(tmp_path / BOOT) is None
    folder.remove()
    assert Folder.claim(tmp_path / BOOT) is None
    assert list(tmp_path.iterdir()) == []


def test_a_token_that_is_not_good_for_it_leaves_it_to_others(tmp_path):
    dead = Lane(tmp_path)
    dead.away()
    dead.log(500)
    dead.run(2)
    dead.die()
    other, right = Lane(tmp_path, "heir00000001"), Lane(tmp_path, "heir00000002")
    other.transport.always = Rejected("service", "not yours", 0)
    other.run(10, inherit=True)
    right.run(70, inherit=True)
    assert numbers(of(right.transport, BOOT)) == list(range(1, 501))


def test_at_the_end_all_that_waits_is_kept(tmp_path):
    lane = Lane(tmp_path)
    lane.away()
    lane.log(500)
    lane.run(1)
    lane.log(50)
    lane.sender.keep_the_rest(1)
    lane.buffer.close("stopped")
    lane.spool.note(lane.streams.progress())
    lane.spool.close()
    assert numbers(lane.on_disk()) == list(range(1, 551))
    assert (tmp_path / BOOT / COPY).exists()
    assert not shared_path(BOOT).exists()
    heir = Lane(tmp_path, "heir00000001")
    heir.run(inherit=True)
    assert numbers(of(heir.transport, BOOT)) == list(range(1, 551))
    assert lane.buffer.counts().dropped == {}


def test_an_empty_spool_leaves_nothing_behind(tmp_path):
    lane = Lane(tmp_path)
    lane.log(50)
    lane.run()
    lane.spool.close()
    assert list(tmp_path.iterdir()) == []


def test_a_log_call_does_no_io(tmp_path, monkeypatch):
    lane = Lane(tmp_path)
    lane.log(1)
    lane.run()
    caller = threading.get_ident()

    def forbidden(*_args, **_kwargs):
        assert threading.get_ident() != caller, "I/O in the caller's thread"

    for name in ("write", "pwrite", "fsync", "open", "ftruncate"):
        monkeypatch.setattr(os, name, forbidden)
    lane.log(1_000)
    assert lane.buffer.waiting == 1_000


def test_what_is_logged_while_a_request_hangs_is_on_disk_within_two_seconds_and_is_sent_once(tmp_path):
    lane = Lane(tmp_path)
    seen: list[tuple[int, int]] = []

    class Hanging(MemoryTransport):
        def send(self, batches, timeout_s):
            before = len(lane.on_disk())
            for _ in range(8):
                lane.log(3)
                lane.clock.advance(0.5)
                lane.sender.keep_overdue()
            seen.append((before, sum(batch.header.count for batch in lane.on_disk())))
            lane.sender._transport = lane.transport
            raise Unavailable("no answer")

    lane.sender._transport = Hanging()
    lane.log(5)
    lane.run(2.0)
    assert seen == [(1, 5 + 24)]
    lane.run(60.0)
    numbers = [n for batch in lane.transport.batches for n in range(batch.header.first, batch.header.last + 1)]
    assert sorted(numbers) == list(range(1, 30))


def test_while_steps_go_on_nobody_else_keeps(tmp_path):
    lane = Lane(tmp_path)
    lane.sender.step()
    lane.log(3)
    lane.clock.advance(0.4)
    lane.sender.keep_overdue()
    assert lane.buffer.waiting == 3
