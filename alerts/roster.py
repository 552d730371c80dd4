"""The roster: everything that the beats and canaries say, applied in the journal's order. Deterministic, no I/O.

It turns processes to UP and STOPPED, as the beats themselves say so. That one is LATE, DOWN or cut off is the judge's
to say, once a partition has been read to its end.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterator

from collector.ports import Record, TopicPartition

from . import succession
from .beat import BadBeat, Beat, Canary, read
from .paths import Partition, Path
from .processes import Instance, Process, Refusal, Service
from .scopes import MAX_WITNESS_INTERVAL_S, Scope
from .settings import AlertSettings
from .staleness import LIVE, Policy, Verdict

MAX_INSTANCES = 250_000
MAX_PROCESSES = 256
"""Of one instance name; the oldest that have ended are forgotten first."""
KEEP_ENDED = 16
MAX_REFUSALS = 1_000
EXPECTED = LIVE | {Verdict.UNREACHABLE}
"""Whom a scope counts: who is cut off with another scope is silent in this one."""


@dataclasses.dataclass(slots=True)
class Outage:
    """A scope that fell silent at one moment. `whole`: nobody in it was heard any more, so that anybody's beat ends it;
    else a member's beat does. `age_s` was its silence when the judge said so, `pulses` the partitions' pulses then."""

    scope: str
    whole: bool
    age_s: float
    pulses: dict[TopicPartition, float]
    members: set[Process] = dataclasses.field(default_factory=set)


class Roster:
    """All rows in memory. `touched` are services whose incidents must be looked at; `changed` instances whose rows must
    be written, `turned` those to be written at once. The judge and the keeper empty them."""

    def __init__(self, settings: AlertSettings) -> None:
        self._settings = settings
        self.partitions: dict[TopicPartition, Partition] = {}
        self.paths: dict[tuple[TopicPartition, str], Path] = {}
        self.services: dict[str, Service] = {}
        self.instances: dict[tuple[str, str, str], Instance] = {}
        self.scopes: dict[str, Scope] = {}
        self._scope_sets: dict[tuple[str, str, str], tuple[Scope, ...]] = {}
        self.outages: dict[str, Outage] = {}
        self.ended_outages: list[Outage] = []
        self.touched: set[Service] = set()
        self.changed: set[Instance] = set()
        self.turned: set[Instance] = set()
        self.late_evidence: list[tuple[Process, Beat]] = []
        self.refusals: dict[str, Refusal] = {}
        self.counters: Counter[str] = Counter()

    def apply(self, record: Record) -> None:
        """Take in one record. Never raises for what is in it."""
        partition = self.partition(record.tp)
        partition.pulse.record(record.appended_at)
        partition.next_offset = record.next_offset
        try:
            said = read(record)
        except BadBeat:
            self.counters["bad_beats"] += 1
            return
        if isinstance(said, Canary):
            self.counters["canaries"] += 1
            self._canary(partition, said, record.appended_at)
        else:
            self.counters["beats"] += 1
            self._beat(partition, said, record)

    def partition(self, tp: TopicPartition) -> Partition:
        """The partition, new if it is."""
        if tp not in self.partitions:
            self.partitions[tp] = Partition(tp)
        return self.partitions[tp]

    def path(self, partition: Partition, ingress: str) -> Path:
        """The path, new if it is."""
        path = self.paths.get((partition.tp, ingress))
        if path is None:
            path = self.paths[partition.tp, ingress] = Path(partition, ingress)
            path.since = partition.pulse.last_at
        return path

    def now(self) -> float:
        """The journal's time: that of the last record."""
        return max((each.pulse.last_at for each in self.partitions.values()), default=0.0)

    def processes(self) -> Iterator[Process]:
        """Every process."""
        for instance in self.instances.values():
            yield from instance.processes.values()

    # --- canaries ---

    def _canary(self, partition: Partition, canary: Canary, at: float) -> None:
        path = self.path(partition, canary.ingress)
        path.sight.canary(canary.gateway, partition.pulse)
        for key, code in canary.refused.items():
            region, _, rest = key.partition("/")
            service, _, name = rest.partition("/")
            instance = self.instances.get((region, service, name))
            held = self.refusals.get(key)
            if held is None and len(self.refusals) >= MAX_REFUSALS:
                self.counters["untold_refusals"] += 1
                continue
            first_at = at if held is None or held.code != code else held.first_at
            refusal = Refusal(partition.region, key, code, path, path.sight.now, first_at, instance)
            self.refusals[key] = refusal
            if instance is not None:
                instance.refused = refusal

    # --- beats ---

    def _beat(self, partition: Partition, beat: Beat, record: Record) -> None:
        process = self._process(partition, beat)
        if process is None or beat.number <= process.number:
            self.counters["stale_beats" if process else "too_many"] += 1
            return
        process.number = beat.number
        process.offset = record.offset
        self.changed.add(process.instance)
        if beat.age_s > process.policy.interval_s:
            self._old_beat(process, beat)
        else:
            self._fresh_beat(process, beat, partition)

    def _old_beat(self, process: Process, beat: Beat) -> None:
        """A beat from the past says what was, never that it is: it moves no deadline."""
        self.counters["old_beats"] += 1
        process.last = max(process.last, beat.at)
        if beat.stopping:
            self.turn(process, Verdict.STOPPED)
        elif process.verdict is Verdict.DOWN:
            self.late_evidence.append((process, beat))

    def _fresh_beat(self, process: Process, beat: Beat, partition: Partition) -> None:
        path = process.path
        if path.partition is not partition or path.ingress != beat.ingress or process.info.zone != beat.info.zone:
            self._move(process, self.path(partition, beat.ingress), beat.info.zone)
            path = process.path
        process.info = beat.info
        if process.policy.interval_s != beat.interval_s or process.policy.grace_s != beat.grace_s:
            self._promise(process, beat)
        silent_s = partition.pulse.now - beat.age_s - process.pulse
        has_missed = process.live and silent_s > process.policy.late_s
        process.last = beat.at
        process.heard = path.sight.moment(partition.pulse.now) - beat.age_s
        process.pulse = partition.pulse.now - beat.age_s
        process.floor = float("-inf")
        process.released = False
        if process.instance.refused is not None:
            self.refusals.pop(process.instance.key, None)
            process.instance.refused = None
        if process.via != beat.via:
            if process.live:
                path.sight.carry(process.via, beat.via)
            process.via = beat.via
        self._testify(process, has_missed=has_missed)
        if self.outages:
            self._end_outages(process)
        self._come_back(process)
        self.turn(process, Verdict.STOPPED if beat.stopping else Verdict.UP)
        if not beat.stopping:
            path.schedule(process, process.heard + process.policy.late_s)

    @staticmethod
    def _testify(process: Process, *, has_missed: bool) -> None:
        pulse = process.path.partition.pulse
        is_witness = process.path.sight.is_steady(process.via, pulse)
        for scope in process.scopes:
            if is_witness:
                scope.hear(pulse, process.pulse)
            if has_missed:
                scope.resume(process.service_key, pulse, process.pulse)

    def _come_back(self, process: Process) -> None:
        """Its own beat shows that a process was never replaced; a new one shows that it replaces another."""
        instance = process.instance
        if process.replaced:
            succession.undo(instance, process)
        if not process.judged:
            process.judged = True
            self.match_successors(instance)

    def match_successors(self, instance: Instance) -> None:
        """Each process that ended without a goodbye and has a successor was restarted: that is no death."""
        if succession.match(instance):
            self._refresh(instance)
            self.touched.add(instance.service)

    def _process(self, partition: Partition, beat: Beat) -> Process | None:
        instance = self.instances.get((beat.region, beat.service, beat.instance))
        if instance is None:
            instance = self._instance(beat)
            if instance is None:
                return None
        process = instance.processes.get(beat.boot)
        if process is None and self._has_room(instance):
            policy = self._policy(instance.service, beat)
            process = Process(instance, beat.boot, self.path(partition, beat.ingress), policy, beat.info)
            process.first_at = process.last = beat.at
            process.started_at = beat.at - beat.uptime_s
            process.born = process.pulse = partition.pulse.now - beat.age_s
            process.started_pulse = process.born - beat.uptime_s
            process.via = beat.via
            process.scopes = self.scopes_of(process, beat.info.zone)
            instance.processes[beat.boot] = process
        return process

    def _instance(self, beat: Beat) -> Instance | None:
        if len(self.instances) >= MAX_INSTANCES:
            return None
        return self.add_instance(beat.region, beat.service, beat.instance, beat.at)

    def add_instance(self, region: str, service_name: str, name: str, at: float) -> Instance:
        """A new row, not live until a beat says so."""
        service = self.services.get(f"{region}/{service_name}")
        if service is None:
            minimum = self._settings.of_service(region, service_name).minimum
            service = self.services[f"{region}/{service_name}"] = Service(region, service_name, minimum, at)
        instance = self.instances[region, service_name, name] = Instance(service, name, at)
        service.instances[name] = instance
        service.recount(None, instance.verdict)
        self.touched.add(service)
        return instance

    @staticmethod
    def _has_room(instance: Instance) -> bool:
        ended = sorted((each for each in instance.processes.values() if not each.live), key=lambda each: each.last)
        for old in ended[: max(0, len(ended) - KEEP_ENDED)]:
            if old.replaced or old.verdict is Verdict.STOPPED:
                del instance.processes[old.boot]
        return len(instance.processes) < MAX_PROCESSES

    def is_forgotten(self, verdict: Verdict, last: float) -> bool:
        """Whether an instance that ended, in order or long replaced, is too long gone to be kept in memory."""
        return verdict is Verdict.STOPPED and self.now() - last > self._settings.forget_after_s

    def forget(self) -> None:
        """Let go of instances that ended long ago; a dead one counts as ended while its service does well without it.
        Their rows in State stay."""
        for names, instance in list(self.instances.items()):
            service = instance.service
            if self.is_forgotten(instance.verdict, instance.last):
                del self.instances[names], service.instances[instance.name]
                service.recount(instance.verdict, None)
                self.changed.discard(instance)
                self.turned.discard(instance)
            elif instance.verdict is Verdict.DOWN and self.is_forgotten(Verdict.STOPPED, instance.last):
                self._miss_no_more(instance)

    def _miss_no_more(self, instance: Instance) -> None:
        if instance.service.live >= instance.service.minimum:
            instance.why = "died, and was not missed"
            for process in instance.processes.values():
                self.turn(process, Verdict.STOPPED)

    # --- what follows from what ---

    def _policy(self, service: Service, beat: Beat) -> Policy:
        rule = self._settings.of_service(service.region, service.name)
        return Policy(rule.interval_s or beat.interval_s, beat.grace_s if rule.grace_s is None else rule.grace_s)

    def _promise(self, process: Process, beat: Beat) -> None:
        policy = self._policy(process.instance.service, beat)
        if policy != process.policy:
            self._count(process, -1)
            process.policy = policy
            self._count(process, 1)

    def _move(self, process: Process, path: Path, zone: str) -> None:
        """It now comes by another path, or says another zone."""
        self._count(process, -1)
        if process.live:
            process.path.live -= 1
            process.path.sight.carry(process.via, None)
            path.live += 1
            path.sight.carry(None, process.via)
        if process.path is not path:
            process.path, process.scheduled = path, float("inf")
        process.scopes = self.scopes_of(process, zone)
        self._count(process, 1)

    def scopes_of(self, process: Process, zone: str) -> tuple[Scope, ...]:
        """The scopes that it belongs to, the widest first."""
        region, ingress = process.instance.service.region, process.path.ingress
        chosen = self._scope_sets.get((region, ingress, zone))
        if chosen is None:
            keys = ["all", f"ingress/{ingress}", f"region/{region}", f"region/{region}/ingress/{ingress}"]
            if zone:
                keys.append(f"zone/{region}/{zone}")
            chosen = tuple(self.scopes.setdefault(key, Scope(key)) for key in keys)
            self._scope_sets[region, ingress, zone] = chosen
        return chosen

    def turn(self, process: Process, verdict: Verdict) -> None:
        """Give a process another verdict, and let every count follow."""
        old = process.verdict
        if old is verdict:
            return
        was, is_live = old in LIVE, verdict in LIVE
        self._count(process, -1)
        process.verdict = verdict
        self._count(process, 1)
        if was != is_live:
            process.path.live += is_live - was
            process.path.sight.carry(None if is_live else process.via, process.via if is_live else None)
        if verdict is not Verdict.UNREACHABLE and process.outage is not None:
            outage = self.outages.get(process.outage)
            if outage is not None:
                outage.members.discard(process)
            process.outage = None
        self._refresh(process.instance)

    def _count(self, process: Process, sign: int) -> None:
        verdict = process.verdict
        if verdict in EXPECTED and process.policy.interval_s <= MAX_WITNESS_INTERVAL_S:
            late = verdict is not Verdict.UP
            for scope in process.scopes:
                scope.count(process.service_key, sign, sign * late, process.policy.late_s)
                if late:
                    (scope.late.add if sign > 0 else scope.late.discard)(process)

    def _refresh(self, instance: Instance) -> None:
        best = instance.best()
        self.changed.add(instance)
        self.touched.add(instance.service)
        if best is not instance.verdict:
            instance.service.recount(instance.verdict, best)
            instance.verdict = best
            instance.since = self.now()
            self.turned.add(instance)

    # --- outages ---

    def _end_outages(self, process: Process) -> None:
        cut_off = {each.outage for each in process.instance.processes.values()}  # it, or one that it replaces
        for outage in list(self.outages.values()):
            if outage.scope in cut_off or (outage.whole and self.scopes[outage.scope] in process.scopes):
                self.end_outage(outage, process)

    def end_outage(self, outage: Outage, heard: Process | None = None) -> None:
        """Its scope is heard again: each member gets the time that a healthy one needs to be heard too."""
        del self.outages[outage.scope]
        self.ended_outages.append(outage)
        if outage.whole and heard is not None:
            self.scopes[outage.scope].come_back(heard.path.partition.pulse)
        for member in list(outage.members):
            if member is not heard:
                self.release(member)

    def release(self, process: Process) -> None:
        """Whoever was cut off is live again until it had its time to be heard."""
        self.turn(process, Verdict.LATE)
        process.released = True
        process.pulse = process.path.partition.pulse.now
        process.floor = process.path.sight.now + process.policy.fresh_s
        process.path.schedule(process, process.floor)
