"""What the boards look like: Streamlit's options, and the sign and colour of each verdict.

Colour means one thing: red needs a person now, orange is late or degraded, green is well, gray is not known. It never
stands alone: each state has a sign and a word. The colours themselves are in theme.toml, for light and for dark.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from alerts.incidents import Incident, Severity, Status
from alerts.staleness import Verdict

Colour = Literal["red", "orange", "green", "gray"]

THEME_FILE = Path(__file__).with_name("theme.toml")


def streamlit_options() -> dict[str, str | bool]:
    """Options for `streamlit run` (as flags, STREAMLIT_* variables or bootstrap options) that the boards rely on.

    They name the theme's file by its full path, so they hold for an installed wheel and in any current directory.
    """
    return {
        "theme.base": str(THEME_FILE),
        "client.toolbarMode": "minimal",
        "client.showErrorDetails": "none",
        "browser.gatherUsageStats": False,
        "server.fileWatcherType": "none",
        "server.headless": True,
    }


SIGNS: dict[Verdict, tuple[str, Colour]] = {
    Verdict.DOWN: ("✖", "red"),
    Verdict.UNREACHABLE: ("∅", "red"),
    Verdict.LOSSY: ("≠", "red"),
    Verdict.REFUSED: ("⊘", "red"),
    Verdict.FLAPPING: ("≈", "orange"),
    Verdict.LATE: ("◔", "orange"),
    Verdict.BLIND: ("◌", "gray"),
    Verdict.NEW: ("○", "gray"),
    Verdict.UP: ("●", "green"),
    Verdict.STOPPED: ("■", "gray"),
}


def signed(verdict: Verdict) -> str:
    """`✖ DOWN`."""
    return f"{SIGNS[verdict][0]} {verdict.value}"


def coloured(verdict: Verdict, text: str) -> str:
    """Markdown: `text` in the verdict's colour."""
    return f":{SIGNS[verdict][1]}[{text}]"


def incident_look(incident: Incident) -> tuple[str, Colour]:
    """The sign and colour of an incident: its verdict's sign while it is open, and red only while it wakes people."""
    if incident.status is Status.RESOLVED:
        return "●", "green"
    by_name = {verdict.value.lower(): look for verdict, look in SIGNS.items()}
    sign, colour = by_name.get(incident.kind, ("✖", "red"))
    if incident.severity is Severity.WARNING or incident.status is Status.ACKNOWLEDGED:
        return sign, "gray" if colour == "gray" else "orange"
    return sign, colour
