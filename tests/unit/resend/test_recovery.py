"""Source after source is asked for what is still missing; what is found is sent again, and one failure stops no other.

Broken on purpose, each made a test here fail: every source asked for all of it (the first test), a source's failure
raised (the second), what could not be sent counted as found (the third).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pytest

from collector.resend.recovery import Recovery
from collector.resend.wanted import ARCHIVE, JOURNAL, SPOOL, Asked, Recovered, Wanted, spelled
from shippers.batch import Batch
from shippers.errors import Refused, Unavailable
from tests.unit.lake.events import PAY, batch


class Copies:
    """A source with these batches; after them it fails, if it is to."""

    def __init__(self, name: str, *batches: Batch, fails: str = "") -> None:
        self.name, self.batches, self.fails, self.asked = name, batches, fails, list[Wanted]()

    def find(self, wanted: Wanted) -> Iterator[Batch]:
        self.asked.append(wanted)
        for one in self.batches:
            if wanted.parts(one.header.first, one.header.last):
                yield one
        if self.fails:
            raise Unavailable(self.fails)


class Services:
    """A spool that answers this."""

    def __init__(self, answer: Asked) -> None:
        self.answer, self.asked = answer, list[Wanted]()

    def ask(self, wanted: Wanted) -> Asked:
        self.asked.append(wanted)
        return self.answer


class Sent:
    def __init__(self) -> None:
        self.batches: list[Batch] = []
        self.requests: list[int] = []
        self.refuse: set[int] = set()
        self.away = False

    def __call__(self, batches: Sequence[Batch]) -> None:
        if self.away:
            raise Unavailable("the gateway is away")
        if any(one.header.first in self.refuse for one in batches):
            raise Refused("token", "not yours")
        self.requests.append(len(batches))
        self.batches += batches


def recover(recovery: Recovery, sink: str = "elastic", last: int = 40) -> Recovered:
    return recovery.recover(sink, PAY, 1, last, 0.0, 1.0)


def test_each_source_is_asked_for_what_is_still_missing_in_order() -> None:
    journal, lake = Copies("journal", batch(1, 10)), Copies("lake", batch(5, 10), batch(21, 5))
    elastic, services, send = (
        Copies("elastic", batch(1, 40)),
        Services(Asked(pending=((15, 20),), lacking=((26, 40),))),
        Sent(),
    )
    found = recover(Recovery(journal, {"lake": lake, "elastic": elastic}, services, send))
    assert found.found == {"journal": ((1, 10),), "lake": ((11, 14), (21, 25))}
    assert (found.left, found.pending, found.lacking) == (((15, 20), (26, 40)), ((15, 20),), ((26, 40),))
    assert not found.whole
    assert lake.asked[0].numbers == ((11, 40),)
    assert services.asked[0].numbers == ((15, 20), (26, 40))
    assert elastic.asked == [], "it is the one that lacks them"
    assert [(one.header.first, one.header.count) for one in send.batches] == [(1, 10), (5, 10), (21, 5)]


def test_a_source_that_fails_keeps_no_other_from_being_asked_and_what_it_gave_counts() -> None:
    journal, lake, send = Copies("journal", batch(1, 10), fails="no broker"), Copies("lake", batch(11, 30)), Sent()
    found = recover(Recovery(journal, {"lake": lake}, None, send))
    assert found.found == {"journal": ((1, 10),), "lake": ((11, 40),)}
    assert found.whole
    assert found.trouble == {"journal": "no broker"}


def test_what_the_gateway_refuses_is_not_found_and_costs_no_neighbour() -> None:
    journal, send = Copies("journal", batch(1, 10), batch(11, 10), batch(21, 20)), Sent()
    send.refuse = {11}
    found = recover(Recovery(journal, {}, None, send))
    assert found.left == ((11, 20),)
    assert "not yours" in found.trouble["journal"]
    assert [one.header.first for one in send.batches] == [1, 21]


def test_when_nothing_can_be_sent_that_is_said_to_the_caller() -> None:
    send = Sent()
    send.away = True
    with pytest.raises(Unavailable, match="gateway is away"):
        recover(Recovery(Copies("journal", batch(1, 10)), {"lake": Copies("lake")}, None, send))


def test_one_source_alone_can_be_asked() -> None:
    journal, lake, services = Copies("journal", batch(1, 40)), Copies("lake", batch(1, 40)), Services(Asked())
    recovery = Recovery(journal, {"lake": lake}, services, Sent())
    for only, asked in ((JOURNAL, "journal"), (ARCHIVE, "lake")):
        assert list(recovery.search(Wanted(PAY, ((1, 40),), 0, 1), only=only).found) == [asked]
    assert recovery.search(Wanted(PAY, ((1, 40),), 0, 1), only=SPOOL).left == ((1, 40),)
    assert len(services.asked) == 1


def test_the_journal_s_past_is_read_once_for_the_same_numbers() -> None:
    journal, lake = Copies("journal", batch(1, 10)), Copies("lake")
    recovery = Recovery(journal, {"lake": lake}, None, Sent())
    recover(recovery)
    recover(recovery)
    assert [one.numbers for one in journal.asked] == [((1, 40),), ((1, 10),)], "what it has may be lost once more"
    assert len(lake.asked) == 2, "the archive may have caught up"
    recovery.search(Wanted(PAY, ((1, 45),), 5.0, 10.0))
    assert journal.asked[-1].numbers == ((1, 10), (41, 45))
    recovery.search(Wanted(PAY, ((1, 45),), -5.0, 10.0))
    assert journal.asked[-1].numbers == ((1, 45),), "further back than before"
    failing = Copies("journal", fails="no broker")
    recovery = Recovery(failing, {}, None, Sent())
    recover(recovery)
    recover(recovery)
    assert [one.numbers for one in failing.asked] == [((1, 40),)] * 2


def test_that_numbers_were_given_up_is_sent_again_only_where_nobody_has_the_events() -> None:
    journal = Copies("journal", batch(1, 10), batch(11, 10).void("killed"), batch(21, 20).void("spool full"))
    lake, send = Copies("lake", batch(11, 10)), Sent()
    recovery = Recovery(journal, {"lake": lake}, None, send)
    for _ in range(2):
        found = recover(recovery)
        assert found.found == {"journal": ((1, 10), (21, 40)), "lake": ((11, 20),)}
        assert [(one.header.first, one.header.void) for one in send.batches] == [
            (1, None),
            (11, None),
            (21, "spool full"),
        ]
        send.batches.clear()


def test_requests_are_bounded() -> None:
    send = Sent()
    journal = Copies("journal", *(batch(first, 10) for first in range(1, 1_000, 10)))
    assert recover(Recovery(journal, {}, None, send), last=1_000).whole
    assert max(send.requests) <= 20
    assert sum(send.requests) == 100


def test_numbers_are_spelled_for_people() -> None:
    assert spelled([(1, 3), (5, 5)]) == "1–3, 5"
