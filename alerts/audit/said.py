"""What processes said of themselves: of each boot and dataset the last number given, what of it is durable, and what
was dropped before it had a number, by reason and day.

Applies beats in the order in which they are read; a beat that was read before changes nothing. Pure: no I/O, no clock.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple
from zlib import crc32

from alerts.beat import Beat
from collector.ports import TopicPartition

from .folded import Folded

AUDITED = ("business", "console", "metrics")
"""The datasets whose numbers beats speak of. The beats' own are the watch's business."""
MAX_MARKS = 8
MAX_GROWTH_S = 2.0
"""What one record may add to a partition's pulse: a silence of everybody is nobody's."""


class Mark(NamedTuple):
    """`acked` as a beat said it that was read in `round`, at `seen` by the auditor's monotonic clock."""

    round: int
    seen: float
    acked: int


@dataclass(slots=True)
class Stream:
    """One dataset of one boot. `last` is the greatest number that is known of, `said` the greatest it spoke of.
    `floor`: numbers up to here were durable before anybody kept accounts, and are not judged. `proven`: up to here all
    are accounted for, by sink, so that they need not be looked at again; `exempt`: up to here they are not judged
    there."""

    last: int = 0
    said: int = 0
    acked: int = 0
    floor: int = 0
    proven: dict[str, int] = field(default_factory=dict)
    dropped: dict[str, dict[str, int]] = field(default_factory=dict)
    marks: tuple[Mark, ...] = ()
    exempt: dict[str, int] = field(default_factory=dict)

    def spare(self, sink: str, number: int) -> None:
        """Never ask `sink` for anything up to this number."""
        self.exempt[sink] = max(number, self.exempt.get(sink, 0))
        self.proven[sink] = max(number, self.proven_to(sink))

    def doubt(self, sink: str, from_: int) -> None:
        """What is above `from_` is to be proven again, but for what is spared."""
        self.proven[sink] = min(self.proven_to(sink), max(from_, self.spared_to(sink)))

    def spared_to(self, sink: str) -> int:
        """Up to where nothing was ever to be judged of it in `sink`."""
        return max(self.floor, self.exempt.get(sink, 0))

    def proven_to(self, sink: str) -> int:
        """Up to where nothing is left to be judged of it in `sink`."""
        return self.proven.get(sink, self.floor)

    def mark(self, mark: Mark) -> None:
        """Remember a greater `acked`. Of too many, one in the middle goes: then less is judged until later."""
        if not self.marks or mark.acked > self.marks[-1].acked:
            kept = self.marks if len(self.marks) < MAX_MARKS else (*self.marks[:2], *self.marks[3:])
            self.marks = (*kept, mark)

    def prune(self, round_: int, seen: float) -> None:
        """Forget the marks that a later one makes useless: it is held to everywhere, and old enough."""
        for index in range(len(self.marks) - 1, 0, -1):
            if self.marks[index].round <= round_ and self.marks[index].seen <= seen:
                self.marks = self.marks[index:]
                return

    def dropped_in_all(self) -> dict[str, int]:
        """What was dropped, by reason."""
        return _sum(self.dropped.values())


@dataclass(slots=True)
class Boot:
    """One start of one process, as its newest beat has it. `heard` is the pulse of its partition at that beat, `whole`
    says that its beats were read from the first. `lying` says why its counts can't be believed."""

    boot: str
    region: str
    service: str
    instance: str
    tp: TopicPartition
    number: int = 0
    offset: int = -1
    at: float = 0.0
    born_at: float = 0.0
    interval_s: float = 10.0
    grace_s: float = 20.0
    stopping: bool = False
    spooled: bool | None = None
    heard: float = 0.0
    lying: str = ""
    datasets: dict[str, Stream] = field(default_factory=dict)

    def stream(self, dataset: str) -> str:
        """The stream's name."""
        return f"{self.boot}.{dataset}"

    def days(self) -> Iterator[str]:
        """The days that it lived on, UTC: the last thousand of them, whatever it says of its age."""
        born_at = max(self.born_at, self.at - 1_000 * 86_400.0)
        first, last = (datetime.fromtimestamp(at, UTC).date() for at in (born_at, self.at))
        return ((first + timedelta(days=number)).isoformat() for number in range((last - first).days + 1))


