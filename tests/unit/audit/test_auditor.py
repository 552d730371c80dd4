"""The auditor's pass on a fake clock: what is lost is named exactly and in time, and nothing else ever is."""

from __future__ import annotations

import json

import pytest

from alerts.audit import assess
from alerts.audit.statement import read_statement
from collector.ledger.intervals import Interval
from collector.ports import Reader, Record, TopicPartition
from shippers.batch import Header, seal
from shippers.clock import FakeClock
from shippers.errors import Unavailable
from tests.unit.audit.books import DAY, Sender, World, with_a_sink_added_later


def test_all_that_was_sent_is_stored_and_the_statement_balances() -> None:
    world = World()
    pay = Sender(world)
    for _ in range(3):
        pay.log(20, drop=1)
        pay.send()
        pay.beat()
        world.run(10)
    statement = world.statement
    [line] = statement.lines
    assert (line.day, line.region, line.service, line.dataset, line.sink) == (DAY, "eu", "pay", "business", "lake")
    assert (line.emitted, line.stored, line.drops, line.unaccounted, line.flight) == (63, 60, 3, 0, 0)
    assert line.dropped == {"full": 3}
    assert statement.is_balanced
    assert world.lost == {}


def test_a_batch_that_the_journal_lost_is_named_exactly_within_two_beats_and_five_seconds() -> None:
    world = World()
    pay = Sender(world)
    pay.log(100)
    pay.send()
    pay.beat()
    world.run(9)
    pay.log(50)
    pay.send(lost=True)
    pay.log(50)
    pay.send()
    lost_at = world.clock.monotonic()
    while not world.lost:
        if world.senders[0].beats * 10 <= world.clock.monotonic() - 1_000:
            pay.beat()
        world.run(1)
        assert world.clock.monotonic() - lost_at <= 2 * 10 + 5
    assert world.lost == {f"lake/{pay.stream}": ((101, 150),)}
    assert world.statement.of("lake").unaccounted == 50
    assert not world.statement.is_balanced


def test_what_is_filled_again_is_over_with_its_evidence() -> None:
    world = World()
    pay = Sender(world)
    lost = pay.log(50)
    pay.send(lost=True)
    pay.beat()
    world.run(15)
    assert world.lost == {f"lake/{pay.stream}": ((1, 50),)}
    world.journal.append([lost])
    world.run(3)
    [finding] = world.findings
    assert finding.ended_at is not None
    assert finding.found == ((1, 50),)
    assert finding.missing == 0
    assert world.statement.is_balanced
    assert world.statement.of("lake").stored == 50


def test_a_lagging_sink_makes_no_finding_however_long_it_lags() -> None:
    world = World("lake", "elastic")
    pay = Sender(world)
    for _ in range(60):
        pay.log(5)
        pay.send()
        pay.beat()
        for _ in range(10):
            world.sinks["lake"].step()
            world.run(1, reading=False)
    assert world.lost == {}
    assert world.statement.of("lake").flight == 0
    world.run(2)
    assert world.lost == {}
    assert world.statement.of("elastic").stored == 300


@pytest.mark.parametrize("reached", [1_000, 5])
def test_a_position_in_a_journal_that_is_no_more_calls_nothing_of_the_new_one_lost(reached: int) -> None:
    """The sink is away, and the new journal grows beyond where it had been in the old one."""
    world = World()
    world.books.positions["lake"] = {TopicPartition("lastbeat.eu.business", 0): reached}
    pay = Sender(world)
    for _ in range(6):
        pay.log(10)
        pay.send()
        pay.beat()
        world.run(12, reading=False)
    assert world.findings == []
    world.books.positions["lake"] = {TopicPartition("lastbeat.eu.business", 0): 0}
    pay.log(5)
    pay.send(lost=True)
    pay.beat()
    for _ in range(2):
        world.run(12)
        pay.beat()
    assert world.lost == {f"lake/{pay.stream}": ((61, 65),)}


def test_an_outage_of_every_sink_for_ten_minutes_calls_nothing_lost() -> None:
    world = World("lake", "elastic", partitions=3)
    senders = [Sender(world, f"pay-{n}") for n in range(6)]
    for second in range(1_200):
        for sender in senders:
            if second % 10 == 0:
                sender.log(7)
                sender.send()
                sender.beat()
        world.run(1, reading=not 100 <= second < 700)
        assert world.lost == {}
    assert world.statement.is_balanced
    assert world.statement.of("elastic").emitted == 6 * 120 * 7 == world.statement.of("lake").stored


