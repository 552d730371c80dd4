"""One foreign JSON object as an event of ours: known names to their field, other text to labels, numbers to measures.

Whatever the bytes are, what comes out is one bounded line, or Unreadable with a reason in words; never anything else.
Who sent it is the body's word: Kafka's ACL on the topic is all that anybody knows, and it vouches for region and
dataset alone, so these are the topic's.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from itertools import islice
from typing import Any, NamedTuple

from shippers.event import MAX_LOGGER, MAX_MESSAGE, MAX_STACK, event_members, own_members
from shippers.fields import MAX_VALUE, Fields
from shippers.text import quote, text_of, trim, trim_middle

from .names import DURATIONS, LEVELS, NUMBERED, RENAMED, TEXTS, TIMES, UNITLESS, level_of_number
from .parse import Unreadable, parse
from .times import Moment, Times

UNKNOWN = "unknown"
TRIMMED = "lastbeat.trimmed"
_MAX_DEPTH = 6
_MAX_MEMBERS = 2_000
_MAX_NS = 2**63 - 1
_INEXACT = 2.0**63
_UNFIT = re.compile(r"[^\w.:@+-]+")
_KNOWN_NAMES = 4_096


class Foreign(NamedTuple):
    """One event: who sent it, its day, and its line, which lacks its stream and number at the end."""

    service: str
    instance: str
    day: str
    line: bytes


class Draft:
    """An event while its members are being sorted. The first name that says a thing is believed."""

    __slots__ = ("fields", "members", "moment", "stack", "text")

    def __init__(self) -> None:
        self.fields = Fields()
        self.text: dict[str, str] = {}
        self.moment: Moment | None = None
        self.stack = ""
        self.members = 0


class Normaliser:
    """Reads the foreign records of one topic. Used by one thread; `instance` stands in where a body names none."""

    def __init__(self, region: str, dataset: str, instance: str) -> None:
        self._topic = {"cloud.region": region, "region": region, "event.dataset": dataset}
        self._region, self._dataset, self._instance = region, dataset, instance
        self._times = Times()
        self._names: dict[str, str] = {}

    def read(self, body: bytes, appended_at: float) -> Foreign:
        """The event in a record's value. Raises Unreadable."""
        if not body:
            raise Unreadable("a tombstone: a record without a value")
        if self._dataset == "heartbeat":
            raise Unreadable("a beat needs lastbeat's header: send it to a gateway, /beat/<service>")
        doc = parse(body)
        try:
            return self._write(doc, appended_at)
        except Exception as error:
            raise Unreadable(f"no event can be made of it: {type(error).__name__}: {error}"[:1_000]) from error

    def _write(self, doc: Mapping[str, Any], appended_at: float) -> Foreign:
        draft = Draft()
        self._sort(doc, "", draft, 0)
        fields, text = draft.fields, draft.text
        moment = draft.moment or self._times.appended(appended_at)
        service = self._fit(text.get("service", ""), UNKNOWN, fields)
        instance = self._fit(text.get("instance") or text.get("host", ""), self._instance, fields)
        if draft.stack and not fields.error_stack:
            fields.error_stack = trim_middle(draft.stack, MAX_STACK)
            fields.trimmed = fields.trimmed or len(draft.stack) > MAX_STACK
        if fields.trimmed:
            fields.labels[f'"{TRIMMED}"'] = '"true"'
        line = (
            f'{{"@timestamp":"{moment.text}"{_head(text)},"service":{{"name":{quote(service)}'
            f'{_member(text, "version")}{_member(text, "environment")},"node":{{"name":{quote(instance)}}}}},'
            f'"cloud":{{"region":"{self._region}"{_member(text, "zone", "availability_zone")}}}'
            f"{_tail(text)}{own_members(fields)}"
            f',"event":{{"dataset":"{self._dataset}"{event_members(fields)}'
        )
        return Foreign(service, instance, moment.day, line.encode("utf-8", "replace"))

    def _sort(self, doc: Mapping[str, Any], prefix: str, draft: Draft, depth: int) -> None:
        """Put each member where it belongs. Objects are taken apart, so that both spellings, nested and with dots, end
        in one place."""
        items: Iterable[tuple[str, Any]] = doc.items()
        draft.members += len(doc)
        if draft.members > _MAX_MEMBERS:
            items = islice(items, max(0, _MAX_MEMBERS - draft.members + len(doc)))
            draft.fields.trimmed = True
        rest: list[tuple[str, Any]] = []
        for key, value in items:
            name = prefix + key
            take = _TAKE.get(name)
            if take is not None and take(self, draft, name, value):
                continue
            if type(value) is dict and depth < _MAX_DEPTH:
                self._sort(value, f"{name}.", draft, depth + 1)
            elif name.startswith(("labels.", "measures.")):
                self._sort_ours(name, value, draft, rest)
            else:
                rest.append((name, value))
        draft.fields.take(rest)

    def _sort_ours(self, name: str, value: object, draft: Draft, rest: list[tuple[str, Any]]) -> None:
        kind, _, own = name.partition(".")
        if kind == "labels" and value is not None:
            draft.fields.label(own, text_of(value, MAX_VALUE))
        else:
            rest.append((own, value))

    def take_topics(self, draft: Draft, name: str, value: object) -> bool:
        """What the topic says already; another claim is kept, but not believed."""
        if value != self._topic[name]:
            _put(draft.fields, name, value)
        return True

    def take_time(self, draft: Draft, name: str, value: object) -> bool:
        """Believed if it can be read; if not, it is kept as a label and the journal's time counts."""
        if draft.moment is None:
            draft.moment = self._times.read(value)
            if draft.moment is not None:
                return True
        _put(draft.fields, name, value)
        return True

    def _fit(self, name: str, otherwise: str, fields: Fields) -> str:
        """A name as headers allow it; what can't be kept of it stays on the event as a label."""
        if not name:
            return otherwise
        fit = self._names.get(name)
        if fit is None:
            fit = _UNFIT.sub("-", name)[:128].strip("-") or otherwise
            if len(self._names) < _KNOWN_NAMES:
                self._names[name] = fit
        if fit != name:
            fields.label("service.name" if otherwise == UNKNOWN else "service.node.name", name)
        return fit