class Gone(NamedTuple):
    """What a sink did not have of one dataset of a boot when that was forgotten: `counts` as in a statement's line."""

    sink: str
    dataset: str
    day: str
    counts: Mapping[str, int]


class Grave(NamedTuple):
    """A forgotten boot that is counted in what is folded: should it be heard of again, that is taken back."""

    boot: Boot
    gone: tuple[Gone, ...]


@dataclass(slots=True)
class Pulse:
    """One partition of beats: its own time, which grows by MAX_GROWTH_S a record at most, and since when it is read."""

    now: float = 0.0
    last_at: float = 0.0
    since: float = 0.0


class Roll:
    """Every boot that was ever heard of and isn't forgotten. `touched` are the boots that changed, for whoever keeps
    them and whoever judges them. Of the forgotten, `folded` has what they dropped, by day and `region/service/dataset`,
    and `gone` what sinks did not have of them, by day and `region/service/dataset/sink`. `buried` are those of
    whom that is counted for good, and when they were last heard."""

    def __init__(self) -> None:
        self.boots: dict[str, Boot] = {}
        self.pulses: dict[TopicPartition, Pulse] = {}
        self.touched: set[str] = set()
        self.folded, self.gone = Folded(), Folded()
        self.graves: dict[str, Grave] = {}
        self.buried: dict[str, float] = {}

    def pass_by(self, tp: TopicPartition, appended_at: float) -> Pulse:
        """A record of this partition was read, whatever it says."""
        pulse = self.pulses.get(tp)
        if pulse is None:
            pulse = self.pulses[tp] = Pulse(last_at=appended_at, since=appended_at)
        if math.isinf(pulse.since):
            pulse.since = appended_at
        pulse.now += min(max(0.0, appended_at - pulse.last_at), MAX_GROWTH_S)
        pulse.last_at = max(pulse.last_at, appended_at)
        return pulse

    def miss(self, tp: TopicPartition) -> None:
        """Records were gone before they were read: who is heard of first behind them may be older than what is read."""
        if tp in self.pulses:
            self.pulses[tp].since = math.inf

    def apply(self, beat: Beat, tp: TopicPartition, offset: int, round_: int, seen: float) -> Boot | None:
        """Take in a beat; the boot if it says anything new. `pass_by` comes first."""
        grave = self.graves.get(beat.boot)
        if grave is not None and beat.number > grave.boot.number:
            self.revive(beat.boot)
        boot = self.boots.get(beat.boot, grave.boot if grave is not None else None)
        if boot is not None and not _is_of(boot, beat):
            boot.lying = boot.lying or f"its boot id is also used by {beat.region}/{beat.service}/{beat.instance}"
            self.touched.add(boot.boot)
            return None
        if boot is not None and beat.number <= boot.number:
            return None
        pulse = self.pulses[tp]
        is_whole = True
        if boot is None:
            born_at = beat.at - beat.uptime_s
            is_whole = beat.number == 1 or born_at >= pulse.since
            boot = self.boots[beat.boot] = Boot(
                beat.boot, beat.region, beat.service, beat.instance, tp, born_at=born_at
            )
        boot.number, boot.offset, boot.at, boot.tp = beat.number, offset, beat.at, tp
        boot.interval_s, boot.grace_s, boot.stopping = beat.interval_s, beat.grace_s, beat.stopping
        boot.spooled, boot.heard = beat.info.spooled, pulse.now
        for dataset, counts in beat.info.streams.items():
            if dataset in AUDITED:
                self._count(boot, dataset, counts, beat, is_whole=is_whole, mark=(round_, seen))
        self.touched.add(boot.boot)
        return boot

    def _count(
        self,
        boot: Boot,
        dataset: str,
        counts: Mapping[str, int],
        beat: Beat,
        *,
        is_whole: bool,
        mark: tuple[int, float],
    ) -> None:
        stream = boot.datasets.get(dataset)
        if stream is None:
            stream = boot.datasets[dataset] = Stream()
            stream.floor = 0 if is_whole else min(counts["acked"], counts["last"])
        if counts["last"] < stream.said or counts["acked"] > counts["last"]:
            boot.lying = boot.lying or f"its beat {beat.number} counts {dataset} backwards, or more as kept than it had"
        stream.said = max(stream.said, counts["last"])
        stream.last = max(stream.last, stream.said)
        stream.acked = max(stream.acked, min(counts["acked"], stream.last))
        stream.mark(Mark(*mark, stream.acked))
        if reasons := beat.info.reasons.get(dataset):
            _drop(stream, reasons, day_of(beat.at))

    def is_silent(self, boot: Boot) -> bool:
        """Whether it was not heard for thrice as long as it may be silent, by the time of its partition."""
        pulse = self.pulses.get(boot.tp)
        allowed_s = max(60.0, 3 * (boot.interval_s + boot.grace_s))
        return pulse is not None and pulse.now - boot.heard > allowed_s

    def is_whole(self, boot: Boot) -> bool:
        """Whether it was born after its partition began to be read, so that all its beats were."""
        pulse = self.pulses.get(boot.tp)
        return boot.number == 1 or (pulse is not None and boot.born_at >= pulse.since)

    def is_late(self, boot: Boot) -> bool:
        """Whether its next beat should have come by now."""
        pulse = self.pulses.get(boot.tp)
        return pulse is not None and pulse.now - boot.heard > 1.5 * boot.interval_s + 1

    def forget(self, boot: Boot, gone: Iterable[Gone] = ()) -> None:
        """Let go of a boot; what it dropped, and what is gone of it, stays counted."""
        grave = Grave(boot, tuple(gone))
        self._fold(grave, 1)
        del self.boots[boot.boot]
        if grave.gone or any(stream.dropped for stream in boot.datasets.values()):
            self.graves[boot.boot] = grave
        self.touched.add(boot.boot)

    def revive(self, name: str) -> None:
        """Know a forgotten boot as before: it counts by itself again."""
        grave = self.graves.pop(name)
        self._fold(grave, -1)
        self.boots[name] = grave.boot
        self.touched.add(name)

    def bury(self, name: str) -> None:
        """Keep no more of a forgotten boot than its counts, and its name if something of it is gone."""
        grave = self.graves.pop(name)
        if grave.gone:
            self.buried[name] = grave.boot.at
        self.touched.add(name)

    def unbury(self, before: float) -> None:
        """Forget even the names of those who were last heard before then."""
        for name in [name for name, at in self.buried.items() if at < before]:
            del self.buried[name]
            self.touched.add(name)

    def _fold(self, grave: Grave, sign: int) -> None:
        boot, chunk = grave.boot, chunk_of(grave.boot.boot)
        who = f"{boot.region}/{boot.service}"
        for dataset, stream in boot.datasets.items():
            for day, reasons in stream.dropped.items():
                self.folded.add(chunk, day, f"{who}/{dataset}", reasons, sign)
        for each in grave.gone:
            self.gone.add(chunk, each.day, f"{who}/{each.dataset}/{each.sink}", each.counts, sign)

    def dropped(self) -> Iterator[tuple[str, str, Mapping[str, int]]]:
        """Day, `region/service/dataset` and counts by reason of all that was ever dropped; keys may come again."""
        for boot in self.boots.values():
            for dataset, stream in boot.datasets.items():
                for day, reasons in stream.dropped.items():
                    yield day, f"{boot.region}/{boot.service}/{dataset}", reasons
        yield from self.folded


