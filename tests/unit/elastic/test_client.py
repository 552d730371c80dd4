"""How long one request may take: what is only a look has less patience than a write. And what must be installed."""

from __future__ import annotations

import importlib
import socket
import sys
import time

import pytest

from collector.elastic.client import ElasticClient
from collector.settings import ElasticSettings
from shippers.errors import Misconfigured, Unavailable


def test_a_request_with_a_patience_of_its_own_does_not_wait_as_long_as_others() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        client = ElasticClient(ElasticSettings(urls=(url,), timeout_s=30))
        started = time.monotonic()
        with pytest.raises(Unavailable, match="no answer in time"):
            client.send("POST", "/_mget", b"{}", timeout_s=0.05)
        assert time.monotonic() - started < 10
        client.close()


def test_nor_does_it_ever_wait_longer() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}"
        client = ElasticClient(ElasticSettings(urls=(url,), timeout_s=0.2))
        with pytest.raises(Unavailable, match="no answer in time"):
            client.send("POST", "/_mget", b"{}", timeout_s=60)
        client.close()


@pytest.mark.parametrize("library", ["elastic_transport", "isal"])
def test_a_missing_library_is_named_with_what_to_install(library: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, library, None)
    monkeypatch.delitem(sys.modules, "collector.elastic.client")
    with pytest.raises(Misconfigured, match=rf"needs {library}: pip install 'lastbeat\[elastic\]'"):
        importlib.import_module("collector.elastic.client")
