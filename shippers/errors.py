"""The one family of errors. An error carries the decision of what to do next.

A caller looks at `permanent` and `retry_after_s`, never at the text: the text is for people, and says what is
wrong, where, and what to do.
"""

from __future__ import annotations


class LastbeatError(Exception):
    """Root of every error that this product raises on purpose.

    permanent: trying the same thing again can't help; give the input up, with a count.
    retry_after_s: how long to wait before trying again; None leaves it to the caller's backoff.
    """

    permanent: bool = False

    def __init__(self, message: str, *, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class BadBatch(LastbeatError):
    """A batch that breaks the contract. `code` names the broken rule, one word, for counters and answers."""

    permanent = True

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class Refused(LastbeatError):
    """The other side understood and said no (token, region, service, dataset): nothing but a person can help."""

    permanent = True

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class Unavailable(LastbeatError):
    """The other side can't be reached, or can't take it now: keep the data and try again."""


class Misconfigured(LastbeatError):
    """A setting that can't work. Raised at start, never later."""

    permanent = True