def test_a_hole_is_found_behind_a_sink_that_always_lags() -> None:
    world = World()
    pay = Sender(world)
    pay.log(10)
    pay.send(lost=True)
    for _ in range(40):
        pay.log(1)
        pay.send()
        pay.beat()
        for second in range(10):
            if len(world.sinks["lake"].held) > 12:
                held = world.sinks["lake"].held
                world.sinks["lake"].held = held[:-12]
                world.sinks["lake"].settle()
                world.sinks["lake"].held = held[-12:]
            world.sinks["lake"].read()
            world.run(1, reading=False)
            del second
    assert world.lost == {f"lake/{pay.stream}": ((1, 10),)}


def test_what_a_sink_gave_back_and_writes_later_is_not_lost() -> None:
    world = World()
    pay = Sender(world)
    for _ in range(3):
        pay.log(10)
        pay.send()
    pay.beat()
    world.sinks["lake"].read()
    world.sinks["lake"].settle(apart=[1])
    world.run(60, reading=False)
    assert world.lost == {}
    assert world.statement.of("lake").flight == 10
    world.run(3)
    assert world.statement.of("lake").stored == 30


def test_a_restart_of_the_auditor_names_nothing_that_is_there_and_forgets_nothing_that_is_not() -> None:
    world = World()
    pay, dead = Sender(world), Sender(world, "dead-1", "dead")
    for sender in (pay, dead):
        sender.log(10)
        sender.send(lost=sender is dead)
        sender.beat(state="stopping" if sender is dead else "up")
    world.run(15)
    named = world.lost
    assert named == {f"lake/{dead.stream}": ((1, 10),)}
    world.auditor.close()
    world.journal.delete_before(world.journal.records()[-1].tp, 10)  # the beats are gone
    world.restart("b")
    world.run(40)
    assert world.lost == named
    assert world.statement.of("lake").emitted == 20


def test_data_older_than_the_account_is_not_called_lost() -> None:
    """A boot whose first beats the journal has no more: what was durable before is not judged, what comes is."""
    world = World()
    pay = Sender(world)
    pay.last = pay.acked = 5_000
    pay.beats = 700
    pay.beat()
    world.run(30)
    assert world.lost == {}
    pay.log(10)
    pay.send(lost=True)
    pay.beat()
    world.run(15)
    assert world.lost == {f"lake/{pay.stream}": ((5_001, 5_010),)}


def test_a_sink_that_is_added_later_is_not_asked_for_what_it_could_not_have() -> None:
    world, pay = with_a_sink_added_later()
    world.run(30)
    assert world.lost == {}
    pay.log(10)
    pay.send()
    pay.beat()
    world.run(20)
    assert set(world.lost) == {f"lake/{pay.stream}"}, "what came since is asked for"
    assert world.lost[f"lake/{pay.stream}"] == ((11, 20),)


def test_a_killed_process_without_a_spool_has_a_tail_and_no_hole() -> None:
    world = World()
    pay = Sender(world)
    pay.log(10)
    pay.send()
    pay.log(5)
    pay.beat()
    world.run(20)
    assert world.statement.of("lake").flight == 5
    world.run(100)
    assert world.lost == {}
    [tail] = world.statement.head.tails
    assert tail.ranges == ((11, 15),)
    assert "unknown tail of at most one interval" in tail.words
    assert world.statement.of("lake").tail == 5
    assert world.statement.of("lake").unaccounted == 0


def test_what_waits_in_a_dead_process_spool_is_on_its_way() -> None:
    world = World()
    pay = Sender(world, spool=True)
    pay.log(10)
    pay.send()
    pay.log(5)
    pay.beat()
    world.run(300)
    assert world.lost == {}
    assert world.statement.of("lake").flight == 5
    assert world.statement.head.tails == ()


def test_what_a_kill_cut_off_is_counted_with_its_exact_range_and_a_loss_below_it_is_found() -> None:
    world = World()
    pay, other = Sender(world, spool=True), Sender(world, "other-1", "other", spool=True)
    for sender in (pay, other):
        sender.log(10)
        sender.send()
        sender.beat()
        sender.log(20)
    world.run(100)
    other.send(lost=True)
    for sender in (pay, other):
        sender.killed(7)
    world.run(25)
    lines = {line.service: line for line in world.statement.lines}
    assert (lines["pay"].emitted, lines["pay"].stored, lines["pay"].void) == (37, 30, 7)
    assert world.books.void["lake"][pay.stream] == world.books.void["lake"][other.stream]
    killed = {tail.stream: tail for tail in world.statement.head.tails}
    assert killed[pay.stream].ranges == ((31, 37),)
    assert killed[pay.stream].words == "business 31–37 of pay-1 were cut off by a kill"
    assert world.lost == {f"lake/{other.stream}": ((11, 30),)}


