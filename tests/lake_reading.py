"""Reading a lake as a stranger would: through Delta's own log and Arrow, without any of our reading code."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
from deltalake import DeltaTable

from shippers.batch import DATASETS


def rows_in(lake: Path, table: str) -> pa.Table:
    """Every row of one table."""
    return DeltaTable(lake / table).to_pyarrow_table()


def ids_in(lake: Path) -> list[str]:
    """The ids of every event in the lake, in order, those that are in it twice twice."""
    found = []
    for dataset in DATASETS:
        if DeltaTable.is_deltatable(str(lake / dataset)):
            rows = rows_in(lake, dataset)
            found += [
                f"{stream}:{number}"
                for stream, number in zip(rows["stream"].to_pylist(), rows["sequence"].to_pylist(), strict=True)
            ]
    return sorted(found)