# --- as documents ---

CHUNKS = 64


def chunk_of(boot: str) -> int:
    """Boots are kept in this many documents, so that a beat a process is no row a beat."""
    return crc32(boot.encode()) % CHUNKS


def chunk_doc(roll: Roll, chunk: int, boots: Iterable[Boot], graves: Iterable[Grave] = ()) -> dict[str, Any]:
    """The boots of one chunk, and what stays of the forgotten of it."""
    return {
        "boots": {each.boot: _boot_doc(each) for each in boots},
        "folded": roll.folded.of(chunk),
        "gone": roll.gone.of(chunk),
        "buried": {name: at for name, at in roll.buried.items() if chunk_of(name) == chunk},
        "graves": {each.boot.boot: [_boot_doc(each.boot), [list(one) for one in each.gone]] for each in graves},
    }


def restore_chunk(roll: Roll, chunk: int, doc: Mapping[str, Any], round_: int, seen: float) -> None:
    """The same, back. What was said before counts as read now."""
    roll.folded.restore(chunk, doc["folded"])
    roll.gone.restore(chunk, doc.get("gone", {}))
    roll.buried.update(doc.get("buried", {}))
    for name, one in doc["boots"].items():
        roll.boots[name] = _boot_from(name, one, round_, seen)
    for name, (one, gone) in doc.get("graves", {}).items():
        roll.graves[name] = Grave(_boot_from(name, one, round_, seen), tuple(Gone(*each) for each in gone))


