"""The kinds of notifiers there are. To add one: a file beside this one, and a line in KINDS (and in its settings)."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from alerts.settings import NotifierSettings
from shippers.errors import Misconfigured

from .console import Console
from .message import Notifier
from .webhook import Webhook


def _apprise(settings: NotifierSettings) -> Notifier:
    from .apprise import Apprise  # a slow import, and only for those who use it

    return Apprise(settings.name, settings.url)


KINDS: dict[str, Callable[[NotifierSettings], Notifier]] = {
    "console": lambda _: Console(),
    "webhook": lambda settings: Webhook(settings.url, settings.headers, settings.timeout_s),
    "apprise": _apprise,
}


def build(settings: Iterable[NotifierSettings]) -> dict[str, Notifier]:
    """The notifiers by name. Raises Misconfigured."""
    notifiers: dict[str, Notifier] = {}
    for each in settings:
        if each.name in notifiers:
            raise Misconfigured(f"alerts.notifiers: two are named {each.name!r}; give each its own name")
        notifiers[each.name] = KINDS[each.kind](each)
    return notifiers
