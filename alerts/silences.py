"""Silences and maintenance windows: incidents are kept as ever, but nobody is told while one matches."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from fnmatch import fnmatchcase

from pydantic import ValidationError

from collector.ports import State, Table

from .settings import SilenceSettings

log = logging.getLogger("lastbeat.alerts.silences")


class Silences:
    """Those of the settings, and those that people put into State (the same fields)."""

    def __init__(self, settled: Sequence[SilenceSettings]) -> None:
        self._settled = tuple(settled)
        self._stated: tuple[SilenceSettings, ...] = ()

    def read(self, state: State) -> None:
        """Take up what people put into State. One that can't be read is said, and silences nothing."""
        stated = []
        for row in state.scan(Table.SILENCES):
            try:
                stated.append(SilenceSettings.model_validate(row.doc))
            except ValidationError as error:
                log.warning("silence %s can't be read, so it silences nothing: %s", row.key, error)
        self._stated = tuple(stated)

    def match(self, region: str, service: str, now: float) -> bool:
        """Whether one matches at this moment. An incident of no service is silenced by `*` alone."""
        return any(
            each.starts_at <= now < each.ends_at
            and fnmatchcase(service, each.service)
            and fnmatchcase(region, each.region)
            for each in (*self._settled, *self._stated)
        )
