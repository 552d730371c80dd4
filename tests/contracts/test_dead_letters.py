"""What every list of dead letters must do, and what a replay must come to. Run over tests/contracts/sinks.py."""

from __future__ import annotations

import dataclasses
import itertools
import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from collector.dead_letters import Among, id_of
from collector.foreign.seal import Sealer
from collector.foreign.stream import foreign_stream
from collector.ports import Record, TopicPartition, topic_of
from collector.replayer import Fate, Played, Replayer
from shippers.batch import Batch, Header, seal
from shippers.clock import FakeClock
from shippers.errors import Misconfigured
from tests.contracts.sinks import SINKS, START, Kept

PAY, SHOP = "paybootid001.business", "shopbootid01.business"
DAY = "2025-11-21"
TP = TopicPartition("lastbeat.cn-east.business", 0)


@pytest.fixture(params=sorted(SINKS))
def kept(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Kept]:
    with SINKS[request.param](tmp_path) as made:
        yield made


class Site:
    """A sink, and the way of a batch to it: each goes to the next offset of one partition, a second later."""

    def __init__(self, kept: Kept) -> None:
        self.kept = kept
        self.offsets = itertools.count()
        self.sent: list[Batch] = []
        self.replayer = Replayer([kept.letters], self.send, FakeClock(START))

    def send(self, batches: Sequence[Batch]) -> None:
        self.sent += batches
        self.kept.sink.write([self.record(batch) for batch in batches])

    def record(self, batch: Batch) -> Record:
        offset = next(self.offsets)
        self.kept.clock.advance(1)
        tp = TopicPartition(topic_of(batch.header), 0)
        return Record(tp, offset, offset + 1, START + offset, batch.header.encode(), batch.body)

    def foreign(self, body: bytes) -> None:
        offset = next(self.offsets)
        self.kept.clock.advance(1)
        self.kept.sink.write(Sealer("here").seal([Record(TP, offset, offset + 1, START + offset, b"", body)]))

    def names(self, **among: object) -> list[str]:
        return [id_of(letter) for letter in self.kept.letters.find(Among(**among), 100)]  # type: ignore[arg-type]

    def play(self, *ids: str, repaired: bytes | None = None, wait_s: float = 0.0) -> list[Played]:
        return list(self.replayer.play(ids, repaired, wait_s=wait_s))


@pytest.fixture
def site(kept: Kept) -> Site:
    return Site(kept)


def line(number: int, text: str = "paid") -> bytes:
    return json.dumps({"@timestamp": f"{DAY}T12:00:00.{number:06d}Z", "message": text}).encode()


def batch(
    first: int,
    *lines: bytes,
    stream: str = PAY,
    service: str = "payment",
    region: str = "cn-east",
    replay: bool = False,
) -> Batch:
    return seal(Header(stream, first, 0, region, "business", DAY, service, f"{service}-01", 0, replay=replay), lines)


def test_letters_are_found_newest_first_by_who_sent_them_and_why(site: Site) -> None:
    site.send([batch(1, line(1), b"no", line(3))])
    site.send([batch(1, b"[1]", stream=SHOP, service="shop", region="cn-north")])
    site.send([batch(4, line(4), line(5)).void("spool full")])
    assert site.names() == [f"{PAY}:4+2:void", f"{SHOP}:1", f"{PAY}:2"]
    assert site.names(service="shop") == site.names(region="cn-north") == site.names(stream=SHOP) == [f"{SHOP}:1"]
    assert site.names(reason="NOT json: ") == [f"{PAY}:2"]
    assert site.names(dataset="console") == site.names(service="shop", region="cn-east") == []
    assert len(site.names(since=START)) == 3
    assert site.names(since=START + 10_000) == []
    assert [letter.original for letter in site.kept.letters.find(Among(), 2)] == [b"", b""]


def test_one_letter_is_had_whole_and_dropped_alone(site: Site) -> None:
    site.send([batch(1, line(1), b"no", b"nor this")])
    letter = site.kept.letters.get(f"{PAY}:2")
    assert letter is not None
    assert (letter.original, letter.instance, letter.day) == (b"no", "payment-01", DAY)
    assert site.kept.letters.get(f"{PAY}:7") is None
    other = dataclasses.replace(letter, source="lastbeat.cn-east.business/0/999")
    site.kept.letters.drop([other])
    assert site.names() == [f"{PAY}:3", f"{PAY}:2"]
    site.kept.letters.drop([letter])
    site.kept.letters.drop([letter])
    assert site.names() == [f"{PAY}:3"]


