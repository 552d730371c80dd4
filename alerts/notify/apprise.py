"""Tells any of the services that the apprise library knows (chat, mail, SMS, pagers), by its URL as it is."""

from __future__ import annotations

import apprise

from shippers.errors import Misconfigured

from .message import Message, Undelivered


class Apprise:
    """One apprise URL."""

    def __init__(self, name: str, url: str) -> None:
        self._name = name
        self._apprise = apprise.Apprise()
        if not self._apprise.add(url):
            raise Misconfigured(
                f"alerts.notifiers {name}: apprise does not know this kind of url ({url.partition(':')[0]}://…), or "
                "parts of it are missing; see https://github.com/caronc/apprise/wiki"
            )

    def send(self, message: Message) -> None:
        """Apprise says only yes or no, so a no is tried again."""
        is_over = message.status == "resolved"
        kind = "success" if is_over else "failure" if message.severity == "page" else "warning"
        try:
            taken = self._apprise.notify(title=message.title, body=message.body or message.title, notify_type=kind)
        except TypeError as error:  # what it raises for input that it can't use
            raise Undelivered(f"{self._name}: {error}", permanent=True) from None
        if not taken:
            raise Undelivered(f"{self._name}: apprise could not deliver it; its own log says why")

    def close(self) -> None:
        """Apprise keeps no connections."""
