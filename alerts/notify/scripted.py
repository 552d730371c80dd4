"""A notifier that remembers, and fails as it is told: for tests, and for trying one's own rules out."""

from __future__ import annotations

from collections import deque

from .message import Message, Undelivered


class ScriptedNotifier:
    """Takes every message, unless the next outcome in the script says otherwise."""

    def __init__(self, *script: Undelivered | None) -> None:
        self.script = deque(script)
        self.sent: list[Message] = []

    def send(self, message: Message) -> None:
        outcome = self.script.popleft() if self.script else None
        if outcome is not None:
            raise outcome
        self.sent.append(message)

    def close(self) -> None:
        """Nothing to let go of."""