def test_stored_counts_a_batchs_own_numbers(site: Site) -> None:
    sent = batch(1, line(1), b"no", line(3))
    assert site.kept.letters.stored(sent.header) == 0
    site.send([sent, batch(4, line(4))])
    assert site.kept.letters.stored(sent.header) == 2


def test_a_mended_line_lands_once_under_its_own_number_and_leaves_the_list(site: Site) -> None:
    site.send([batch(1, line(1), b'{"@timestamp":"2025-11-21T12:00:00Z","mess', line(3))])
    [played] = site.play(f"{PAY}:2")
    assert (played.fate, site.sent[1:]) == (Fate.UNPLAYABLE, [])
    assert "--from" in played.why
    [played] = site.play(f"{PAY}:2", repaired=line(2, "mended") + b"\n")
    assert played == Played(f"{PAY}:2", Fate.STORED)
    assert site.kept.ids() == [f"{PAY}:1", f"{PAY}:2", f"{PAY}:3"]
    assert site.names() == []
    assert json.loads(site.sent[1].body)["event"] == {"stream": PAY, "sequence": 2}
    [again] = site.play(f"{PAY}:2", repaired=line(2))
    assert again.fate is Fate.UNPLAYABLE
    site.send([site.sent[1]])
    assert site.kept.ids() == [f"{PAY}:1", f"{PAY}:2", f"{PAY}:3"]


def test_a_replay_that_was_cut_short_is_made_good_by_the_next_and_doubles_nothing(site: Site) -> None:
    site.send([batch(1, line(1), b"no")])
    letter = site.kept.letters.get(f"{PAY}:2")
    assert letter is not None
    sent: list[Batch] = []
    [played] = Replayer([site.kept.letters], sent.extend, FakeClock(START)).play([f"{PAY}:2"], line(2), wait_s=3)
    assert played.fate is Fate.PENDING
    assert site.names() == [f"{PAY}:2"]
    site.kept.sink.write([site.record(sent[0])])  # now it arrives, and nobody has looked yet
    assert site.names() == [f"{PAY}:2"]
    assert [one.fate for one in site.play(f"{PAY}:2", repaired=line(2))] == [Fate.STORED]
    assert len(site.sent) == 1, "what is stored already isn't sent again"
    assert site.kept.ids() == [f"{PAY}:1", f"{PAY}:2"]


def test_a_replay_that_is_rejected_again_says_why_and_stays_on_the_list_once(site: Site) -> None:
    site.send([batch(1, line(1), b"no")])
    late = b'{"@timestamp":"-2025-11-21T12:00:00Z"}'
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("collector.replay.why_unreadable", lambda _: "")  # as if only the store knew better
        [played] = site.play(f"{PAY}:2", repaired=late)
    assert played.fate is Fate.REJECTED
    assert "is not a time" in played.why
    assert site.names() == [f"{PAY}:2"]
    letter = site.kept.letters.get(f"{PAY}:2")
    assert letter is not None
    assert b"-2025" in letter.original
    assert [one.fate for one in site.play(f"{PAY}:2", repaired=line(2))] == [Fate.STORED]
    assert site.names() == []


def test_a_broken_batch_is_sent_again_whole(site: Site) -> None:
    sound = batch(1, line(1), line(2))
    site.send([Batch(sound.header, sound.body.replace(b"paid", b"PAID"))])
    assert site.names() == ["lastbeat.cn-east.business/0/0"]
    assert [one.fate for one in site.play("lastbeat.cn-east.business/0/0")] == [Fate.STORED]
    assert site.kept.ids() == [f"{PAY}:1", f"{PAY}:2"]
    assert site.names() == []


def test_the_letter_of_another_copy_is_not_taken_for_what_a_replay_became(site: Site) -> None:
    sound = batch(1, line(1), line(2))
    broken = Batch(sound.header, sound.body.replace(b"paid", b"PAID"))
    site.send([broken])
    site.send([broken])
    sent: list[Batch] = []
    name = "lastbeat.cn-east.business/0/0"
    [played] = Replayer([site.kept.letters], sent.extend, FakeClock(START)).play([name], wait_s=3)
    assert played.fate is Fate.PENDING
    assert sorted(site.names()) == [name, "lastbeat.cn-east.business/0/1"]