def test_a_gateway_away_for_an_hour_makes_nobody_silent() -> None:
    world = World()
    pay = Sender(world)
    pay.log(5)
    pay.beat()
    world.run(10)
    world.clock.advance(3_600)
    world.run(5)
    assert world.statement.head.tails == ()
    assert world.statement.of("lake").flight == 5


def test_of_two_auditors_one_works_and_the_other_takes_over() -> None:
    world = World()
    pay = Sender(world)
    pay.log(10)
    pay.send()
    pay.beat()
    world.run(5)
    first, second = world.auditor, world.another("b")
    for _ in range(20):
        second.step()
        world.run(1)
    assert first.health()["status"] == "ok"
    assert second.health()["status"] == "standby"
    assert second.passes == 0
    for _ in range(20):
        world.clock.advance(1)
        second.step()
    assert second.health()["status"] == "ok"
    first.step()
    assert first.health()["status"] == "standby"
    assert second.metrics()["processes"] == 1


def test_a_closed_auditor_hands_over_at_once() -> None:
    world = World()
    world.run(3)
    world.auditor.close()
    world.restart("b")
    world.run(1)
    assert world.auditor.health()["status"] == "ok"


def test_a_state_that_is_away_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World()
    pay = Sender(world)
    pay.log(10)
    pay.send(lost=True)
    pay.beat()
    with monkeypatch.context() as patched:
        for name in ("put", "put_many", "get", "scan"):
            patched.setattr(world.state, name, _away)
        world.run(60)
        assert world.auditor.health()["status"] == "waiting"
    world.run(15)
    assert world.auditor.health()["status"] == "ok"
    assert world.lost == {f"lake/{pay.stream}": ((1, 10),)}


def _away(*_: object, **__: object) -> None:
    raise Unavailable("State is away")


def test_a_boot_that_counts_backwards_or_is_two_processes_is_never_balanced() -> None:
    world = World()
    pay, twin = Sender(world), Sender(world, "pay-2")
    twin.boot = pay.boot
    backwards = Sender(world, "back-1", "back")
    for sender in (pay, twin, backwards):
        sender.log(10)
        sender.send()
        sender.beat()
    backwards.last = backwards.acked = 3
    backwards.beat()
    world.run(40)
    liars = {each.stream: each.words for each in world.statement.head.liars}
    assert "also used by" in liars[pay.stream]
    assert "backwards" in liars[backwards.stream]
    assert not world.statement.is_balanced
    assert world.lost == {}


def test_headers_that_lie_are_told_and_no_loss_is_made_of_them() -> None:
    world = World()
    pay = Sender(world)
    pay.log(10)
    pay.send(lost=True)
    pay.beat()
    world.books.lying[pay.stream] = "overlap: 1-10 with crc 1 and 5-9 with crc 2"
    world.run(40)
    assert world.lost == {}
    assert not world.statement.is_balanced
    assert world.statement.head.liars[0].words.startswith("overlap")


def test_what_is_lost_is_asked_for_again_and_again_with_growing_pauses() -> None:
    asked = []

    def recover(finding: object) -> tuple[dict[str, tuple[Interval, ...]], str]:
        asked.append(world.clock.monotonic())
        if len(asked) < 3:
            return {}, "nobody has it"
        world.journal.append([lost])
        return {"archive": ((1, 10),)}, "all of it was found"

    world = World()
    world.restart(recover=recover)
    pay = Sender(world)
    lost = pay.log(10)
    pay.send(lost=True)
    pay.beat()
    for _ in range(60):
        world.run(1)
        world.auditor.recover_step()
    assert len(asked) == 3
    assert asked[2] - asked[1] > asked[1] - asked[0] >= 5
    [finding] = world.findings
    assert finding.sources == {"archive": 10}
    assert finding.ended_at is not None


def test_while_its_sink_lags_the_same_is_not_sent_again_and_again() -> None:
    asked = []

    def recover(finding: object) -> tuple[dict[str, tuple[Interval, ...]], str]:
        asked.append(finding)
        if len(asked) > 1:  # the first is lost on its way
            world.journal.append([lost])
        return {"journal": ((1, 60),), "spool": ((41, 100),)}, "all of it was found"

    world = World()
    world.restart(recover=recover)
    pay = Sender(world)
    lost = pay.log(100)
    pay.send(lost=True)
    pay.beat()
    world.run(12)
    for second in range(400):
        if second == 200:
            world.auditor.close()
            world.restart("b", recover=recover)
        if not second % 10:
            pay.log(1)
            pay.send()
            pay.beat()
        world.run(1, reading=False)
        world.auditor.recover_step()
    assert len(asked) == 1, "its sink has not come so far"
    for _ in range(30):
        world.run(1)
        world.auditor.recover_step()
    assert len(asked) == 2, "it has, and what was sent is not there"
    [finding] = world.findings
    assert finding.ended_at is not None
    assert finding.sources == {"journal": 60, "spool": 40}, "each number once"


