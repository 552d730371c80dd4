"""`python -m compose` is the same as `lastbeat`."""

from compose.cli import main

main()