def test_one_that_the_gateway_refuses_does_not_keep_the_others(site: Site) -> None:
    site.send([batch(1, b"no"), batch(1, b"no", stream=SHOP, service="shop"), batch(2, b"no")])

    def send(batches: Sequence[Batch]) -> None:
        if any(one.header.service == "shop" for one in batches):
            raise Misconfigured("the token is not for shop")
        site.send(batches)

    letters = {name: site.kept.letters.get(name) for name in site.names()}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            "collector.replayer.remade",
            lambda letter, _: batch(
                letter.first, line(letter.first), stream=letter.stream, service=letter.service, replay=True
            ),
        )
        played = {one.id: one for one in Replayer([site.kept.letters], send, FakeClock(START)).play(letters)}
    assert {name: one.fate for name, one in played.items()} == {
        f"{PAY}:1": Fate.STORED, f"{SHOP}:1": Fate.UNPLAYABLE, f"{PAY}:2": Fate.STORED,
    }  # fmt: skip
    assert "not for shop" in played[f"{SHOP}:1"].why
    assert site.names() == [f"{SHOP}:1"]


def test_a_body_whose_header_was_unreadable_gets_numbers_of_its_own_the_same_each_time(site: Site) -> None:
    good = site.record(batch(1, line(1), line(2)))
    site.kept.sink.write([dataclasses.replace(good, header=b"nonsense")])
    [name] = site.names()
    assert [one.fate for one in site.play(name)] == [Fate.STORED]
    [first, second] = site.kept.ids()
    assert first.startswith("replay")
    site.send(site.sent)
    assert site.kept.ids() == [first, second]
    assert site.names() == []


def test_a_void_letter_is_found_under_its_old_name_too(site: Site) -> None:
    site.send([batch(4, line(4), line(5)).void("spool full")])
    [name] = site.names()
    assert name == f"{PAY}:4+2:void"
    for each in (name, f"{PAY}:4+2"):
        letter = site.kept.letters.get(each)
        assert letter is not None
        assert letter.reason == "void: spool full"
    assert site.kept.letters.get(f"{PAY}:4+3") is None


def test_a_void_letter_can_not_be_sent_again_and_says_so(site: Site) -> None:
    site.send([batch(1, line(1)).void("spool full")])
    [played] = site.play(f"{PAY}:1+1", repaired=line(1))
    assert (played.fate, len(site.sent)) == (Fate.UNPLAYABLE, 1)
    assert "no bytes" in played.why


def test_a_foreign_record_is_mended_in_its_own_words(site: Site) -> None:
    site.foreign(b'{"msg": cut off')
    site.foreign(b"")
    stream = foreign_stream("here", TP)
    assert [one.fate for one in site.play(f"{stream}:1", f"{stream}:2")] == [Fate.UNPLAYABLE, Fate.UNPLAYABLE]
    [played] = site.play(f"{stream}:1", repaired=b'{"msg": "cut off", "level": "warn", "app": "billing"}\n')
    assert played.fate is Fate.STORED
    assert site.sent[0].header.service == "billing"
    event = json.loads(site.sent[0].body)
    assert (event["message"], event["log"]["level"], event["event"]["sequence"]) == ("cut off", "WARNING", 1)
    assert site.kept.ids() == [f"{stream}:1"]
    assert site.names() == [f"{stream}:2"]


def test_many_are_sent_together_and_each_is_answered_for(site: Site) -> None:
    sound = [batch(first, line(first), line(first + 1)) for first in (1, 3, 5, 7)]
    site.send([Batch(one.header, one.body.replace(b"paid", b"PAID")) for one in sound])
    site.send([batch(9, b"no")])
    played = {one.id: one.fate for one in site.play(*site.names())}
    assert list(played.values()).count(Fate.STORED) == 4
    assert played[f"{PAY}:9"] is Fate.UNPLAYABLE
    assert site.names() == [f"{PAY}:9"]
    assert len(site.kept.ids()) == 8


def test_original_and_replay_that_a_new_sink_reads_in_one_go_store_the_mended_event(site: Site) -> None:
    first, mended = batch(1, line(1), b"no", line(3)), batch(2, line(2, "mended"))
    replay = Batch(dataclasses.replace(mended.header, replay=True), mended.body)
    site.kept.sink.write([site.record(first), site.record(replay), site.record(replay), site.record(batch(4, line(4)))])
    assert site.kept.ids() == [f"{PAY}:{number}" for number in (1, 2, 3, 4)]
