"""The relay that stands for the network: it brings everything through, or nothing, and leaves its port at its end."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator

import pytest

from compose.drill.proxy import Relay

WITHIN_S = 5.0


@pytest.fixture
def echo() -> Iterator[int]:
    """The port of a server that sends back what it is sent."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve(end: socket.socket) -> None:
            with end:
                while data := end.recv(100):
                    end.sendall(data)

        def accept() -> None:
            while True:
                try:
                    end, _ = listener.accept()
                except OSError:
                    return
                threading.Thread(target=serve, args=(end,), daemon=True).start()

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)
        thread.join(WITHIN_S)


def connected(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), WITHIN_S)


def test_everything_comes_through(echo):
    with Relay(echo) as relay, connected(relay.port) as end:
        end.sendall(b"hello")
        assert end.recv(100) == b"hello"


def test_a_cut_ends_what_is_open_and_leaves_what_comes_unanswered_until_it_is_mended(echo):
    with Relay(echo) as relay, connected(relay.port) as before:
        before.sendall(b"hello")
        assert before.recv(100) == b"hello"
        relay.cut()
        assert before.recv(100) == b""
        with connected(relay.port) as during:
            during.settimeout(0.2)
            during.sendall(b"hello")
            with pytest.raises(TimeoutError):
                during.recv(100)
        relay.mend()
        with connected(relay.port) as after:
            after.sendall(b"again")
            assert after.recv(100) == b"again"


def test_its_port_is_free_at_its_end(echo):
    with Relay(echo) as relay, connected(relay.port) as end:
        end.sendall(b"hello")
        assert end.recv(100) == b"hello"
    with Relay(echo, relay.port) as again, connected(again.port) as end:
        end.sendall(b"hello")
        assert end.recv(100) == b"hello"
