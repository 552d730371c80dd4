"""Audited delivery: what every process said it emitted, held against what every store has."""