def test_a_boot_that_ended_is_forgotten_after_a_day_and_its_drops_still_count() -> None:
    world = World()
    pay = Sender(world)
    pay.log(10, drop=4)
    pay.send()
    pay.beat(state="stopping")
    world.run(20)
    world.clock.advance(90_000)
    world.run(3)
    assert world.auditor.roll.boots == {}
    assert world.statement.of("lake").dropped == {"full": 4}
    world.auditor.close()
    world.restart("b")
    world.run(3)
    assert world.statement.of("lake").dropped == {"full": 4}


def test_numbers_that_a_living_process_gave_up_are_no_kill() -> None:
    world = World()
    pay = Sender(world)
    pay.log(10)
    pay.send()
    pay.beat()
    for _ in range(4):
        header = pay.log(5).void("refused: crc")
        pay.unsent.clear()
        world.journal.append([header])
        pay.acked = pay.last
        world.run(9)
        assert world.statement.head.tails == ()
        pay.beat()
        world.run(1)
    assert world.statement.of("lake").void == 20
    assert world.lost == {}


def test_a_process_that_was_killed_before_a_beat_spoke_of_its_events_has_a_counted_tail_too() -> None:
    world = World()
    pay = Sender(world, spool=True)
    pay.beats = 1
    said = {"interval_s": 2.0, "grace_s": 4.0, "state": "up", "uptime_s": 0.0, "spool": True, "datasets": {}}
    header = Header(f"{pay.boot}.heartbeat", 1, 0, "eu", "heartbeat", DAY, "pay", "pay-1", 0)
    world.journal.append([seal(header, [json.dumps({"heartbeat": said}).encode()])])
    pay.log(10)
    pay.killed(5)
    world.run(9)
    [tail] = world.statement.head.tails
    assert (tail.ranges, tail.counted) == (((11, 15),), True)


def test_a_stream_that_lacks_nothing_costs_no_judging_and_is_proven(monkeypatch: pytest.MonkeyPatch) -> None:
    world, judged = World(), list[object]()
    real = assess.judge
    monkeypatch.setattr(assess, "judge", lambda *given: judged.append(given) or real(*given))
    pay = Sender(world)
    for _ in range(5):
        pay.log(10)
        pay.send()
        pay.beat()
        world.run(10)
    assert judged == []
    assert world.auditor.roll.boots[pay.boot].datasets["business"].proven == {"lake": 50}
    pay.log(10)
    pay.send(lost=True)
    pay.beat()
    world.run(3)
    assert judged != []


class SlowBeats:
    """A reader of beats that hands out one at a time, each of which takes a second."""

    def __init__(self, inner: Reader, clock: FakeClock) -> None:
        self._inner, self._clock = inner, clock

    def poll(self, max_bytes: int, timeout_s: float) -> list[Record]:
        self._clock.advance(1.0)
        return self._inner.poll(1, timeout_s)

    def __getattr__(self, name: str) -> object:
        return getattr(self._inner, name)


def test_a_statement_is_as_of_when_all_beats_were_read_and_not_later() -> None:
    world = World()
    pay = Sender(world)
    pay.log(10)
    pay.send()
    for _ in range(6):
        pay.beat()
    world.auditor._beats = SlowBeats(world.auditor._beats, world.clock)  # type: ignore[assignment]
    stored_at = world.clock.time()
    world.sinks["lake"].step()
    world.auditor.step()
    assert read_statement(world.state) is None, "what it has not read yet may say anything"
    while read_statement(world.state) is None:
        world.auditor.step()
    read_at = world.clock.time()
    assert stored_at < world.statement.head.at < read_at
    assert world.statement.of("lake").emitted == 10


def test_beats_that_come_all_the_time_keep_no_statement_from_being_written() -> None:
    world = World()
    pay = Sender(world)
    pay.log(10)
    pay.send()
    pay.beat()
    poll = world.auditor._beats.poll

    def one_more_comes(max_bytes: int, timeout_s: float) -> list[Record]:
        world.canary()
        return poll(1, timeout_s)

    world.auditor._beats.poll = one_more_comes  # type: ignore[method-assign]
    world.sinks["lake"].step()
    world.auditor.step()
    assert world.statement.head.at == world.clock.time()
