"""The demo: a small payment shop of real processes, its past day, a death, and the alert."""
