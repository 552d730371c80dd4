"""When a foreign event happened: RFC 3339, or a number since the epoch whose unit its size tells. Pure.

What no store could keep as a time (before 1970, after 2261) is none: the caller keeps it as it came.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import NamedTuple

_FIRST, _END = 0.0, 9_214_646_400.0  # 2262, where Elasticsearch's nanoseconds end
_UNITS = ((1e8, 1e11, 1e0), (1e11, 1e14, 1e3), (1e14, 1e17, 1e6), (1e17, 1e20, 1e9))
"""From, up to, and a second's worth: 1973 in one unit is where the last one ends, so no time can be two."""


class Moment(NamedTuple):
    """A time as an event writes it, and its UTC day."""

    text: str
    day: str


class Times:
    """Reads times; most of them lie in the second of the last one, which is remembered."""

    def __init__(self) -> None:
        self._second = self._day = ""
        self._appended_at = -1.0
        self._appended = Moment("", "")

    def read(self, value: object) -> Moment | None:
        """The time that a value says; None if it says none. Without a zone it counts as UTC."""
        kind = type(value)
        if kind is str:
            return self._of_text(value)  # type: ignore[arg-type]  # narrowed by `kind`
        if kind is int or kind is float:
            return _of_number(value)  # type: ignore[arg-type]
        return None

    def appended(self, at: float) -> Moment:
        """The journal's time, for an event that says none."""
        if at != self._appended_at:
            self._appended_at, self._appended = at, _moment(max(_FIRST, min(at, _END - 1)))
        return self._appended

    def _of_text(self, text: str) -> Moment | None:
        if text[:19] == self._second and text[-1:] == "Z" and _is_fraction(text[19:-1]):
            return Moment(text, self._day)
        try:
            if text.replace(".", "", 1).isdigit():
                return _of_number(float(text)) or _of_date(text)
            moment = _of_date(text.strip())
        except (ValueError, OverflowError):
            return None
        if moment is not None and text[:19] == moment.text[:19]:
            self._second, self._day = text[:19], moment.day
        return moment


def _is_fraction(text: str) -> bool:
    return not text or (text[0] == "." and 1 < len(text) <= 10 and text.isascii() and text[1:].isdigit())


def _of_date(text: str) -> Moment | None:
    at = datetime.fromisoformat(text)
    at = at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
    if not 1970 <= at.year <= 2261:
        return None
    written = f"{at:%Y-%m-%dT%H:%M:%S}.{at.microsecond:06d}Z"
    return Moment(written, written[:10])


def _of_number(value: float) -> Moment | None:
    for low, high, a_second in _UNITS:
        if low <= value < high:
            return _moment(value / a_second) if value / a_second < _END else None
    return None


def _moment(at: float) -> Moment:
    text = f"{datetime.fromtimestamp(at, UTC):%Y-%m-%dT%H:%M:%S.%f}Z"
    return Moment(text, text[:10])
