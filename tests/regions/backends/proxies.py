"""A proxy before a memcached server: it sees every request, and can be made to misbehave."""

from __future__ import annotations

import contextlib
import re
import select
import socket
import threading
import time
from collections.abc import Callable

Answer = Callable[[str], bytes | None]
"""From a request's first line to what the client gets: None for the server's own answer, nothing
for a closed connection."""

_REQUEST = re.compile(
    rb"^(?:(?:get|gets|gat|set|add|replace|cas|touch|delete|incr|m[gsdan]) .*?|stats)(?=\r)"
)


def forward(request: str) -> None:
    """Let the server answer."""


class Proxy:
    """Listens on a port of its own, and passes on what it gets to the server's."""

    def __init__(self, port: int) -> None:
        self._target = port
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=100)
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self.requests: list[str] = []
        """The first line of each."""
        self.connections = 0
        self.answer: Answer = forward
        self.halves = 0.0
        """How many of the server's next answers to pass on by half, and then close."""
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Listen no longer: connections are refused from now on."""
        # Only a shutdown wakes the thread that accepts.
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                self.connections += 1
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        target = ("127.0.0.1", self._target)
        with contextlib.suppress(OSError), client, socket.create_connection(target) as server:
            self._pass_on(client, server)

    def _pass_on(self, client: socket.socket, server: socket.socket) -> None:
        answer: bytes | None = None
        while True:
            ready, _, _ = select.select([client, server], [], [])
            if server in ready:
                received = server.recv(1 << 16)
                if not received:
                    return
                if self.halves:
                    self.halves -= 1
                    client.sendall(received[: len(received) // 2])
                    return
                client.sendall(received)
            if client in ready:
                received = client.recv(1 << 16)
                if not received:
                    return
                if match := _REQUEST.match(received):
                    request = match[0].decode()
                    self.requests.append(request)
                    answer = self.answer(request)
                    if answer is not None:
                        client.sendall(answer)
                    if answer is not None and not answer.endswith(b"\n"):
                        return
                if answer is None:
                    server.sendall(received)


class SlowNetwork:
    """Passes on what clients send to a server's port ``seconds`` later, as a network does: what was
    sent at once arrives at once. ``messages``: how often something arrived."""

    def __init__(self, port: int, seconds: float) -> None:
        self._target, self._seconds = port, seconds
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=100)
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self.messages = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(("127.0.0.1", self._target))
                for ends in ((client, server, self._seconds), (server, client, 0.0)):
                    threading.Thread(target=self._pass_on, args=ends, daemon=True).start()

    def _pass_on(self, source: socket.socket, target: socket.socket, seconds: float) -> None:
        with contextlib.suppress(OSError), source, target:
            while received := source.recv(1 << 18):
                if seconds:
                    time.sleep(seconds)
                    self.messages += 1
                target.sendall(received)
            target.shutdown(socket.SHUT_WR)