def _head(text: Mapping[str, str]) -> str:
    message = text.get("message")
    level, logger = text.get("level"), text.get("logger")
    log = [f'"{name}":{quote(value)}' for name, value in (("level", level), ("logger", logger)) if value]
    return (f',"message":{quote(message)}' if message is not None else "") + (
        f',"log":{{{",".join(log)}}}' if log else ""
    )


def _tail(text: Mapping[str, str]) -> str:
    host, pid = text.get("host"), text.get("pid")
    return (f',"host":{{"name":{quote(host)}}}' if host else "") + (f',"process":{{"pid":{pid}}}' if pid else "")


def _member(text: Mapping[str, str], name: str, called: str = "") -> str:
    return f',"{called or name}":{quote(text[name])}' if name in text else ""


def _put(fields: Fields, name: str, value: object) -> None:
    """Under its own name, whatever that means elsewhere."""
    if value is None:
        return
    if type(value) is int or type(value) is float:
        fields.number(name, value)
    else:
        fields.label(name, text_of(value, MAX_VALUE))


def _take_text(slot: str, limit: int) -> Callable[[Normaliser, Draft, str, Any], bool]:
    def take(_self: Normaliser, draft: Draft, _name: str, value: Any) -> bool:
        if type(value) is not str or slot in draft.text:
            return False
        if len(value) > limit:
            value, draft.fields.trimmed = trim(value, limit), True
        draft.text[slot] = value
        return True

    return take


def _take_message(_self: Normaliser, draft: Draft, _name: str, value: Any) -> bool:
    if type(value) is not str or "message" in draft.text:
        return False
    if len(value) > MAX_MESSAGE:
        value, draft.fields.trimmed = trim(value, MAX_MESSAGE), True
    draft.text["message"] = value.rstrip("\r\n")
    return True


def _take_level(_self: Normaliser, draft: Draft, name: str, value: Any) -> bool:
    level = LEVELS.get(value.strip().lower()) if type(value) is str else level_of_number(name, value)
    if level is None or "level" in draft.text:
        return False
    draft.text["level"] = level
    return True


def _take_stack(_self: Normaliser, draft: Draft, _name: str, value: Any) -> bool:
    if type(value) is not str or draft.stack:
        return False
    draft.stack = value
    return True


def _take_duration(_self: Normaliser, draft: Draft, name: str, value: Any) -> bool:
    if draft.fields.duration_ns is not None or type(value) not in (int, float):
        return False
    ns = value * DURATIONS[name] if -_INEXACT < value < _INEXACT else -1
    if not 0 <= ns <= _MAX_NS:
        return False
    draft.fields.duration_ns = round(ns)
    return True


def _take_renamed(_self: Normaliser, draft: Draft, name: str, value: Any) -> bool:
    if type(value) is not str:
        return False
    draft.fields.take([(RENAMED[name], value)])
    return True


def _take_plainly(_self: Normaliser, draft: Draft, name: str, value: Any) -> bool:
    if type(value) is dict:
        return False
    _put(draft.fields, name, value)
    return True


def _take_pid(_self: Normaliser, draft: Draft, _name: str, value: Any) -> bool:
    if type(value) is not int or not 0 < value < 2**31 or "pid" in draft.text:
        return False
    draft.text["pid"] = str(value)
    return True


_LIMITS = {"logger": MAX_LOGGER}
_TAKE: dict[str, Callable[[Normaliser, Draft, str, Any], bool]] = {
    **{name: _take_text(slot, _LIMITS.get(slot, 256)) for slot, names in TEXTS.items() for name in names},
    **dict.fromkeys(TIMES, Normaliser.take_time),
    **dict.fromkeys(("message", "msg", "log", "short_message", "body"), _take_message),
    **dict.fromkeys(NUMBERED, _take_level),
    **dict.fromkeys(("error.stack_trace", "stack_trace", "stacktrace", "exc_info", "error.stack"), _take_stack),
    **dict.fromkeys(DURATIONS, _take_duration),
    **dict.fromkeys(("process.pid", "pid"), _take_pid),
    **dict.fromkeys(("cloud.region", "region", "event.dataset"), Normaliser.take_topics),
    **dict.fromkeys(UNITLESS, _take_plainly),
    **dict.fromkeys(RENAMED, _take_renamed),
}
