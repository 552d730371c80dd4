"""Tells the terminal: one line a message, its details indented under it."""

from __future__ import annotations

import sys
from typing import TextIO

from .message import Message, Undelivered


class Console:
    """Writes to standard output (the watch's, which `lastbeat up` shows), or to a given file."""

    def __init__(self, file: TextIO | None = None) -> None:
        self._file = file

    def send(self, message: Message) -> None:
        file = self._file or sys.stdout
        body = "".join(f"    {line}\n" for line in message.body.splitlines())
        try:
            file.write(f"{message.title}\n{body}")
            file.flush()
        except (OSError, ValueError) as error:  # ValueError: the file is closed, or can't say these characters
            raise Undelivered(f"the terminal can't be written: {error}") from None

    def close(self) -> None:
        """The terminal is not ours to close."""