def _boot_from(name: str, one: Mapping[str, Any], round_: int, seen: float) -> Boot:
    region, service, instance, topic, partition = one["who"]
    number, offset, at, born_at, interval_s, grace_s, stopping, spooled = one["beat"]
    boot = Boot(name, region, service, instance, TopicPartition(topic, partition), number, offset, at, born_at,
                interval_s, grace_s, stopping, spooled, lying=one["lying"])  # fmt: skip
    for dataset, (last, said, acked, floor, proven, dropped, *exempt) in one["datasets"].items():
        stream = Stream(last, said, acked, floor, dict(proven), {day: dict(why) for day, why in dropped.items()})
        stream.exempt = dict(exempt[0]) if exempt else {}
        stream.mark(Mark(round_, seen, acked))
        boot.datasets[dataset] = stream
    return boot


def _boot_doc(boot: Boot) -> dict[str, Any]:
    return {
        "who": [boot.region, boot.service, boot.instance, *boot.tp],
        "beat": [boot.number, boot.offset, boot.at, boot.born_at, boot.interval_s, boot.grace_s, boot.stopping,
                 boot.spooled],
        "lying": boot.lying,
        "datasets": {name: _stream_doc(one) for name, one in boot.datasets.items()},
    }  # fmt: skip


def _stream_doc(one: Stream) -> list[Any]:
    return [one.last, one.said, one.acked, one.floor, one.proven, one.dropped, one.exempt]


def day_of(at: float) -> str:
    """The day of a time, UTC."""
    return datetime.fromtimestamp(at, UTC).date().isoformat()


def _is_of(boot: Boot, beat: Beat) -> bool:
    return (boot.region, boot.service, boot.instance) == (beat.region, beat.service, beat.instance)


def _drop(stream: Stream, reasons: Mapping[str, int], day: str) -> None:
    """What was dropped since the beat before, by its day."""
    before = stream.dropped_in_all()
    for reason, number in reasons.items():
        if (more := number - before.get(reason, 0)) > 0:
            today = stream.dropped.setdefault(day, {})
            today[reason] = today.get(reason, 0) + more


def _sum(counts: Iterable[Mapping[str, int]]) -> dict[str, int]:
    total: dict[str, int] = {}
    for each in counts:
        for reason, number in each.items():
            total[reason] = total.get(reason, 0) + number
    return total
