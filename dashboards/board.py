"""What every page is given: the questions it may ask, what the controls say, the viewer's zone, the place of its
headline; and how a page stays live and says what can't be reached."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, tzinfo
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from collector.ports import Volume
from shippers.clock import Clock
from shippers.errors import Unavailable

from . import parts
from .figures import moment
from .queries import Questions
from .scope import Choice, Scope, scope_of
from .shaping import ranked, slots

REFRESH_S = 2.0
STORE_STILL = "Nothing is lost by this: gateways take events in, and the journal keeps them until the store is back."
STATE_STILL = "Logs and figures below come from the store, and are current."


@dataclass(frozen=True, slots=True)
class Board:
    """One viewer's board in one run."""

    questions: Questions
    choice: Choice
    zone: tzinfo
    clock: Clock
    head: DeltaGenerator

    def scope(self) -> Scope:
        """The period and filters, as of now."""
        return scope_of(self.choice, self.clock.time())

    def live(self, body: Callable[[], None], *, every_s: float | None = REFRESH_S) -> None:
        """Draw `body` now, and again every few seconds, without touching the rest of the page."""
        st.fragment(run_every=every_s)(body)()

    def headline(self, body: Callable[[], None]) -> None:
        """Draw the page's sentence in its place, beside the controls, and keep it live."""
        with self.head:
            self.live(body)

    @contextmanager
    def reaching(
        self, what: str, still: str = STORE_STILL, *, quietly: Callable[[], None] | None = None
    ) -> Iterator[None]:
        """Around questions: should `what` (the store, the state) be out of reach, say so, since when, and go on.

        With `quietly`, draw that instead: for a headline, which has the full words below it.
        """
        try:
            yield
        except Unavailable as error:
            now = self.clock.time()
            since = _outages().setdefault(what, now)
            if quietly is not None:
                quietly()
            else:
                parts.unreachable(what, str(error), since, now, self.zone, still)
        else:
            _outages().pop(what, None)

    def period(self, scope: Scope) -> str:
        """`Fri 20 Nov 13:00 – 13:04`, in the viewer's zone."""
        return (
            f"{moment(scope.start, self.zone, self.clock.time())} – {moment(scope.end, self.zone, self.clock.time())}"
        )

    def slots(self, names: Sequence[str]) -> dict[str, int]:
        """Which of the names, the most important first, has which colour: the same on all pages."""
        taken = slots(st.session_state.get("colours", {}), names)
        st.session_state["colours"] = taken
        return taken

    def slots_by_size(self, volume: Volume) -> dict[str, int]:
        """Which of the biggest series has which colour; who has one already is only displaced by one much bigger."""
        return self.slots(ranked(volume, favoured=st.session_state.get("colours", {})))


@st.cache_resource(show_spinner=False)
def _outages() -> dict[str, float]:
    return {}


def viewers_zone() -> tzinfo:
    """The browser's time zone; UTC where it doesn't say."""
    try:
        return ZoneInfo(st.context.timezone or "UTC")
    except (ZoneInfoNotFoundError, ValueError):
        return UTC
