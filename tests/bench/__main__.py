"""`make bench`: runs every tests/bench/bench_*.py (or those named in ARGS) and prints one table."""

from __future__ import annotations

import importlib
import os
import platform
import sys
from pathlib import Path

from tests.bench.report import Report


def main(names: list[str]) -> int:
    report = Report()
    print(f"{platform.platform()}, {os.cpu_count()} cores, Python {platform.python_version()}")
    for path in sorted(Path(__file__).parent.glob("bench_*.py")):
        name = path.stem.removeprefix("bench_")
        if not names or name in names:
            print(f"\n{name}")
            importlib.import_module(f"tests.bench.{path.stem}").run(report)
    return 0 if report.good else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
