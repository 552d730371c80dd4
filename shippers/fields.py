"""What the caller passes in `extra`, sorted: known names to their field, numbers to measures, all else to labels.

Whatever the values are, this never raises, and what comes out is bounded. Nothing is left out without a mark.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from datetime import timedelta
from decimal import Decimal
from numbers import Real
from typing import cast

from .batch import DATASETS
from .text import quote, text_of, trim

MAX_LABELS = 64
MAX_MEASURES = 64
MAX_VALUE = 4_096
MAX_LABELS_TEXT = 32_768
MAX_NAME = 128
_NUMBERS: tuple[type, ...] = (Real, Decimal)  # numpy's, too, are Reals; Decimal isn't, by design
_MAX_EXACT = 2**53
_MAX_NS = 2**63 - 1

OUTCOMES = {
    "success": "success",
    "succeeded": "success",
    "ok": "success",
    "true": "success",
    "failure": "failure",
    "failed": "failure",
    "error": "failure",
    "false": "failure",
    "unknown": "unknown",
}
_NS_PER = {"duration": 1e9, "duration_ms": 1e6, "latency_ms": 1e6, "event.duration": 1.0}
_TEXT_FIELDS = {
    "action": "action",
    "event.action": "action",
    "trace_id": "trace",
    "trace.id": "trace",
    "otelTraceID": "trace",
    "span_id": "span",
    "span.id": "span",
    "otelSpanID": "span",
    "transaction_id": "transaction",
    "transaction.id": "transaction",
    "error.type": "error_type",
    "error.message": "error_message",
    "error.stack_trace": "error_stack",
}
_SILENT = frozenset(
    {"otelServiceName", "otelTraceSampled"}
)  # the envelope says it; OpenTelemetry adds it to each record

_names: dict[str, str] = {}


class Fields:
    """One event's own fields while it is being written. `trimmed` says that something was cut or left out."""

    __slots__ = (
        "action",
        "dataset",
        "duration_ns",
        "error_message",
        "error_stack",
        "error_type",
        "labels",
        "measures",
        "outcome",
        "room",
        "span",
        "trace",
        "transaction",
        "trimmed",
    )

    def __init__(self) -> None:
        self.action = self.outcome = ""
        self.dataset = ""
        self.trace = self.span = self.transaction = ""
        self.error_type = self.error_message = self.error_stack = ""
        self.duration_ns: int | None = None
        self.labels: dict[str, str] = {}  # quoted name: quoted text
        self.measures: dict[str, str] = {}
        self.room = MAX_LABELS_TEXT
        self.trimmed = False

    def take(self, extras: Iterable[tuple[object, object]]) -> None:
        """Sort name and value pairs into their places."""
        for key, value in extras:
            name = key if type(key) is str else text_of(key, MAX_NAME)
            known = _KNOWN.get(name)
            if known is not None and known(self, name, value):
                continue
            kind = type(value)
            if kind is str:
                self.label(name, value)  # type: ignore[arg-type]  # narrowed by `kind`
            elif kind is int or kind is float:
                self.number(name, value)  # type: ignore[arg-type]
            elif value is not None:
                self._other(name, value)

    def label(self, name: str, text: str) -> None:
        """Add a label, trimmed to what one value, and all of them together, may take."""
        if len(self.labels) >= MAX_LABELS or self.room <= MAX_NAME:
            self.trimmed = True
            return
        limit = min(MAX_VALUE, self.room)
        if len(text) > limit:
            text, self.trimmed = trim(text, limit), True
        self.room -= len(text) + len(name)
        self.labels[_free(self.labels, quoted_name(name))] = quote(text)

    def number(self, name: str, value: float) -> None:
        """Add a measure; what a double can't hold exactly enough (NaN, infinity, long ids) becomes a label."""
        if type(value) is int:
            if not -_MAX_EXACT <= value <= _MAX_EXACT:
                self.label(name, text_of(value, MAX_VALUE))
                return
        elif not math.isfinite(value):
            self.label(name, repr(value))
            return
        if len(self.measures) >= MAX_MEASURES:
            self.trimmed = True
            return
        self.measures[_free(self.measures, quoted_name(name))] = repr(value)

    def _other(self, name: str, value: object) -> None:
        if isinstance(value, _NUMBERS) and not isinstance(value, bool):
            try:
                # int subclasses, Decimal, Fraction, numpy's numbers …
                self.number(name, int(value) if isinstance(value, int) else float(cast("float", value)))
                return
            except Exception:  # noqa: BLE001  a number with a broken __float__ is text
                self.trimmed = True
        text = text_of(value, MAX_VALUE)
        if len(text) >= MAX_VALUE:
            self.trimmed = True
        self.label(name, text)


def _free(taken: dict[str, str], name: str) -> str:
    # Two names may become one by cleaning; a JSON object with a name twice would be rejected as a whole.
    while name in taken:
        name = name[:-1] + '_"'
    return name


def quoted_name(name: str) -> str:
    """A label's or measure's name as JSON, made fit for every store; remembered, since services repeat theirs."""
    known = _names.get(name)
    if known is None:
        fit = "".join(letter if letter.isprintable() else "_" for letter in name[:MAX_NAME]).strip(" .")
        known = quote(fit or "_")
        if len(_names) < 2_048:
            _names[name] = known
    return known


def _take_text(fields: Fields, name: str, value: object) -> bool:
    if value is None or (name.startswith("otel") and value == "0"):
        return True
    field = _TEXT_FIELDS[name]
    limit = 256 if not field.startswith("error_m") and field != "error_stack" else MAX_VALUE
    text = value if type(value) is str and len(value) <= limit else text_of(value, limit)
    if not text or getattr(fields, field):
        return not text
    setattr(fields, field, text)
    return True


def _take_outcome(fields: Fields, _name: str, value: object) -> bool:
    outcome = OUTCOMES.get(value if type(value) is str else text_of(value, MAX_NAME))
    outcome = outcome or OUTCOMES.get(text_of(value, MAX_NAME).lower())
    if outcome is None or fields.outcome:
        return False
    fields.outcome = outcome
    return True


def _take_dataset(fields: Fields, _name: str, value: object) -> bool:
    if isinstance(value, str) and value in DATASETS and value != "heartbeat":
        fields.dataset = str.__str__(value)
        return True
    return False


def _take_duration(fields: Fields, name: str, value: object) -> bool:
    if fields.duration_ns is not None or isinstance(value, bool):
        return False
    if isinstance(value, timedelta):
        ns = value.total_seconds() * 1e9
    elif isinstance(value, int | float):
        ns = float(value) * _NS_PER[name] if -_MAX_EXACT < value < _MAX_EXACT else math.inf
    else:
        return False
    if not 0 <= ns <= _MAX_NS:
        return False
    fields.duration_ns = round(ns)
    return True


_KNOWN: Mapping[str, Callable[[Fields, str, object], bool]] = {
    **dict.fromkeys(_TEXT_FIELDS, _take_text),
    **dict.fromkeys(_NS_PER, _take_duration),
    **dict.fromkeys(_SILENT, lambda _fields, _name, _value: True),
    "outcome": _take_outcome,
    "event.outcome": _take_outcome,
    "event.dataset": _take_dataset,
}
