"""The lake counted: which numbers of which stream its files hold, by DuckDB. See the port Inventory. It only reads."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import duckdb
from deltalake import DeltaTable
from deltalake.exceptions import DeltaError

from collector.dead_letters import DeadLetter
from collector.ledger.account import SEVERAL
from collector.ledger.intervals import Interval, IntervalSet
from collector.ledger.inventory import Held
from shippers.batch import DATASETS
from shippers.errors import Unavailable

from .dead import settling_letters_in
from .files import DataFile, active_files, read_files
from .ledgers import BITS, BY_64, DIFFERENT, runs
from .parse import connect

_HELD = (
    f"SELECT stream, min(first), max(last), sum(rows)::BIGINT, {DIFFERENT}::BIGINT, "
    f"if(min(service) = max(last_service), min(service), '{SEVERAL}'), "
    f"if(min(instance) = max(last_instance), min(instance), '{SEVERAL}') FROM "
    "(SELECT stream, min(sequence) AS first, max(sequence) AS last, count(*) AS rows, "
    "min(service) AS service, max(service) AS last_service, "
    f"min(instance) AS instance, max(instance) AS last_instance, {BITS} FROM {{}} GROUP BY {BY_64}) GROUP BY stream"
)


class LakeInventory:
    """Counts the lake at `path`; one that is not there yet is an empty one."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def days(self) -> list[str]:
        """See Inventory.days."""
        return sorted({file.date for dataset in DATASETS for file in self._files(dataset)})

    def inventory(self, day: str, region: str = "", *, senders: bool = False) -> Iterator[Held]:
        """See Inventory.inventory. Senders cost next to nothing here."""
        del senders
        for dataset in DATASETS:
            files = [file for file in self._files(dataset) if file.date == day and region in ("", file.region)]
            for where in sorted({file.region for file in files}):
                source = read_files(self._path / dataset, [file for file in files if file.region == where])
                for stream, first, last, count, different, service, instance in self._ask(_HELD.format(source)):
                    who = service or "", instance or ""
                    yield Held(dataset, where, day, stream, first, last, count, *who, different=different)

    def runs(self, held: Held) -> list[Interval]:
        """See Inventory.runs."""
        files = [file for file in self._files(held.dataset) if (file.date, file.region) == (held.day, held.region)]
        if not files:
            return []
        stream = held.stream.replace("'", "''")
        source = f"(SELECT * FROM {read_files(self._path / held.dataset, files)} WHERE stream = '{stream}')"
        try:
            with connect(memory_mb=512, threads=2) as con:
                return sorted((first, last) for _, first, last in runs(con, source))
        except (OSError, duckdb.Error) as error:
            raise self._unavailable(error) from error

    def identified(self, dataset: str, region: str, stream: str, numbers: IntervalSet) -> IntervalSet:
        """See Inventory.identified. Its streams and numbers are the headers' own: counting sees all."""
        del dataset, region, stream, numbers
        return IntervalSet()

    def letters(self) -> Iterator[DeadLetter]:
        """See Inventory.letters."""
        return iter(settling_letters_in(self._path))

    def _files(self, table: str) -> list[DataFile]:
        root = self._path / table
        try:
            return active_files(DeltaTable(root)) if DeltaTable.is_deltatable(str(root)) else []
        except (OSError, DeltaError) as error:
            raise self._unavailable(error) from error

    def _ask(self, query: str) -> list[tuple[str, int, int, int, int, str, str]]:
        try:
            with connect(memory_mb=512, threads=2) as con:
                return con.execute(query).fetchall()
        except (OSError, duckdb.Error) as error:
            raise self._unavailable(error) from error

    def _unavailable(self, error: Exception) -> Unavailable:
        return Unavailable(f"the lake at {self._path} can't be counted: {error}")
