"""One table for all measurements: what was measured, beside its peer or its limit, from the same run."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class Report:
    """Rows of figures. `limit` is what the figure is held against: `>= x` or `<= x`; None if it only informs."""

    rows: list[tuple[str, float, str, str, bool, str]] = field(default_factory=list)

    def add(
        self,
        what: str,
        value: float,
        unit: str,
        *,
        at_least: float | None = None,
        at_most: float | None = None,
        beside: str = "",
    ) -> None:
        """Add a figure; prints it at once. `beside` says what it is compared with, with that one's own figure."""
        good = (at_least is None or value >= at_least) and (at_most is None or value <= at_most)
        limit = f">= {at_least:,g}" if at_least is not None else f"<= {at_most:,g}" if at_most is not None else ""
        self.rows.append((what, value, unit, limit, good, beside))
        print(f"{'ok  ' if good else 'MISS'} {what:<52} {value:>12,.4g} {unit:<12} {limit:<14} {beside}", flush=True)

    @property
    def good(self) -> bool:
        """Whether every figure met its limit."""
        return all(row[4] for row in self.rows)
