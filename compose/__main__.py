"""`lastbeat`, and `python -m compose`. Where only the part for services is installed, it says what is missing."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line."""
    try:
        from compose.cli import main as run
    except ModuleNotFoundError as error:
        print(
            f"lastbeat: {error.name} is missing: the platform needs  pip install 'lastbeat[platform]'", file=sys.stderr
        )
        sys.exit(2)
    run()


if __name__ == "__main__":
    main()
