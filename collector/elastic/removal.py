"""Deletes everything of one prefix from a cluster: what a demo or a test put there. Nothing else calls it."""

from __future__ import annotations

from contextlib import closing

from collector.settings import ElasticSettings

from .client import ElasticClient, quoted
from .template import templates

_INDICES = "_settings/index.uuid?expand_wildcards=all&filter_path=*.settings.index.uuid"


def remove_indices(settings: ElasticSettings) -> None:
    """Delete every index of this prefix; the templates stay. Raises as ElasticClient.ask."""
    with closing(ElasticClient(settings)) as client:
        _remove_indices(client, settings)


def remove_all(settings: ElasticSettings) -> None:
    """Delete every index and template of this prefix. Raises as ElasticClient.ask."""
    with closing(ElasticClient(settings)) as client:
        _remove_indices(client, settings)
        for name in templates(settings):
            client.ask("DELETE", f"/_index_template/{quoted(name)}", allow=(404,))


def _remove_indices(client: ElasticClient, settings: ElasticSettings) -> None:
    found = [quoted(index) for index in client.ask("GET", f"/{settings.prefix}-*/{_INDICES}")]
    for start in range(0, len(found), 50):  # a request's first line has a limit
        client.ask("DELETE", f"/{','.join(found[start : start + 50])}", allow=(404,))
