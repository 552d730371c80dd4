"""A real Kafka and a real Elasticsearch on this machine, without Docker: for development, tests and drills.

What it fetches is pinned by name, version and SHA-256 (artifacts.txt). It listens on loopback only, and ends no process
that it didn't start. It is not for production: one node each, no authentication.
"""

from __future__ import annotations

from .java import QUICK_START
from .stack import ANY_PORTS, LINKED_PORTS, Stack

__all__ = ["ANY_PORTS", "LINKED_PORTS", "QUICK_START", "Stack"]
