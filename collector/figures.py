"""The names of a role's figures: plain, or with labels in Prometheus's own notation, `lag{partition="0",topic="t"}`.

Label values are of closed sets (topics, outcomes, ingresses). What names don't hold is replaced in them, so that what
came from outside can't break the format.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from .ports import TopicPartition

_STRANGE = re.compile(r"[^A-Za-z0-9_.:@+-]")


def labelled(name: str, **labels: str) -> str:
    """A figure's name with its labels."""
    return name + "{" + ",".join(f'{key}="{_STRANGE.sub("_", value)}"' for key, value in sorted(labels.items())) + "}"


def lag_figures(lag: Mapping[TopicPartition, int]) -> dict[str, float]:
    """How far a reader is behind, by partition."""
    return {labelled("lag", topic=tp.topic, partition=str(tp.partition)): behind for tp, behind in lag.items()}


def labels_of(figure: str) -> tuple[str, dict[str, str]]:
    """The plain name, and the labels."""
    name, _, rest = figure.partition("{")
    pairs = (pair.partition("=") for pair in rest.removesuffix("}").split(",") if pair)
    return name, {key: value.strip('"') for key, _, value in pairs}
