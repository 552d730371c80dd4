"""Holds every stream against every sink's ledger, as soon as that can be asked of it, and keeps what is wrong.

Looks only at streams of which something is open; a stream that is proven costs nothing until its next beat. No I/O but
what the ledger has read already.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import NamedTuple

from collector.ledger.intervals import Interval
from collector.ledger.rebuild import LetGo
from collector.ports import TopicPartition

from .accounts import Accounts
from .barrier import Barriers
from .findings import KEPT_S, Finding
from .reconcile import Facts, Judged, Verdict, acked_by, cut, judge, size
from .said import AUDITED, Boot, Gone, Mark, Roll, Stream, day_of

log = logging.getLogger("lastbeat.audit")

Name = tuple[str, str]
"""A sink, and a stream."""

LIVES_BEFORE_S = 3_600.0
"""Of a sink that is new, nothing older than this is asked for: the journal may not have had it any more."""
LIES_EVERY_S = 2.0
SWEEP_S_A_BOOT = 5e-4
FORGET_S = 86_400.0
KEEP_OPEN_S = 35 * 86_400.0
"""A boot that ended is forgotten after the one if it is settled, after the other in any case; and after twice that for
good, so that nothing which is counted of it can be taken back."""


KEEP_NAMES_S = 800 * 86_400.0
"""Longer than any store keeps an account of a day, unless it is told to keep days for longer: who asks the accounts
themselves must know until then what is counted already."""


class Assessor:
    """Used by the auditor's thread. `findings` by their keys; `changed` are those to be kept, `wrong` what was judged
    of each stream that isn't well."""

    def __init__(self, roll: Roll, accounts: Accounts, barriers: Barriers) -> None:
        self._roll, self._accounts, self._barriers = roll, accounts, barriers
        self.findings: dict[str, Finding] = {}
        self.changed: set[str] = set()
        self.unreadable: dict[str, str] = {}
        """Rows of State that make no sense, by their keys, and why."""
        self.wrong: dict[Name, Judged] = {}
        self.killed: dict[Name, Interval] = {}
        """What a kill cut off of each stream, counted by whoever found its spool."""
        self.news = False
        """Whether there is anything that a statement should not wait to say."""
        self.sinks: dict[str, float] = {}
        """Since when each sink is known, by the wall clock."""
        self._asked: list[str] = []
        """Of these, those whose account is there: the others are asked when it is."""
        self.away: dict[str, float] = {}
        """The same of those that are no longer kept: should one be kept again, all that it owed it owes still."""
        self.begun: dict[str, float] = {}
        """Of when each sink's account is that things are proven by, also of those that are away."""
        self._open: dict[str, None] = {}
        self._over: dict[str, int] = {}
        self._suspected: dict[Name, tuple[float, int]] = {}
        self._passed: dict[tuple[str, str], int] = {}
        """Up to which round each sink has read each topic. It never falls, though barriers are let go."""
        self._outlived: dict[tuple[str, TopicPartition], int] = {}
        """Positions that were beyond the end."""
        self._sweep_at = float("-inf")
        self._lies_at = float("-inf")
        self._lying: Mapping[str, Mapping[str, str]] = {}

    def take(self, boots: Iterable[str]) -> None:
        """Something was heard of these: they are looked at again."""
        self._open.update(dict.fromkeys(boots))

    def hear(self, boot: Boot) -> None:
        """A beat of this boot was read, in order. Of a sink's time before it was known, others are read later than it
        was met: what they say is as old as what was read before."""
        self._open[boot.boot] = None
        for sink, since in self.sinks.items():
            if boot.at < since and boot.born_at <= since - LIVES_BEFORE_S:
                self._exempt(boot, sink)

    def _exempt(self, boot: Boot, sink: str) -> None:
        for stream in boot.datasets.values():
            stream.spare(sink, stream.acked)
        self._roll.touched.add(boot.boot)

    def step(self, round_: int, seen: float, now: float) -> None:
        """Judge what can be. The ledger was read after the beats of this round, and before its ends were asked for."""
        self._meet_sinks(now)
        self._asked = [sink for sink in self.sinks if sink in self._accounts.sinks]
        for sink in self._asked:
            begun_at = self._accounts.begun_at(sink)
            if begun_at != self.begun.setdefault(sink, begun_at):
                self._doubt(sink)
                self.begun[sink] = begun_at
        if seen >= self._lies_at:
            self._lies_at = seen + LIES_EVERY_S
            self._lying = {sink: {lie.stream: lie.words for lie in self._accounts.lies(sink)} for sink in self._asked}
        if seen >= self._sweep_at:
            self._sweep()
            self._sweep_at = seen + max(1.0, len(self._roll.boots) * SWEEP_S_A_BOOT)
        passed: dict[tuple[str, str], int] = {}
        for name in list(self._open):
            boot = self._roll.boots.get(name)
            if boot is None or self._look(boot, passed, round_, seen, now):
                del self._open[name]

    def _look(self, boot: Boot, passed: dict[tuple[str, str], int], round_: int, seen: float, now: float) -> bool:
        """Judge one boot; whether nothing of it is open."""
        over = self._is_over(boot, round_)
        settled = len(self._asked) == len(self.sinks)
        for dataset, stream in boot.datasets.items():
            topic, name = f"lastbeat.{boot.region}.{dataset}", boot.stream(dataset)
            self._see_its_end(boot, name, stream, round_, seen)
            for sink in self._asked:
                at = passed.get((sink, topic))
                if at is None:
                    at = passed[sink, topic] = self.passed(sink, topic)
                whole = self._is_whole(boot, name, stream, sink, at)
                if whole is not None:
                    settled &= whole
                    continue
                facts = self._facts(boot, name, stream, sink, at, over, seen)
                judged = judge(facts, partial(self._accounts.missing, sink, name))
                self._note(boot, dataset, stream, sink, judged, now)
                # A tail is asked for no more: should any of it come, the statement sees it by itself.
                settled &= not judged.holes and (judged.proven >= facts.last or bool(judged.tail))
            low = min((passed[sink, topic] for sink in self._asked), default=-1)
            stream.prune(low, seen - boot.interval_s)
        return settled and bool(self.sinks)

    def _is_whole(self, boot: Boot, name: str, stream: Stream, sink: str, passed: int) -> bool | None:
        """Whether a stream of which nothing is missing, nor ever was, is proven to its end: what judging would come to,
        and nearly all come to, for a third of the time. None if there is more to be said."""
        proven, last = stream.proven_to(sink), max(stream.last, self._accounts.last(sink, name))
        if last > proven and self._accounts.missing(sink, name, proven + 1, last):
            return None
        pair = sink, name
        if pair in self.wrong or pair in self._suspected or Finding.key_of(sink, name) in self.findings:
            return None
        if (acked := min(last, acked_by(stream.marks, passed))) > proven:
            stream.proven[sink] = proven = acked
            self._roll.touched.add(boot.boot)
        return proven >= last

    def passed(self, sink: str, topic: str) -> int:
        """The last round whose barrier a sink has passed in a topic. It never falls: what was passed stays so."""
        passed = self._barriers.passed(topic, partial(self._position, sink))
        self._passed[sink, topic] = passed = max(passed, self._passed.get((sink, topic), -1))
        return passed

    def _position(self, sink: str, tp: TopicPartition) -> int | None:
        """Up to where a sink was read; None while that is of a journal that is no more. One that has begun anew ends
        below it, and may have grown beyond it before the sink is back and begins there too."""
        at, end, place = self._accounts.position(sink, tp), self._barriers.end(tp), (sink, tp)
        if at is not None and end is not None and (at > end or self._outlived.get(place) == at):
            self._outlived[place] = at
            return None
        self._outlived.pop(place, None)
        return at

    def _facts(
        self, boot: Boot, name: str, stream: Stream, sink: str, passed: int, over: int | None, seen: float
    ) -> Facts:
        finding = self.findings.get(Finding.key_of(sink, name))
        judged = (
            finding.judged if finding is not None else 0
        )  # it was passed once: a restart, or a stall, undoes nothing
        return Facts(
            last=max(stream.last, self._accounts.last(sink, name), judged),
            acked=max(judged, acked_by(stream.marks, passed)),
            ripe=max(judged, acked_by(stream.marks, passed, seen if boot.stopping else seen - boot.interval_s)),
            proven=stream.proven_to(sink),
            over=over is not None and over <= passed,
            spooled=bool(boot.spooled),
            lying=bool(boot.lying) or name in self._lying.get(sink, ()),
            dropped=len(stream.dropped),
        )

    def _note(self, boot: Boot, dataset: str, stream: Stream, sink: str, judged: Judged, now: float) -> None:
        name = sink, boot.stream(dataset)
        if judged.proven > stream.proven_to(sink):
            stream.proven[sink] = judged.proven
            self._roll.touched.add(boot.boot)
        if judged.holes or judged.tail:
            self.wrong[name] = judged
        else:
            self.wrong.pop(name, None)
        if judged.holes:
            self._suspected.setdefault(name, (boot.at, boot.number))
        self._find(boot, dataset, name, judged, now)
        if not judged.holes:
            self._suspected.pop(name, None)

    def _find(self, boot: Boot, dataset: str, name: Name, judged: Judged, now: float) -> None:
        sink, stream = name
        key = Finding.key_of(sink, stream)
        finding = self.findings.get(key)
        if finding is None:
            if not judged.ripe or judged.verdict is Verdict.LYING:
                return  # of who contradicts himself nothing is known, not even a loss: that is told by itself
            since, beat = self._suspected[name]
            day = self._accounts.day_of(sink, stream, judged.ripe[0][0] - 1) or day_of(since)
            finding = Finding(
                sink, stream, boot.region, boot.service, boot.instance, dataset, day, since, beat, opened_at=now
            )
        new = finding.now_missing(judged.ripe, now)
        if new is not self.findings.get(key):
            self.findings[key] = new
            self.changed.add(key)

    def _is_over(self, boot: Boot, round_: int) -> int | None:
        """The round in which it was first seen to have ended, or to be silent for long; None while it lives."""
        if boot.stopping or self._roll.is_silent(boot):
            return self._over.setdefault(boot.boot, round_)
        self._over.pop(boot.boot, None)
        return None

    def _see_its_end(self, boot: Boot, name: str, stream: Stream, round_: int, seen: float) -> None:
        """Numbers were given up beyond the last that a process spoke of: that is what a kill cut off. Whoever sent that
        void batch had sent all below it before, so that is as good as a last beat."""
        for sink in self._asked:
            tail = self._accounts.void_tail(sink, name)
            if tail is None or tail[1] <= stream.said:
                self.killed.pop((sink, name), None)
                continue
            if boot.stopping or self._roll.is_late(boot):
                self.news |= self.killed.get((sink, name)) != tail
                self.killed[sink, name] = tail
            if tail[1] > stream.acked:
                stream.last = max(stream.last, tail[1])
                stream.acked = tail[1]
                stream.mark(Mark(round_, seen, tail[1]))
                self._roll.touched.add(boot.boot)

    def _sweep(self) -> None:
        """Of who ended, more may still come, sent by whoever found its spool: nobody speaks of that beforehand."""
        for boot in self._roll.boots.values():
            if boot.boot in self._open or not (boot.stopping or self._roll.is_late(boot)):
                continue
            for dataset in AUDITED:
                known = max((self._accounts.last(sink, boot.stream(dataset)) for sink in self.sinks), default=0)
                if known and dataset not in boot.datasets:  # it ended before a beat spoke of these
                    boot.datasets[dataset] = Stream(floor=0 if self._roll.is_whole(boot) else known)
                if known > (boot.datasets[dataset].said if dataset in boot.datasets else 0):
                    self._open[boot.boot] = None

    def _meet_sinks(self, now: float) -> None:
        """What a sink has not had the chance to store is not asked of it: numbers of old boots that were durable before
        it kept accounts. One that was switched off and goes on with the same account had that chance; so had one whose
        account is lost for now: that is made anew from what it stored."""
        known = self._accounts.sinks
        for sink in self.sinks.keys() - {*known, *self._accounts.absent}:
            self._retire(sink, now)
        for sink in known:
            if sink in self.sinks:
                continue
            since = self.away.pop(sink, now)
            goes_on = self.begun.get(sink) == self._accounts.begun_at(sink)
            self.sinks[sink] = since if goes_on else now
            for boot in self._roll.boots.values():
                self._open[boot.boot] = None
                if not goes_on and boot.born_at <= now - LIVES_BEFORE_S:
                    self._exempt(boot, sink)

    def _retire(self, sink: str, now: float) -> None:
        """Nobody keeps its account any more: nothing is asked of it."""
        log.warning("%s is no longer kept, and no longer audited", sink)
        self.away[sink] = self.sinks.pop(sink)
        for of in (self.wrong, self.killed, self._suspected):
            for name in [name for name in of if name[0] == sink]:
                del of[name]
        for key, finding in list(self.findings.items()):
            if finding.sink == sink:
                self._give_up(key, now)

    def _doubt(self, sink: str) -> None:
        """A sink's account was made anew from its store: what was there may be there no more, and is proven again. Days
        that a store has let go on purpose can't be: of who lived on one of them, what is held begins later."""
        let_go = self._accounts.let_go(sink)
        for boot in self._roll.boots.values():
            for dataset, stream in boot.datasets.items():
                stream.doubt(sink, self._begins_behind(boot, dataset, sink, let_go))
            self._open[boot.boot] = None
            self._roll.touched.add(boot.boot)

    def _begins_behind(self, boot: Boot, dataset: str, sink: str, let_go: LetGo) -> int:
        """Up to which number a stream may be gone with days that a store has let go on purpose."""
        if not any(let_go(dataset, boot.region, day) for day in boot.days()):
            return 0
        lacks = self._accounts.missing(sink, boot.stream(dataset), 1, max(boot.datasets[dataset].last, 1))
        return lacks[0][1] if lacks and lacks[0][0] == 1 else 0

    def resume(self) -> None:
        """After a start, with what was kept: an account that lacks what was proven by it is older than that. A backup
        of the one was put back without the other, and all is proven again."""
        for sink in self.sinks.keys() & set(self._accounts.sinks):
            if any(self._lacking(sink, lambda stream, sink: (stream.spared_to(sink) + 1, stream.proven_to(sink)))):
                log.warning("the account of %s lacks what was in it before: all is proven again", sink)
                self._doubt(sink)

    def unjudged(self) -> dict[str, int]:
        """How many events each sink lacks below where the judging of streams begins, but for days that it let go."""
        lacks = {sink: size(self._lacking(sink, lambda stream, _: (1, stream.floor))) for sink in self._asked}
        return {sink: number for sink, number in lacks.items() if number}

    def _lacking(self, sink: str, of: Callable[[Stream, str], Interval]) -> Iterator[Interval]:
        """What an account lacks of these numbers of each stream, but for days that its store let go: which they are is
        asked of State, and only if anything is lacking."""
        let_go: LetGo | None = None
        for boot in self._roll.boots.values():
            for dataset, stream in boot.datasets.items():
                first, last = of(stream, sink)
                if first <= last and (lacks := self._accounts.missing(sink, boot.stream(dataset), first, last)):
                    let_go = let_go or self._accounts.let_go(sink)
                    yield from cut(lacks, self._begins_behind(boot, dataset, sink, let_go) + 1, last)

    def forget(self, now: float) -> None:
        """Let go of boots that ended long ago, and of findings that are over."""
        self._look_back(now)
        for boot in list(self._roll.boots.values()):
            age_s = now - boot.at
            if age_s <= FORGET_S or not (boot.stopping or self._roll.is_silent(boot)):
                continue
            if age_s > KEEP_OPEN_S or self._is_settled(boot):
                self._drop(boot, now)
        for key, finding in list(self.findings.items()):
            if finding.ended_at is not None and now - finding.ended_at > KEPT_S:
                del self.findings[key]
                self.changed.add(key)
            elif now - finding.opened_at > KEEP_OPEN_S and finding.stream.partition(".")[0] not in self._roll.boots:
                self._give_up(key, now)

    def _look_back(self, now: float) -> None:
        """What came of the forgotten after all isn't counted as gone any more: they are known again until it is."""
        self._roll.unbury(now - KEEP_NAMES_S)
        for name, grave in list(self._roll.graves.items()):
            boot = grave.boot
            if now - boot.at > 2 * KEEP_OPEN_S:
                self._roll.bury(name)
            elif any(
                each.sink in self.sinks and self._lacks(boot, each.dataset, each.sink) < sum(each.counts.values())
                for each in grave.gone
            ):
                self._roll.revive(name)
                self._open[name] = None

    def _lacks(self, boot: Boot, dataset: str, sink: str) -> int:
        return size(self._gone(boot, dataset, sink))

    def _gone(self, boot: Boot, dataset: str, sink: str) -> list[Interval]:
        name, stream = boot.stream(dataset), boot.datasets[dataset]
        proven, last = stream.proven_to(sink), max(stream.last, self._accounts.last(sink, name))
        return self._accounts.missing(sink, name, proven + 1, last) if last > proven else []

    def _is_settled(self, boot: Boot) -> bool:
        """Whether nothing of it is missing; a tail that its process took with it will not come after a day either."""
        return all(
            not (self.wrong[name].holes if name in self.wrong else stream.last > stream.proven_to(sink))
            for sink in self.sinks
            for dataset, stream in boot.datasets.items()
            for name in [(sink, boot.stream(dataset))]
        )

    def _drop(self, boot: Boot, now: float) -> None:
        gone = [
            Gone(sink, dataset, lack.day, {name: number for name, number in lack.counts.items() if number})
            for dataset in boot.datasets
            for sink in self.sinks
            if (lack := self.lack_of(boot, dataset, sink)) is not None
        ]
        for dataset in boot.datasets:
            for sink in self.sinks:
                self._give_up(Finding.key_of(sink, boot.stream(dataset)), now)
                self.wrong.pop((sink, boot.stream(dataset)), None)
                self.killed.pop((sink, boot.stream(dataset)), None)
        self._over.pop(boot.boot, None)
        self._open.pop(boot.boot, None)
        self._roll.forget(boot, gone)

    def _give_up(self, key: str, now: float) -> None:
        finding = self.findings.get(key)
        if finding is not None and finding.ended_at is None:
            self.findings[key] = finding.give_up(now)
            self.changed.add(key)

    # --- what others ask ---

    def lie_of(self, boot: Boot, sink: str, stream: str) -> str:
        """Why a stream's counts can't be believed; '' if they can."""
        return boot.lying or self._lying.get(sink, {}).get(stream, "")

    def lack_of(self, boot: Boot, dataset: str, sink: str) -> Lack | None:
        """What of one stream is in no interval of one sink; None if nothing is."""
        name, gone = boot.stream(dataset), self._gone(boot, dataset, sink)
        if not gone:
            return None
        judged = self.wrong.get((sink, name))
        holes = _common(gone, judged.holes) if judged is not None else ()
        tail = _common(gone, judged.tail) if judged is not None else ()
        counts = {"unaccounted": size(holes), "tail": size(tail)}
        counts["flight"] = size(gone) - sum(counts.values())
        return Lack(self._accounts.day_of(sink, name, gone[0][0] - 1) or day_of(boot.at), counts, tail)


class Lack(NamedTuple):
    """What a sink does not have of a stream: the day it is counted under, how many of which kind, and the tail."""

    day: str
    counts: Mapping[str, int]
    tail: tuple[Interval, ...]


def _common(these: Sequence[Interval], those: Sequence[Interval]) -> tuple[Interval, ...]:
    return tuple(part for first, last in those for part in cut(these, first, last))
