"""A TCP relay on loopback that stands for the network: it can be slow, and it can be cut.

Cut: open connections are reset, and new ones are taken and left unanswered, as behind a firewall that drops.
"""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from typing import Self

_CHUNK = 65_536


class Relay:
    """Relays what comes to `port` of loopback (0: any free one) to `target`, a port of loopback. A context manager."""

    def __init__(self, target: int, port: int = 0) -> None:
        self._target = target
        self._listener = socket.create_server(("127.0.0.1", port))
        self.port: int = self._listener.getsockname()[1]
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._is_cut = False
        self.delay_s = 0.0
        """Each chunk of each direction waits so long, one after the other: it is a slow and narrow network."""
        threading.Thread(target=self._accept, name="lastbeat-relay", daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)  # closed alone it would listen until its thread has taken one more
        self._listener.close()
        self._reset()

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}"

    def cut(self) -> None:
        """Let nothing through."""
        self._is_cut = True
        self._reset()

    def mend(self) -> None:
        """Let everything through again. Connections from the time of the cut stay dead."""
        self._is_cut = False
        self._reset()

    def _reset(self) -> None:
        with self._lock:
            ends, self._open = self._open, set()
        for end in ends:
            with contextlib.suppress(OSError):  # ended already
                end.shutdown(socket.SHUT_RDWR)
            end.close()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            if self._is_cut:
                self._keep(near)
                continue
            threading.Thread(target=self._connect, args=(near,), name="lastbeat-relay", daemon=True).start()

    def _connect(self, near: socket.socket) -> None:
        try:
            far = socket.create_connection(("127.0.0.1", self._target), timeout=10)
        except OSError:
            near.close()
            return
        far.settimeout(None)
        for end in (near, far):
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._keep(end)
        threading.Thread(target=self._pump, args=(far, near), name="lastbeat-relay", daemon=True).start()
        self._pump(near, far)

    def _keep(self, end: socket.socket) -> None:
        with self._lock:
            self._open.add(end)

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(_CHUNK):
                if self.delay_s:
                    time.sleep(self.delay_s)  # a network's delay is real time
                sink.sendall(data)
        for end in (source, sink):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()
            with self._lock:
                self._open.discard(end)
