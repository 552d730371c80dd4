"""Which faults, where, when and for how long: a pure function of the seed, so that any schedule can be played again.

Nothing here knows how a fault is made; `faults` does. No two faults overlap on one part; on different ones they may.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from random import Random

from shippers.errors import Misconfigured

EMBEDDED, STACK = "embedded", "stack"
_FIRST_AT_S = 1.5
_PAUSE_S = 1.0
"""Between two faults of one part, from the end of the one to the beginning of the other."""
_EVERY_S = 2.0
"""There is one fault for every so many seconds."""
_TRIES = 200

Range = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of fault: what it does, on which parts of which form, for how long, how strongly and how often.

    `sender` among the parts stands for any one of them. A fault that `lasts` for nothing is over at once; one whose
    parts are `once` harmed is for good.
    """

    words: str
    parts: Mapping[str, tuple[str, ...]]
    lasts_s: Range
    strength: Range = (0.0, 0.0)
    weight: int = 2
    for_good: bool = False


def _parts(both: Sequence[str], embedded: Sequence[str] = (), stack: Sequence[str] = ()) -> dict[str, tuple[str, ...]]:
    return {EMBEDDED: (*both, *embedded), STACK: (*both, *stack)}


_ROLES = ("gateway", "indexer", "watch", "auditor")
_SERVERS = ("kafka", "elasticsearch")
_LINKS = ("kafka-link", "elastic-link")

KINDS: Mapping[str, Kind] = {
    "kill": Kind(
        "SIGKILL, started again after a pause", _parts((*_ROLES, "sender", "sender"), (), (*_SERVERS, "archiver")),
        (0.3, 5.0), weight=4,
    ),
    "death": Kind("SIGKILL, for good: somebody must be told", _parts(("sender",)), (0.0, 0.0), for_good=True),
    "freeze": Kind(
        "SIGSTOP, continued later", _parts((*_ROLES, "sender"), (), (*_SERVERS, "archiver")), (0.5, 6.0), weight=3
    ),
    "restart": Kind("SIGTERM, started again", _parts((*_ROLES, "sender"), (), ("kafka", "archiver")), (0.0, 1.0)),
    "full": Kind(
        "no more disk: a limit of a process's file sizes; Elasticsearch's own block of full disks",
        _parts((), ("gateway", "indexer"), ("elasticsearch", "archiver")), (1.0, 5.0), weight=3,
    ),
    "stutter": Kind(
        "stopped and continued in turns, a quarter of the time at work: as slow as on a slow disk (a disk can't be "
        "slowed by an ordinary user)",
        _parts(("gateway", "indexer"), (), _SERVERS), (2.0, 5.0),
    ),
    "delay": Kind("each piece of data waits", _parts(("network",), (), _LINKS), (1.0, 5.0), (0.01, 0.25)),
    "cut": Kind(
        "nothing comes through, to the gateway, from a zone, to Kafka or Elasticsearch",
        _parts(("network", "zone"), (), _LINKS), (0.5, 6.0), weight=3,
    ),
    "storm": Kind("more indexers come and go", _parts((), (), ("indexers",)), (3.0, 6.0), (1.0, 2.0)),
    "clock": Kind("a sender's wall clock jumps", _parts(("sender",)), (0.0, 0.0), (-3.0e6, 3.0e6)),
    "poison": Kind(
        "not JSON, huge, hostile names, no time, NaN, headers that lie", _parts(("gateway",)), (0.0, 0.0), weight=3
    ),
}  # fmt: skip

_OUT_OF_THE_WAY = {("poison", "gateway"): "poison"}
"""Who is harmed by it is nobody: it may come while its part is under another fault."""


@dataclass(frozen=True, slots=True)
class Planned:
    """One fault: `kind` on `part` from `at_s` after the start, for `lasts_s`."""

    kind: str
    part: str
    at_s: float
    lasts_s: float
    strength: float = 0.0

    @property
    def ends_s(self) -> float:
        """When it is healed."""
        return self.at_s + self.lasts_s


@dataclass(frozen=True, slots=True)
class Schedule:
    """All faults of one drill, in order of time; `span_s` is for how long the senders log."""

    seed: int
    form: str
    span_s: float
    senders: int
    faults: tuple[Planned, ...]


def plan(seed: int, span_s: float, form: str, senders: int, only: Iterable[str] = ()) -> Schedule:
    """The schedule of a seed. `only` names the kinds that may be in it; all of them, if empty.

    With `death` among them, one sender dies for good. Raises Misconfigured for a kind that there isn't.
    """
    kinds = _chosen(form, tuple(only))
    chance = Random(f"{seed} {form} {span_s:g} {senders} {sorted(kinds)}")
    made: list[Planned] = []
    wanted = max(1, round(span_s / _EVERY_S))
    if "death" in kinds:
        made.append(_draw(chance, "death", kinds["death"], form, span_s, senders))
    others = [name for name in kinds if name != "death"]
    weights = [kinds[name].weight for name in others]
    for _ in range(_TRIES if others else 0):
        if len(made) >= wanted:
            break
        name = chance.choices(others, weights)[0]
        drawn = _draw(chance, name, kinds[name], form, span_s, senders)
        if not any(_collide(drawn, other) for other in made):
            made.append(drawn)
    return Schedule(seed, form, span_s, senders, tuple(sorted(made, key=lambda one: (one.at_s, one.part))))


def _chosen(form: str, only: tuple[str, ...]) -> dict[str, Kind]:
    for name in only:
        if name not in KINDS:
            raise Misconfigured(f"there is no fault {name!r}; there are {', '.join(KINDS)}")
        if not KINDS[name].parts[form]:
            raise Misconfigured(f"the fault {name!r} needs --stack")
    return {name: kind for name, kind in KINDS.items() if kind.parts[form] and (not only or name in only)}


def _draw(chance: Random, name: str, kind: Kind, form: str, span_s: float, senders: int) -> Planned:
    part = chance.choice(kind.parts[form])
    if part == "sender":
        part = f"sender-{chance.randrange(senders)}"
    lasts_s = round(chance.uniform(*kind.lasts_s), 1)
    latest = max(_FIRST_AT_S, span_s - lasts_s)
    at_s = round(chance.uniform(_FIRST_AT_S, latest), 1)
    return Planned(
        name, _OUT_OF_THE_WAY.get((name, part), part), at_s, lasts_s, round(chance.uniform(*kind.strength), 3)
    )


def _collide(one: Planned, other: Planned) -> bool:
    if one.part != other.part:
        return False
    if KINDS[one.kind].for_good or KINDS[other.kind].for_good:
        return True
    return one.at_s < other.ends_s + _PAUSE_S and other.at_s < one.ends_s + _PAUSE_S
